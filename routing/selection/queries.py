"""Reads of what an organization decided about the choice of its models; each takes the organization of who asks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from accounts.models import AuditEntry
from routing.selection.models import Feedback, Pin, RoutingPreferences
from routing.selection.offsets import Feedback as OffsetVote
from routing.selection.trials import Trial

# Actions of the audit log after which another model is pinned, and what in their detail says which; None: none is.
SETS_PIN: Mapping[str, str | None] = {"pin.set": "model", "pin.upgrade": "new", "pin.remove": None}


def pins_of(organization_id: int) -> list[Pin]:
    """The organization's pins, in the order of their task types."""
    return list(Pin.objects.filter(organization_id=organization_id).order_by("task"))


@dataclass(frozen=True, slots=True)
class PinChange:
    """That a task type of an organization has another pin since then."""

    organization_id: int
    task: str
    model: str  # empty where none is pinned since
    at: datetime


def pin_changes(organization_ids: Collection[int], since: datetime) -> list[PinChange]:
    """Of these organizations, the oldest first: what the audit log says of pins, as a row has no past."""
    rows = AuditEntry.objects.filter(organization_id__in=organization_ids, action__in=SETS_PIN, created_at__gte=since)
    found = rows.order_by("pk").values_list("organization_id", "subject", "action", "detail", "created_at")
    return [
        PinChange(organization_id, task, _pinned_since(action, detail), at)
        for organization_id, task, action, detail, at in found
        if organization_id is not None
    ]


def _pinned_since(action: str, detail: Mapping[str, str]) -> str:
    named = SETS_PIN[action]
    return detail[named] if named else ""


def pinned_models(organization_id: int) -> tuple[Mapping[str, str], Mapping[str, Trial]]:
    """Task type -> model, and task type -> what is on trial for it."""
    pins = Pin.objects.filter(organization_id=organization_id)
    rows = list(pins.values_list("task", "model", "trial_model", "trial_basis_points"))
    trials = {task: Trial(trial, share) for task, _, trial, share in rows if trial}
    return {task: model for task, model, _, _ in rows}, trials


def follows_successors(organization_id: int) -> bool:
    """Whether a retired model moves to its successor even where that is dearer."""
    rows = RoutingPreferences.objects.filter(organization_id=organization_id)
    return rows.values_list("follows_successors", flat=True).first() or False


def feedback_on(organization_id: int, request_id: str) -> Feedback | None:
    """What the organization thought of this answer; None where it said nothing."""
    return Feedback.objects.filter(organization_id=organization_id, request_id=request_id).first()


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote as the offsets count it, at a Unix time; the organization's name is its id."""

    id: int
    feedback: OffsetVote
    at_s: float


def votes_after(vote_id: int, since: datetime, most: int) -> list[Vote]:
    """Votes on chosen models that came after that one, the newest `most`, the oldest first.

    No tenant's in particular: they add up to what is known of models. An account costs nothing, so only the votes of
    those count who had paid when they voted.
    """
    rows = Feedback.objects.filter(pk__gt=vote_id, created_at__gte=since, expected__isnull=False, is_paid=True)
    return [_vote(row) for row in reversed(rows.order_by("-pk")[:most])]


def _vote(row: Feedback) -> Vote:
    assert row.difficulty is not None
    assert row.expected is not None
    feedback = OffsetVote(row.revision, row.task, row.difficulty, row.expected, row.score, str(row.organization_id))
    return Vote(row.pk, feedback, row.created_at.timestamp())
