"""Idempotency-Keys in the ledger: claimed with the hold, ended with the settlement, freed with what came to nothing."""

from datetime import timedelta

import pytest
from django.db.models import F
from msgspec.structs import replace

from billing.actions.idempotency import ROWS_AT_ONCE, do_purge_answers
from billing.errors import StoreConflict
from billing.ledger.batch import Batch
from billing.ledger.items import AuthorizationChanged, Claim, Claimed, Expire, Extend, Granted, NotOpen, Refused, Void
from billing.ledger.store import run_blocking
from billing.models import Hold, IdempotentCall
from billing.queries import idempotent_answer, idempotent_call
from billing.tasks import purge_answers
from tests.billing.ledger_database import LedgerDatabase, Tenant, new_name, place, settle

HMAC = "ab" * 32


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    return ledger.open_wallet(paid=10_000)


@pytest.fixture
def claim(alice: Tenant) -> Claim:
    return Claim(alice.key_id, "/v1/chat/completions", "key-1", HMAC)


def ended(ledger: LedgerDatabase, tenant: Tenant, request_id: str, claim: Claim, answer: str | None):
    """The settlement of a claimed call."""
    return replace(settle(tenant, request_id, ledger.price(), 40), claim=claim, answer=answer)


def expired(tenant: Tenant, request_id: str) -> Expire:
    return Expire(request_id, tenant.wallet_id, only_if_due=False, process_gone=True)


def test_the_second_of_two_equal_calls_is_told_of_the_first(ledger, alice, claim):
    first, second = place(alice, 100, claim=claim), place(alice, 100, claim=claim)
    running = Claimed(first.request_id, HMAC, is_finished=False, is_kept=False)
    assert ledger.commit(first, second) == [Granted(100, 9_900), running]
    assert ledger.commit(place(alice, 100, claim=claim)) == [running]
    assert Hold.objects.count() == 1
    assert idempotent_call(claim) == running


def test_another_key_path_or_idempotency_key_is_another_call(ledger, alice, claim):
    bob = ledger.open_wallet(paid=10_000)
    others = [replace(claim, path="/api/chat/completions"), replace(claim, key="key-2")]
    holds = [place(alice, 100, claim=one) for one in (claim, *others)]
    holds.append(place(bob, 100, claim=replace(claim, key_id=bob.key_id)))
    assert all(isinstance(outcome, Granted) for outcome in ledger.commit(*holds))


def test_a_hold_that_is_refused_claims_nothing(ledger, alice, claim):
    assert isinstance(ledger.commit(place(alice, 20_000, claim=claim))[0], Refused)
    assert ledger.commit(place(alice, 20_000, claim=claim, key_epoch=7)) == [AuthorizationChanged()]
    assert idempotent_call(claim) is None


def test_the_same_hold_again_is_granted_again(ledger, alice, claim):
    hold = place(alice, 100, claim=claim)
    run_blocking(Batch(ledger.open_store(), [hold]).run())
    assert ledger.commit(hold) == [Granted(100, 9_900)], "after a commit whose outcome nobody knew"
    with pytest.raises(StoreConflict):
        run_blocking(Batch(ledger.open_store(), [hold]).run())


@pytest.mark.parametrize(("answer", "is_kept"), [("sealed", True), ("", False)], ids=["kept", "too large"])
def test_a_settlement_ends_the_claim_and_keeps_its_answer(ledger, alice, claim, answer, is_kept):
    hold = place(alice, 100, claim=claim)
    ledger.commit(hold)
    end = ended(ledger, alice, hold.request_id, claim, answer)
    later = place(alice, 100, claim=claim)
    finished = Claimed(hold.request_id, HMAC, is_finished=True, is_kept=is_kept)
    assert ledger.commit(end, later)[1] == finished, "in the same batch"
    ledger.commit(end)
    assert ledger.commit(place(alice, 100, claim=claim)) == [finished]
    assert idempotent_call(claim) == finished
    assert idempotent_answer(alice.key_id, hold.request_id) == answer
    assert idempotent_answer(-1, hold.request_id) == ""
    row = IdempotentCall.objects.get()
    assert timedelta(hours=23) < row.expires_at - row.created_at <= timedelta(hours=25)


