"""What the advisor keeps of organizations and people goes with them, in the transaction that ends them."""

from collections.abc import Collection

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
)

OF_ORGANIZATIONS = (DayEvidence, Digest, Alert, Advice, SampleChoice, PromptSample, EvaluationCase, Upgrade)
NAMES = ((Advice, "state_by"), (SampleChoice, "chosen_by"), (EvaluationCase, "created_by"))


def do_forget_organizations(organization_ids: Collection[int]) -> None:
    """Remove all evidence, advice, letters, prompts and cases of organizations that are closed."""
    for model in OF_ORGANIZATIONS:
        model._default_manager.filter(organization_id__in=organization_ids).delete()


def do_forget_person(user_id: int, email: str, anonymous: str) -> None:
    """Remove the letters to her, and take her address out of what others may still read."""
    Letter.objects.filter(user_id=user_id).delete()
    ClosedAddress.objects.filter(pk=email.lower()).delete()
    for model, field in NAMES:
        model._default_manager.filter(**{field: email}).update(**{field: anonymous})
