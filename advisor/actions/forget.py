"""What the advisor keeps of organizations and people goes with them, in the transaction that ends them, or in time."""

from collections.abc import Collection
from datetime import UTC, datetime

from advisor.days import KEPT_FOR
from advisor.models import (
    Advice,
    Alert,
    ClosedAddress,
    DayEvidence,
    Digest,
    EvaluationCase,
    Letter,
    PromptSample,
    SampleChoice,
    Upgrade,
    UsedLink,
)
from advisor.weeks import week_of

OF_ORGANIZATIONS = (DayEvidence, Digest, Alert, Advice, SampleChoice, PromptSample, EvaluationCase, Upgrade)
NAMES = ((Advice, "state_by"), (SampleChoice, "chosen_by"), (EvaluationCase, "created_by"))


def do_forget_organizations(organization_ids: Collection[int]) -> None:
    """Remove all evidence, advice, letters, prompts and cases of organizations that are closed."""
    for model in OF_ORGANIZATIONS:
        model._default_manager.filter(organization_id__in=organization_ids).delete()


def do_forget_old(now: datetime) -> dict[str, int]:
    """Remove links that are too old to work anyway, and digests and alerts, with their letters, that are older than the
    evidence; how many rows of each table, where any.

    An alert whose advice was accepted stays, as what that brought is shown.
    """
    before = now - KEPT_FOR
    old = (
        UsedLink.objects.filter(last_day__lt=now.astimezone(UTC).date()),
        Digest.objects.filter(week__lt=week_of(before)),
        Alert.objects.filter(created_at__lt=before).exclude(advice__state=Advice.State.ACCEPTED),
    )
    removed: dict[str, int] = {}
    for rows in old:
        removed |= {name: count for name, count in rows.delete()[1].items() if count}
    return removed


def do_forget_person(user_id: int, email: str, anonymous: str) -> None:
    """Remove the letters to her, and take her address out of what others may still read."""
    Letter.objects.filter(user_id=user_id).delete()
    ClosedAddress.objects.filter(pk=email.lower()).delete()
    for model, field in NAMES:
        model._default_manager.filter(**{field: email}).update(**{field: anonymous})