@pytest.mark.parametrize("how", ["no answer", "void", "expire"])
def test_what_came_to_nothing_frees_the_key(ledger, alice, claim, how):
    hold = place(alice, 100, claim=claim)
    ledger.commit(hold)
    end = {
        "no answer": ended(ledger, alice, hold.request_id, claim, None),
        "void": Void(hold.request_id, alice.wallet_id, is_claimed=True),
        "expire": expired(alice, hold.request_id),
    }[how]
    again = place(alice, 100, claim=claim)
    assert isinstance(ledger.commit(end, again)[1], Claimed), "freed only when the batch is committed"
    assert isinstance(ledger.commit(again)[0], Granted)


def test_nothing_frees_what_is_finished(ledger, alice, claim):
    hold = place(alice, 100, claim=claim)
    ledger.commit(hold)
    ledger.commit(ended(ledger, alice, hold.request_id, claim, "sealed"))
    assert ledger.commit(expired(alice, hold.request_id)) == [NotOpen("settled")]
    assert idempotent_answer(alice.key_id, hold.request_id) == "sealed"


def test_a_settlement_after_an_expiry_gives_its_answer_where_nobody_called_again(ledger, alice, claim):
    hold = place(alice, 100, claim=claim)
    ledger.commit(hold)
    ledger.commit(expired(alice, hold.request_id))
    ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 5))
    ledger.commit(ended(ledger, alice, hold.request_id, claim, "sealed"))
    assert idempotent_answer(alice.key_id, hold.request_id) == "sealed"


@pytest.mark.parametrize("answer", ["sealed", None])
def test_a_settlement_after_an_expiry_leaves_the_next_call_alone(ledger, alice, claim, answer):
    hold, again = place(alice, 100, claim=claim), place(alice, 100, claim=claim)
    ledger.commit(hold)
    ledger.commit(expired(alice, hold.request_id))
    ledger.commit(again)
    ledger.commit(ended(ledger, alice, hold.request_id, claim, answer))
    assert idempotent_call(claim) == Claimed(again.request_id, HMAC, is_finished=False, is_kept=False)
    ledger.commit(ended(ledger, alice, again.request_id, claim, "other"))
    assert idempotent_answer(alice.key_id, again.request_id) == "other"


def test_a_settlement_whose_hold_was_lost_brings_its_claim(ledger, alice, claim):
    ledger.commit(ended(ledger, alice, "gen-lost", claim, "sealed"))
    assert idempotent_call(claim) == Claimed("gen-lost", HMAC, is_finished=True, is_kept=True)
    ledger.commit(ended(ledger, alice, "gen-lost-too", replace(claim, key="key-2"), None))
    assert IdempotentCall.objects.count() == 1


def test_what_is_past_its_time_is_purged(ledger, alice, claim):
    for number in range(3):
        name = new_name("gen")
        ledger.commit(ended(ledger, alice, name, replace(claim, key=str(number)), "sealed"))
    IdempotentCall.objects.exclude(idempotency_key="2").update(expires_at=F("created_at") - timedelta(seconds=1))
    purge_answers()
    purge_answers()
    assert [call.idempotency_key for call in IdempotentCall.objects.all()] == ["2"]
    assert do_purge_answers() == 0


def test_a_purge_takes_more_rows_than_it_deletes_at_once(ledger, alice, claim):
    rows = [
        IdempotentCall(
            key_id=1,
            path="/",
            idempotency_key=str(number),
            body_hmac=HMAC,
            request_id=f"gen-{number}",
            created_at="2020-01-01T00:00Z",
            expires_at="2020-01-02T00:00Z",
        )
        for number in range(ROWS_AT_ONCE + 1)
    ]
    IdempotentCall.objects.bulk_create(rows)
    assert do_purge_answers() == ROWS_AT_ONCE + 1
