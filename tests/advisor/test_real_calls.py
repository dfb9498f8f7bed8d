"""Calls of the running gateway, and what their day's evidence says: the words that both share are the same ones."""

from datetime import date
from typing import Any

import pytest

from advisor.actions.evidence import do_build_day
from advisor.days import differences
from advisor.models import DayEvidence
from billing.models import UsageRow
from billing.rollups import Days
from tests.fakes.client import Answer, call
from tests.fakes.replies import Reply
from tests.routing.books import organization_id, usage_rows
from tests.routing.choosing import BEST, CODE
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

FAILING = "anthropic/claude-opus-4.6"


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")
    gateway.add_model(Reply(status=503), FAILING, input_price="5.00", output_price="25.00")


def ask(gateway: Gateway, tenant: Tenant, model: str, **body: Any) -> Answer:
    return gateway.chat(tenant, model, **{"messages": CODE, **body})


def pin(gateway: Gateway, tenant: Tenant, model: str) -> None:
    answer = call(gateway.url, "/api/pins", tenant.key, {"taskType": "coding", "modelId": model})
    assert answer.status == 200, answer.body


def is_whole(day: date) -> bool:
    """Whether a day that is built now has all of its calls: one that ended meanwhile, of whomever, is not in it."""
    do_build_day(day)
    return list(differences(Days(day, day))) == []


def evidence(tenant: Tenant, calls: int) -> list[DayEvidence]:
    """Of all days of these calls, once all are settled."""
    wait_until(lambda: len(usage_rows(tenant)) == calls)
    days = sorted({row.created_at.date() for row in UsageRow.objects.all()})
    for day in days:
        wait_until(lambda day=day: is_whole(day))
    return list(DayEvidence.objects.filter(organization_id=organization_id(tenant)))


def test_a_model_that_was_named_chosen_or_pinned_is_told_apart(gateway: Gateway):
    alice = gateway.tenant()
    ask(gateway, alice, BEST)
    ask(gateway, alice, "neo-mode/premium")
    pin(gateway, alice, BEST)
    ask(gateway, alice, "neo-mode")
    found = {(row.way, row.policy): (row.task, row.model, row.requests) for row in evidence(alice, 3)}
    task = found.pop(("named", ""))[0]
    assert task in {"", "code-generation"}  # one call in ten is read
    assert found == {
        ("policy", "premium"): ("code-generation", BEST, 1),
        ("pinned", "balanced"): ("code-generation", BEST, 1),
    }
    assert sum(row.charge_nano for row in evidence(alice, 3)) == sum(row.charge_nano for row in usage_rows(alice))


def test_a_pinned_model_that_fails_is_told_of_though_another_one_answers(gateway: Gateway):
    bob = gateway.tenant()
    pin(gateway, bob, FAILING)
    assert ask(gateway, bob, "neo-mode").json["model"] == BEST
    found = {row.model: (row.way, row.requests, row.passed_on, row.retried) for row in evidence(bob, 1)}
    assert found == {FAILING: ("pinned", 0, 1, 0), BEST: ("policy", 1, 0, 1)}


def test_a_model_that_fails_alone_has_failed(gateway: Gateway):
    charlie = gateway.tenant()
    model = gateway.add_model(Reply(status=503))
    assert ask(gateway, charlie, model).status >= 500
    (row,) = evidence(charlie, 1)
    assert (row.model, row.way, row.requests, row.failed, row.charge_nano) == (model, "named", 1, 1, 0)


def test_what_the_provider_refuses_is_no_failure(gateway: Gateway):
    dora = gateway.tenant()
    model = gateway.add_model(Reply(status=400))
    assert ask(gateway, dora, model).status == 400
    (row,) = evidence(dora, 1)
    assert (row.model, row.requests, row.failed) == (model, 1, 0)
