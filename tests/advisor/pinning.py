"""Pins of organizations with a history of calls, for the tests of upgrades."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from advisor.models import Upgrade
from billing.models import UsageRow
from routing.actions.pins import Pinner, do_set_pin
from routing.catalog.models import Model
from routing.queries import forget_catalog_rows
from routing.selection.models import Pin
from tests.people import Person

OLD, NEW, TASK = "acme/one", "acme/two", "writing"
_numbers = count(1)


def change_model(name: str, **values: Any) -> None:
    """In the catalogue."""
    Model.objects.filter(pk=name).update(**values)
    forget_catalog_rows()


def pin_for(person: Person, task: str = TASK, model: str = OLD) -> Pin:
    """Set by the person."""
    return do_set_pin(Pinner(person.organization_id, person.email), task, model)


def pin_of(person: Person, task: str = TASK) -> Pin:
    return Pin.objects.get(organization_id=person.organization_id, task=task)


def upgrades_of(person: Person) -> list[Upgrade]:
    """In the order in which they began."""
    return list(Upgrade.objects.filter(organization_id=person.organization_id).order_by("pk"))


def answer(person: Person, since: datetime, calls: int, failed: int = 0, trial: bool = False, **more: Any) -> None:
    """So many pinned calls a second after `since`; `more` is for the row. `failed` ones reached nobody."""
    task = more.pop("task", TASK)
    choice = {"policy": "balanced", "rule": "pinned", "market": "m", "pin": OLD, **({"trial": NEW} if trial else {})}
    model = NEW if trial else OLD
    error = {"error": "provider_error"}
    UsageRow.objects.bulk_create(
        UsageRow(
            **{
                "created_at": since + timedelta(seconds=1),
                "request_id": f"gen-{next(_numbers)}",
                "organization_id": person.organization_id,
                "tags": [],
                "endpoint": "chat.completions",
                "requested_model": "neo-mode",
                "model": model,
                "provider": "acme",
                "streamed": False,
                "outcome": "provider_failed" if number < failed else "completed",
                "usage_source": "provider",
                "usage": {"input": 100, "output": 10},
                "price_id": 1,
                "cost_nano": 1,
                "fee_nano": 0,
                "charge_nano": 1,
                "savings_nano": 0,
                "duration_ms": 1_000,
                "detail": {
                    "task_type": task,
                    "choice": choice,
                    "finish_reason": "stop",
                    "attempts": [{"model": model, **(error if number < failed else {})}],
                },
                **more,
            }
        )
        for number in range(calls)
    )
