"""Chats as usage rows keep them, and what a day's evidence says of them."""

from datetime import UTC, date, datetime
from typing import Any

from advisor.models import DayEvidence

DAY = date(2026, 11, 2)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def detail(model: str = "vendor/model", error: str | None = None, **facts: Any) -> dict[str, Any]:
    """Of one attempt at this model; `choice` is what a receipt says of the rule and the policy."""
    attempt = {"provider": "provider", "model": model, "status": 200, "ms": 5}
    attempts = [attempt | ({} if error is None else {"error": error})]
    return {"attempts": attempts, "adjusted": [], "finish_reason": "stop", **facts}


def chosen(policy: str = "balanced", rule: str = "cheapest_above_floor", **facts: Any) -> dict[str, Any]:
    """Of a call that left the choice to us."""
    read = {"task_type": "writing", "difficulty": 0.5}
    return detail(choice={"policy": policy, "rule": rule, "market": "m"}, **{**read, **facts})


def rows(day: date = DAY) -> list[DayEvidence]:
    """The evidence of a day, in order."""
    return list(DayEvidence.objects.filter(day=day).order_by("organization_id", "task", "model", "way", "policy"))


def only_row(day: date = DAY) -> DayEvidence:
    (row,) = rows(day)
    return row
