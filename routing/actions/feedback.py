"""Keeping what somebody thought of an answer, with how its model was chosen. No prompt and no answer is stored."""

from typing import Any

from django.db import transaction

from billing.models import UsageRow
from billing.payments.queries import has_paid
from komilion.common import news
from komilion.common.clock import utc_now
from routing.selection.models import Feedback
from routing.selection.receipt import vote_on
from routing.selection.receipts import CHOICE, stored_receipt

FEATURES = ("reading", "market", "weights", "rule", "ranked", "pin", "trial")  # of a receipt, that a vote keeps


def do_give_feedback(row: UsageRow, score: float) -> Feedback:
    """Keep the score (0 to 1) of this settled call; a second one replaces the first.

    Every process hears of it, and counts it where the model was chosen by us and the organization has paid.
    """
    is_paid = has_paid(row.organization_id)
    values = {"score": score, "is_paid": is_paid, "created_at": utc_now(), **_how_it_was_chosen(row, score)}
    with transaction.atomic():
        feedback, is_new = Feedback.objects.update_or_create(
            organization_id=row.organization_id, request_id=row.request_id, defaults=values
        )
        transaction.on_commit(lambda: news.publish({"kind": "feedback_given", "replaced": not is_new}))
    return feedback


def _how_it_was_chosen(row: UsageRow, score: float) -> dict[str, Any]:
    """From the call's receipt; a call that named its model has a task type only where it was sampled."""
    known = {
        "task": row.detail.get("task_type") or "",
        "difficulty": row.detail.get("difficulty"),
        "model": row.model,
    }
    receipt = stored_receipt(row.detail)
    if receipt is None:
        return known
    packed, stored = receipt.packed, row.detail[CHOICE]
    known |= {
        "policy": packed.policy,
        "propensity": packed.propensity,
        "features": {name: stored[name] for name in FEATURES if name in stored},
    }
    vote = vote_on(receipt, row.model, score, str(row.organization_id))
    if vote is not None:
        known |= {"revision": vote.revision, "difficulty": vote.difficulty, "expected": vote.probability}
    return known
