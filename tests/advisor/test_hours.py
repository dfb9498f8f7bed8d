"""What models did in the last two hours, from the rows of chats, on both databases; and what is usual."""

import math
from datetime import timedelta
from typing import Any

import pytest

from advisor.alarms import Lately, Tried
from advisor.hours import read_lately
from advisor.models import DayEvidence
from tests.advisor.chats import DAY, NOON, detail
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase

AGO = {minutes: NOON - timedelta(minutes=minutes) for minutes in (1, 20, 40, 119, 121, 200)}


@pytest.fixture
def alice(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


@pytest.fixture
def bob(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


def seen(calls: Calls | None = None, least_calls: int = 1) -> dict[tuple[int, str], Lately]:
    organization_id = calls and calls.tenant.wallet_id
    return {(key, each.model): each for key, each in read_lately(NOON, least_calls, organization_id)}


def only(calls: Calls) -> Lately:
    (found,) = seen(calls).values()
    return found


def failed(model: str = "vendor/model", error: str = "provider_error", **row: Any) -> dict[str, Any]:
    return {"outcome": "provider_failed", "model": model, "detail": detail(model, error=error), **row}


def passed_on(outcome: str = "completed") -> dict[str, Any]:
    """A call that was for one model, which failed, and went to another."""
    attempts = [
        {"provider": "provider", "model": "vendor/model", "status": 500, "ms": 5, "error": "provider_error"},
        {"provider": "provider", "model": "vendor/other", "status": 200, "ms": 5},
    ]
    facts = detail(attempts=attempts, instead_of="vendor/model")
    return {"model": "vendor/other", "outcome": outcome, "detail": facts}


def test_calls_are_added_up_by_quarters_of_an_hour(alice):
    for minutes in (1, 20, 20, 119):
        alice.add(AGO[minutes], detail=detail())
    found = [(f"{slot.starts_at:%H:%M}", slot.tried.calls) for slot in only(alice).slots]
    assert found == [("10:00", 1), ("11:30", 2), ("11:45", 1)]


def test_what_is_older_than_two_hours_or_yet_to_come_is_not_in_it(alice):
    for moment in (AGO[121], AGO[200], NOON, NOON + timedelta(minutes=1)):
        alice.add(moment, detail=detail())
    assert seen() == {}


def test_a_failure_is_the_providers_unless_it_refused_what_was_sent(alice):
    alice.add(AGO[1], **failed())
    alice.add(AGO[1], **failed(error="invalid_request"))
    alice.add(AGO[1], outcome="client_left", detail=detail())
    assert only(alice).whole == Tried(calls=3, failed=1)


def test_a_call_that_another_model_answered_is_a_failure_of_the_first(alice):
    alice.add(AGO[1], usage={"output": 40}, duration_ms=800, **passed_on())
    alice.add(AGO[1], **failed("vendor/other") | {"detail": passed_on()["detail"]})
    found = seen(alice)
    assert found[alice.tenant.wallet_id, "vendor/model"].whole == Tried(calls=2, failed=2, rescued=1)
    other = found[alice.tenant.wallet_id, "vendor/other"].whole
    assert (other.calls, other.rescued, other.answered) == (2, 0, 1)
    assert other.log_ms == pytest.approx(math.log(800))


def test_durations_and_lengths_are_those_of_whole_answers(alice):
    alice.add(AGO[1], usage={"output": 40}, duration_ms=800, detail=detail())
    alice.add(AGO[1], usage={"output": 9}, duration_ms=5, detail=detail(finish_reason="length"))
    tried = only(alice).whole
    assert (tried.calls, tried.answered) == (2, 1)
    assert (tried.log_ms, tried.log_ms_square) == pytest.approx((math.log(800), math.log(800) ** 2))
    assert (tried.log_output, tried.log_output_square) == pytest.approx((math.log(40), math.log(40) ** 2))


def test_speech_is_not_in_it(alice):
    alice.add(AGO[1], endpoint="audio/transcriptions", **failed())
    assert seen() == {}


def test_models_with_few_calls_in_the_window_are_left_out(alice, bob):
    for minutes in (1, 20, 119):
        alice.add(AGO[minutes], detail=detail())
    bob.add(AGO[1], detail=detail())
    assert list(seen(least_calls=3)) == [(alice.tenant.wallet_id, "vendor/model")]
    assert seen(bob, least_calls=3) == {}
    assert len(seen()) == 2


def test_one_organization_can_be_looked_at_alone(alice, bob):
    for calls in (alice, bob):
        calls.add(AGO[1], detail=detail())
    assert list(seen(bob)) == [(bob.tenant.wallet_id, "vendor/model")]


def put(calls: Calls, days_ago: int, **values: Any) -> None:
    names = [field.name for field in DayEvidence._meta.concrete_fields]
    nothing = dict.fromkeys(names[names.index("requests") :], 0)
    key = {"day": DAY - timedelta(days=days_ago), "organization_id": calls.tenant.wallet_id, "model": "vendor/model"}
    task = values.pop("task", "writing")
    DayEvidence.objects.create(**{**nothing, **key, "task": task, "way": "named", "policy": "", **values})


def test_what_is_usual_is_the_evidence_of_the_four_weeks_before(alice, bob):
    alice.add(AGO[1], detail=detail())
    put(alice, 1, requests=10, failed=1, passed_on=2, answered=9, log_ms=63.0, log_output=45.0)
    put(alice, 28, requests=5, answered=5, task="math", log_ms_square=7.0, log_output_square=3.0)
    for days_ago in (0, 29):
        put(alice, days_ago, requests=1_000)
    put(bob, 1, requests=1_000)
    assert only(alice).usual == Tried(17, 3, 0, 14, 63.0, 7.0, 45.0, 3.0)


def test_what_was_never_called_before_has_nothing_usual(alice):
    alice.add(AGO[1], detail=detail())
    assert only(alice).usual == Tried()
