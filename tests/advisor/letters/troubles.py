"""Models in trouble for tests: calls of the last hours, what was usual, and alarms that are made up."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from advisor.advice import Kind, Saving
from advisor.alarms import Alarm
from tests.advisor.letters.delivering import CHEAPER, DOLLAR, MONDAY, SUMS
from tests.people import Person

NOW = MONDAY + timedelta(days=2, hours=5)  # 14:00 on a Wednesday
LARGE, MINI = "acme/large", "acme/mini"
FAILING = Alarm(
    Kind.FAILING,
    LARGE,
    0.9998,
    {
        "since": (NOW - timedelta(minutes=45)).isoformat(),
        "now_calls": 60,
        "now_failed": 31,
        "now_rescued": 12,
        "failed_share": 0.5167,
        "failed_share_before": 0.012,
    },
)
SLOW = Alarm(
    Kind.SLOW,
    LARGE,
    0.9999,
    {
        "since": (NOW - timedelta(minutes=75)).isoformat(),
        "now_calls": 140,
        "times": 3.1,
        "log_ms": 8.78,  # 6.5 s
        "log_ms_before": 7.65,  # 2.1 s
    },
)
ENDING = Alarm(Kind.ENDING, LARGE, 1.0, {"ends_on": "2026-12-14", "successor": "acme/large-2"})


def about(kind: Kind, task: str = "summarization", model: str = MINI) -> Any:
    """What could take the place of the model for a task type."""
    saving = Saving(-2 * DOLLAR, -1 * DOLLAR, 3 * DOLLAR)
    seen = {"calls": 4_312, "days": 28, "charge_nano": 61 * DOLLAR}
    expires_on = (NOW + timedelta(days=7)).date()
    return replace(
        CHEAPER,
        kind=kind,
        task=task,
        model=model,
        saving=saving,
        evidence=seen,
        risks=("dearer",),
        expires_on=expires_on,
    )


def calls(person: Person, moment: datetime, count: int, model: str = LARGE, error: str | None = None) -> None:
    """So many settled chats of hers that came in then."""
    from billing.models import UsageRow
    from tests.advisor.chats import detail

    start = UsageRow.objects.count()
    UsageRow.objects.bulk_create(
        UsageRow(
            created_at=moment + timedelta(seconds=number),
            request_id=f"gen-{start + number}",
            organization_id=person.organization_id,
            tags=[],
            endpoint="chat.completions",
            requested_model=model,
            model=model,
            provider="acme",
            streamed=False,
            outcome="completed" if error is None else "provider_failed",
            usage_source="provider",
            usage={"output": 200},
            price_id=1,
            cost_nano=1,
            fee_nano=0,
            charge_nano=1,
            savings_nano=0,
            duration_ms=2_000,
            detail=detail(model, error=error),
        )
        for number in range(count)
    )


def usual(person: Person, days: int = 20, requests: int = 200, model: str = LARGE) -> None:
    """Evidence of so many days before, each with so many calls of which one in a hundred failed."""
    from advisor.models import DayEvidence

    nothing = dict.fromkeys(SUMS, 0)
    key = {"organization_id": person.organization_id, "task": "summarization", "model": model, "way": "named"}
    for number in range(1, days + 1):
        DayEvidence.objects.create(
            **{**nothing, **key, "policy": "", "requests": requests, "failed": requests // 100},
            day=NOW.date() - timedelta(days=number),
        )


def in_trouble(person: Person) -> None:
    """Her model has failed in half of its calls for three quarters of an hour."""
    usual(person)
    for quarter in range(8):
        moment = NOW - timedelta(minutes=15 * (8 - quarter))
        bad = 10 if quarter >= 5 else 0
        calls(person, moment, 20 - bad)
        calls(person, moment, bad, error="provider_error")
