"""A day's evidence is the sum of its chats, to the nano-dollar, on both databases, however often it is built."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from advisor.actions.evidence import do_build_day
from advisor.days import differences
from advisor.models import DayEvidence, EvidenceDay
from billing.models import UsageRow
from billing.rollups import Days
from komilion.common.clock import utc_now
from routing.selection.models import Feedback
from tests.advisor.chats import DAY, NOON, chosen, detail, only_row, rows
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase

WHOLE_DAY = Days(DAY, DAY)


@pytest.fixture
def alice(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


@pytest.fixture
def bob(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


def ways(day_rows: list[DayEvidence]) -> set[tuple[str, str, str]]:
    return {(row.way, row.policy, row.task) for row in day_rows}


def test_a_chat_is_counted_with_its_tokens_charge_length_and_duration(alice):
    usage = {"input": 700, "cache_read": 50, "output": 40, "reasoning": 11}
    alice.add(NOON, 40, usage=usage, duration_ms=800, detail=chosen())
    alice.add(NOON, 10, usage={"input": 100, "output": 10}, duration_ms=0, detail=chosen())
    assert do_build_day(DAY) == 2
    row = only_row()
    assert (row.organization_id, row.task, row.model) == (alice.tenant.wallet_id, "writing", "vendor/model")
    assert (row.requests, row.input, row.cache_read, row.output, row.input_image) == (2, 800, 50, 50, 0)
    assert row.charge_nano == sum(UsageRow.objects.values_list("charge_nano", flat=True)) > 0
    assert (row.answered, row.rated, row.difficulty) == (2, 2, 1.0)
    assert row.log_output == pytest.approx(math.log(40) + math.log(10))
    assert row.log_output_square == pytest.approx(math.log(40) ** 2 + math.log(10) ** 2)
    assert (row.log_ms, row.log_ms_square) == pytest.approx((math.log(800), math.log(800) ** 2))
    assert EvidenceDay.objects.get(day=DAY).calls == 2


def test_how_a_model_came_to_answer_is_told(alice):
    for facts in (
        detail(),
        detail(task_type="math", difficulty=1.0),
        chosen("frugal"),
        chosen("premium", rule="pinned"),
        detail(policy="balanced"),  # whose receipt could not be written
    ):
        alice.add(NOON, detail=facts)
    do_build_day(DAY)
    assert ways(rows()) == {
        ("named", "", ""),
        ("named", "", "math"),
        ("policy", "frugal", "writing"),
        ("pinned", "premium", "writing"),
        ("policy", "balanced", ""),
    }


def test_a_pinned_model_that_answers_for_the_one_on_trial_is_pinned(alice):
    attempts = [{"model": "acme/two", "error": "provider_error"}, {"model": "vendor/model"}]
    tried = {"policy": "balanced", "rule": "pinned", "market": "m", "pin": "vendor/model", "trial": "acme/two"}
    alice.add(NOON, detail=detail(task_type="writing", choice=tried, instead_of="acme/two", attempts=attempts))
    do_build_day(DAY)
    assert [(row.model, row.way, row.requests, row.passed_on) for row in rows()] == [
        ("acme/two", "pinned", 0, 1),
        ("vendor/model", "pinned", 1, 0),
    ]


@pytest.mark.parametrize(
    ("outcome", "error", "failed"),
    [
        ("completed", None, 0),
        ("provider_failed", "provider_error", 1),
        ("provider_cut", "broken_off", 1),
        ("provider_failed", "invalid_request", 0),
        ("client_left", None, 0),
        ("server_stopped", None, 0),
    ],
)
def test_a_failure_is_the_providers_unless_it_refused_what_was_sent(alice, outcome, error, failed):
    alice.add(NOON, outcome=outcome, detail=detail(error=error))
    do_build_day(DAY)
    row = only_row()
    assert (row.requests, row.failed, row.answered) == (1, failed, int(outcome == "completed"))


def test_more_than_one_attempt_is_retried_and_an_answer_at_its_limit_is_cut(alice):
    once, twice = detail(), detail(finish_reason="length")
    twice["attempts"] = [{"provider": "a", "model": "vendor/model", "error": "provider_error"}, *once["attempts"]]
    alice.add(NOON, detail=once)
    alice.add(NOON, detail=twice)
    do_build_day(DAY)
    row = only_row()
    assert (row.requests, row.retried, row.cut, row.answered) == (2, 1, 1, 1)


@pytest.mark.parametrize(("error", "passed_on"), [("provider_error", 1), ("content_filter", 0)])
def test_a_pin_that_failed_and_was_replaced_is_told_of_beside_the_one_that_answered(alice, error, passed_on):
    facts = chosen(rule="pinned", instead_of="vendor/pinned")
    facts["attempts"].insert(0, {"provider": "a", "model": "vendor/pinned", "error": error})
    alice.add(NOON, detail=facts)
    do_build_day(DAY)
    found = {row.model: (row.way, row.requests, row.passed_on, row.charge_nano > 0) for row in rows()}
    assert found.pop("vendor/model") == ("policy", 1, 0, True)
    assert found == ({"vendor/pinned": ("pinned", 0, 1, False)} if passed_on else {})
    assert list(differences(WHOLE_DAY)) == []


def test_speech_and_comparisons_are_left_out(alice):
    for endpoint in ("audio.speech", "realtime", "compare"):
        alice.add(NOON, endpoint=endpoint)
    alice.add(NOON, endpoint="chat")
    assert do_build_day(DAY) == 1
    assert list(differences(WHOLE_DAY)) == []


def test_a_day_ends_at_midnight_utc(alice):
    midnight = NOON.replace(hour=0)
    for moment in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(days=1)):
        alice.add(moment)
    assert do_build_day(DAY) == 1


def test_organizations_are_kept_apart(alice, bob):
    alice.add(NOON, 10)
    bob.add(NOON, 20)
    bob.add(NOON, 30)
    do_build_day(DAY)
    found = {row.organization_id: (row.requests, row.output) for row in rows()}
    assert found == {alice.tenant.wallet_id: (1, 10), bob.tenant.wallet_id: (2, 50)}


def test_a_closed_organization_gets_no_evidence_again(alice, bob):
    alice.add(NOON)
    bob.add(NOON)
    User.objects.filter(memberships__organization=bob.tenant.wallet_id).update(is_active=False)
    do_build_day(DAY)
    assert [row.organization_id for row in rows()] == [alice.tenant.wallet_id]
    assert list(differences(WHOLE_DAY)) == []


def vote(calls: Calls, score: float, **facts: Any) -> None:
    values = {"task": "writing", "model": "vendor/model", "policy": "balanced", "created_at": NOON, **facts}
    Feedback.objects.create(
        organization_id=calls.tenant.wallet_id, request_id=f"gen-{Feedback.objects.count()}", score=score, **values
    )


def test_votes_of_the_day_stand_with_the_calls_like_those_they_are_on(alice):
    alice.add(NOON, detail=chosen())
    alice.add(NOON, detail=chosen(rule="pinned"))
    vote(alice, 1.0)
    vote(alice, 0.5)
    vote(alice, 0.0, features={"rule": "pinned"})
    vote(alice, 1.0, policy="", task="")
    vote(alice, 1.0, created_at=NOON + timedelta(days=1))
    assert do_build_day(DAY) == 2
    found = {(row.way, row.task): (row.requests, row.votes, row.score) for row in rows()}
    assert found == {
        ("policy", "writing"): (1, 2, 1.5),
        ("pinned", "writing"): (1, 1, 0.0),
        ("named", ""): (0, 1, 1.0),
    }


def test_building_a_day_again_makes_it_as_its_calls_are_now(alice):
    alice.add(NOON, detail=detail())
    do_build_day(DAY)
    before = list(DayEvidence.objects.values())
    do_build_day(DAY)
    assert list(DayEvidence.objects.values()) == before
    alice.add(NOON, detail=detail())
    assert [line.partition(": ")[2] for line in differences(WHOLE_DAY)] == [
        "evidence has 1 calls for $0.000000013, the usage rows 2 for $0.000000026"
    ]
    assert do_build_day(DAY) == only_row().requests == 2
    assert list(differences(WHOLE_DAY)) == []


def test_two_workers_at_one_day_do_no_harm(alice):
    for _ in range(5):
        alice.add(NOON, detail=chosen())
    gate = threading.Barrier(2)

    def build() -> None:
        gate.wait()
        try:
            for _ in range(5):
                do_build_day(DAY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as workers:
        for done in [workers.submit(build) for _ in range(2)]:
            done.result()
    assert (only_row().requests, EvidenceDay.objects.get().calls) == (5, 5)


CHATS = st.builds(
    lambda kind, task, error, model, output, second: (kind, task, error, model, output, second),
    st.sampled_from(["named", "policy", "pinned", "other endpoint"]),
    st.sampled_from(["", "math", "writing"]),
    st.sampled_from([None, "provider_error", "invalid_request"]),
    st.sampled_from(["a/one", "b/two"]),
    st.integers(0, 10**9),
    st.integers(0, 86_399),
)


@given(st.lists(CHATS, max_size=12))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_nano_dollar_and_no_token_is_lost_or_made(alice, chats):
    midnight = NOON.replace(hour=0)
    items = []
    for kind, task, error, model, output, second in chats:
        known = {"task_type": task} if task else {}
        facts = detail(model, error, **known)
        if kind in {"policy", "pinned"}:
            facts |= {"choice": {"policy": "balanced", "rule": "pinned" if kind == "pinned" else "best"}}
        row = {"model": model, "detail": facts, "outcome": "completed" if error is None else "provider_failed"}
        if kind == "other endpoint":
            row["endpoint"] = "audio.speech"
        items.append(alice.item(midnight + timedelta(seconds=second), output, **row))
    if items:
        alice.ledger.commit(*items)
    start = utc_now()
    do_build_day(DAY)
    wanted = [row for row in UsageRow.objects.all() if row.endpoint == "chat.completions"]
    assert sum(row.charge_nano for row in rows()) == sum(row.charge_nano for row in wanted)
    assert sum(row.output for row in rows()) == sum(row.usage.get("output", 0) for row in wanted)
    assert sum(row.requests for row in rows()) == EvidenceDay.objects.get().calls == len(wanted)
    assert list(differences(WHOLE_DAY)) == []
    assert EvidenceDay.objects.get().built_at >= start
