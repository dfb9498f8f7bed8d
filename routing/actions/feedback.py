"""Keeping what somebody thought of an answer, with how its model was chosen. No prompt and no answer is stored."""

from typing import Any

from django.db import transaction

from billing.models import UsageRow
from komilion.common.clock import utc_now
from routing.selection.models import Feedback


def do_give_feedback(row: UsageRow, score: float) -> Feedback:
    """Keep the score (0 to 1) of this settled call; a second one replaces the first."""
    values: dict[str, Any] = {"score": score, "created_at": utc_now(), **_how_it_was_chosen(row)}
    with transaction.atomic():
        feedback, _ = Feedback.objects.update_or_create(
            organization_id=row.organization_id, request_id=row.request_id, defaults=values
        )
    return feedback


def _how_it_was_chosen(row: UsageRow) -> dict[str, Any]:
    """What the usage row knows; a call that named its model has a task type only where it was sampled."""
    return {"task": row.detail.get("task_type") or "", "model": row.model}
