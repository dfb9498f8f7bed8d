"""Reads of what an organization decided about the choice of its models; each takes the organization of who asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from routing.selection.models import Feedback, Pin, RoutingPreferences
from routing.selection.offsets import Feedback as OffsetVote
from routing.selection.trials import Trial


def pins_of(organization_id: int) -> list[Pin]:
    """The organization's pins, in the order of their task types."""
    return list(Pin.objects.filter(organization_id=organization_id).order_by("task"))


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
