"""What both models of a trial did, read from calls and votes, on both databases."""

import math
from datetime import timedelta
from typing import Any

import pytest

from advisor.canary import Arm
from advisor.models import Upgrade
from advisor.trial_sql import Figures, Look, look_at
from routing.selection.models import Feedback
from tests.advisor.chats import NOON, detail
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase

OLD, NEW = "acme/one", "acme/two"


@pytest.fixture
def alice(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


@pytest.fixture
def bob(books: LedgerDatabase) -> Calls:
    return Calls(books, books.open_wallet(paid=10**12))


def upgrade(person: Calls, **more: Any) -> int:
    values = {"task": "writing", "old_model": OLD, "new_model": NEW, "state": "trial", "share_basis_points": 500}
    values |= {"step_at": NOON, "created_at": NOON, **more}
    return Upgrade.objects.create(organization_id=person.tenant.wallet_id, **values).pk


def of_trial(model: str = NEW, **facts: Any) -> dict[str, Any]:
    return pinned(model, trial=NEW, **facts)


def pinned(model: str = OLD, trial: str | None = None, **facts: Any) -> dict[str, Any]:
    choice = {"policy": "balanced", "rule": "pinned", "market": "m", "pin": OLD, **facts.pop("choice", {})}
    choice |= {} if trial is None else {"trial": trial}
    return detail(model, **{"task_type": "writing", "difficulty": 0.5, "choice": choice, **facts})


def call(person: Calls, model: str, told: dict[str, Any], later_s: float = 1.0, **more: Any) -> str:
    return person.add(NOON + timedelta(seconds=later_s), model=model, detail=told, **more)


def figures(pk: int) -> Figures:
    """Nothing of it is settled yet."""
    look = look_at(OLD, NEW, NOON).get(pk, Look())
    assert look.settled == Figures()
    return look.rest


def test_calls_are_counted_by_the_arm_that_they_were_to_go_to(alice):
    pk = upgrade(alice)
    for _ in range(3):
        call(alice, OLD, pinned(), duration_ms=800)
    call(alice, NEW, of_trial(), duration_ms=500)
    logs = math.log(800)
    found = figures(pk)
    assert (found.old.calls, found.old.timed, found.diverted) == (3, 3, 0)
    assert (found.old.log_ms, found.old.log_ms_square) == pytest.approx((3 * logs, 3 * logs**2))
    assert (found.new.calls, found.new.log_ms) == (1, pytest.approx(math.log(500)))


def test_a_call_that_the_newer_model_failed_and_the_pinned_one_answered_is_the_newer_ones(alice):
    pk = upgrade(alice)
    attempts = [{"model": NEW, "error": "provider_error", "ms": 5}, {"model": OLD, "ms": 5}]
    call(alice, OLD, of_trial(OLD, instead_of=NEW, attempts=attempts))
    found = figures(pk)
    assert (found.new, found.old) == (Arm(calls=1, failed=1, retried=1), Arm())


@pytest.mark.parametrize(
    ("row", "facts", "signal"),
    [
        ({"outcome": "provider_failed"}, {"attempts": [{"model": NEW, "error": "provider_error"}]}, "failed"),
        ({"outcome": "provider_cut"}, {"attempts": [{"model": NEW, "error": "provider_timeout"}]}, "failed"),
        ({}, {"finish_reason": "length"}, "cut"),
        ({}, {"attempts": [{"model": NEW, "error": "provider_error"}, {"model": NEW}]}, "retried"),
    ],
)
def test_what_goes_wrong_is_told_apart(alice, row: dict[str, Any], facts: dict[str, Any], signal: str):
    pk = upgrade(alice)
    call(alice, NEW, of_trial(**facts), **row)
    found = figures(pk).new
    assert (found.calls, getattr(found, signal)) == (1, 1)
    assert found.failed + found.cut + found.retried == 1


def test_calls_of_the_trial_that_could_not_be_sent_to_it_are_neithers(alice):
    pk = upgrade(alice)
    call(alice, OLD, of_trial(OLD))
    assert figures(pk) == Figures(diverted=1)


def test_nothing_else_is_counted(alice, bob):
    pk, other = upgrade(alice), upgrade(bob, state="done", ended_at=NOON)
    call(alice, OLD, pinned(), later_s=-1)  # before the step
    call(alice, OLD, pinned(task_type="math"))
    call(alice, OLD, pinned(choice={"pin": "acme/other"}))
    call(alice, OLD, pinned(choice={"rule": "pin_filtered"}))
    call(alice, OLD, detail(OLD))  # the caller named it
    call(alice, NEW, of_trial(), endpoint="embeddings")
    call(bob, OLD, pinned())
    assert look_at(OLD, NEW, NOON) == {}
    assert look_at(NEW, OLD, NOON) == {}
    assert (figures(pk), figures(other)) == (Figures(), Figures())


def test_each_organizations_trial_is_counted_for_itself(alice, bob):
    first, second = upgrade(alice), upgrade(bob, step_at=NOON + timedelta(hours=1))
    for person in (alice, bob):
        call(person, OLD, pinned())
        call(person, NEW, of_trial(), later_s=3_601)
    found = {pk: figures(pk) for pk in (first, second)}
    assert (found[first].old.calls, found[first].new.calls) == (1, 1)
    assert (found[second].old.calls, found[second].new.calls) == (0, 1)


def test_calls_that_came_in_before_the_moment_are_settled_and_those_before_the_last_count_are_left_out(alice):
    pk = upgrade(alice, counted_to=NOON + timedelta(minutes=10))
    for minute in (9, 10, 19, 20, 21):
        call(alice, OLD, pinned(), later_s=60 * minute)
    look = look_at(OLD, NEW, NOON + timedelta(minutes=20))[pk]
    assert (look.settled.old.calls, look.rest.old.calls) == (2, 2)


def test_bad_votes_of_those_who_paid_are_counted_for_the_model_that_answered(alice):
    pk = upgrade(alice)
    features = {"rule": "pinned", "pin": OLD}
    tried = {**features, "trial": NEW}
    for number, (model, score, told, more) in enumerate(
        [
            (OLD, 0.0, features, {}),
            (NEW, 0.0, tried, {}),
            (NEW, 0.4, tried, {}),
            (NEW, 0.5, tried, {}),
            (NEW, 0.0, tried, {"is_paid": False}),
            (OLD, 0.0, tried, {}),  # the newer one failed
            (NEW, 0.0, tried, {"task": "math"}),
            (NEW, 0.0, tried, {"created_at": NOON - timedelta(seconds=1)}),
        ]
    ):
        values = {"task": "writing", "is_paid": True, "created_at": NOON + timedelta(seconds=1), **more}
        Feedback.objects.create(
            organization_id=alice.tenant.wallet_id,
            request_id=f"gen-{number}",
            score=score,
            model=model,
            features=told,
            **values,
        )
    assert figures(pk) == Figures(Arm(disliked=1), Arm(disliked=2))
