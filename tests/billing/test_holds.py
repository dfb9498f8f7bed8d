"""What the ledger answers to one item: who may place, what is granted, and how a hold ends."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.actions.keys import do_revoke_key
from accounts.models import ApiKey, Organization
from billing.actions.wallets import do_move, do_open_wallet
from billing.errors import MovementRefused, StoreConflict
from billing.ledger.batch import Batch
from billing.ledger.items import (
    AuthorizationChanged,
    Done,
    Expire,
    Extend,
    Failure,
    Granted,
    Movement,
    NeedsCount,
    NotOpen,
    Refused,
    Void,
)
from billing.ledger.store import run_blocking
from billing.ledger.verify import differences
from billing.models import Hold, PromoLot
from tests.billing.ledger_database import LedgerDatabase, Tenant, place, settle


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    return ledger.open_wallet(paid=1_000)


# who may place


def test_a_revoked_key_places_nothing(ledger, alice):
    do_revoke_key(ApiKey.objects.get(pk=alice.key_id), actor="alice@example.com")
    assert ledger.commit(place(alice, 1)) == [AuthorizationChanged()]
    assert ledger.commit(place(alice, 1, key_epoch=1)) == [AuthorizationChanged()], "not even with the new epoch"


def test_an_expired_key_places_nothing(ledger, alice):
    key = ApiKey.objects.filter(pk=alice.key_id)
    key.update(expires_at=timezone.now() + timedelta(hours=1))
    assert ledger.commit(place(alice, 1)) == [Granted(1, 999)]
    key.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ledger.commit(place(alice, 1)) == [AuthorizationChanged()]


@pytest.mark.parametrize("epochs", [{"key_epoch": 1}, {"organization_epoch": 1}])
def test_a_caller_that_changed_since_places_nothing(ledger, alice, epochs):
    assert ledger.commit(place(alice, 1, **epochs)) == [AuthorizationChanged()]


def test_a_member_without_a_key_is_bound_to_the_organization(ledger, alice):
    assert ledger.commit(place(alice, 1, key_id=None)) == [Granted(1, 999)]
    Organization.objects.filter(pk=alice.wallet_id).update(auth_epoch=1)
    assert ledger.commit(place(alice, 1, key_id=None)) == [AuthorizationChanged()]


# what is granted


@pytest.mark.parametrize(
    ("ceiling", "minimum", "outcome"),
    [
        (400, 400, Granted(400, 600)),
        (5_000, 300, Granted(1_000, 0)),
        (5_000, 1_001, Refused(1_000, 1_001)),
        (0, 0, Granted(0, 1_000)),
    ],
    ids=["the whole ceiling", "what there is", "less than it needs", "nothing"],
)
def test_a_placing_gets_what_there_is_up_to_its_ceiling(ledger, alice, ceiling, minimum, outcome):
    assert ledger.commit(place(alice, ceiling, minimum)) == [outcome]


def test_a_byte_bound_may_hold_a_tenth_of_the_credit_and_refuse_nobody(ledger, alice):
    ledger.commit(place(alice, 500))  # running holds are not taken off
    assert ledger.commit(place(alice, 100, is_byte_bound=True)) == [Granted(100, 400)]
    assert ledger.commit(place(alice, 101, is_byte_bound=True)) == [NeedsCount()]
    assert ledger.commit(place(alice, 2_000, is_byte_bound=True)) == [NeedsCount()]
    assert ledger.commit(place(alice, 2_000, is_byte_bound=False)) == [Refused(400, 2_000)]


def test_the_same_request_is_held_once(ledger, alice):
    hold = place(alice, 100)
    assert run_blocking(Batch(ledger.open_store(), [hold]).run()) == [Granted(100, 900)]
    with pytest.raises(StoreConflict):
        run_blocking(Batch(ledger.open_store(), [hold]).run())
    assert ledger.commit(hold, hold) == [Granted(100, 900)] * 2
    assert ledger.wallet(alice.wallet_id)["held"] == 100


def test_a_wallet_that_does_not_exist_is_a_failure(ledger, alice):
    (outcome,) = ledger.commit(Void("gen-x", -1))
    assert isinstance(outcome, Failure)


# how it ends


def test_a_settlement_charges_and_gives_the_rest_back(ledger, alice):
    hold = place(alice, 400)
    ledger.commit(hold)
    end = settle(alice, hold.request_id, ledger.price(), 40)
    assert ledger.commit(end) == [Done(changed=True, available=950)]
    assert ledger.commit(end) == [Done(changed=False, available=950)]
    assert ledger.hold_state(hold.request_id) == "settled"
    assert ledger.commit(Void(hold.request_id, alice.wallet_id)) == [NotOpen("settled")]
    assert ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 5)) == [NotOpen("settled")]


def test_a_settlement_whose_hold_was_lost_brings_its_own(ledger, alice):
    end = settle(alice, "gen-lost", ledger.price(), 40, held=77)
    assert ledger.commit(end) == [Done(changed=True, available=950)]
    hold = Hold.objects.get(pk="gen-lost")
    assert (hold.state, hold.amount_nano, hold.process_id) == ("settled", 77, end.process_id)
    assert list(differences()) == []


def test_an_overrun_is_settled_in_full_and_what_is_missing_is_debt(ledger, alice):
    hold = place(alice, 1_000)
    ledger.commit(hold)
    assert ledger.commit(settle(alice, hold.request_id, ledger.price(), 1_000)) == [Done(True, 0, debt=250)]
    assert ledger.commit(place(alice, 1)) == [Refused(0, 1, debt=250)]
    assert ledger.commit(Movement("t", "topup", alice.wallet_id, 100)) == [Done(True, 0, debt=150)]
    assert ledger.commit(Movement("g", "grant", alice.wallet_id, 60)) == [Done(True, 60, debt=150)], "promo pays none"
    assert ledger.commit(Movement("u", "topup", alice.wallet_id, 200)) == [Done(True, 110)]
    assert list(differences()) == []


def test_a_settlement_after_the_expiry_charges_in_full(ledger, alice):
    hold = place(alice, 400, lifetime_s=0)
    ledger.commit(hold)
    assert ledger.commit(Expire(hold.request_id, alice.wallet_id, True, False)) == [Done(True, 1_000)]
    assert ledger.commit(settle(alice, hold.request_id, ledger.price(), 40)) == [Done(True, 950)]
    assert list(differences()) == []


def test_a_hold_that_is_not_due_does_not_expire(ledger, alice):
    hold = place(alice, 400)
    ledger.commit(hold)
    assert ledger.commit(Expire(hold.request_id, alice.wallet_id, True, False)) == [NotOpen("not due")]
    assert ledger.commit(Expire(hold.request_id, alice.wallet_id, False, False)) == [Done(True, 1_000)]
    assert ledger.commit(Expire(hold.request_id, alice.wallet_id, False, False)) == [NotOpen("expired")]
    assert ledger.commit(Expire("gen-unknown", alice.wallet_id, False, False)) == [NotOpen("missing")]


def test_an_extension_after_the_expiry_is_a_new_reservation(ledger, alice):
    hold = place(alice, 400, lifetime_s=0)
    extend = Extend(hold.request_id, alice.wallet_id, 1, 50)
    ledger.commit(hold, Expire(hold.request_id, alice.wallet_id, True, False))
    assert ledger.commit(extend) == [Granted(50, 950)]
    assert ledger.commit(extend) == [Granted(50, 950)], "once"
    row = Hold.objects.get()
    assert (row.amount_nano, row.state, row.generation) == (50, "open", 1)
    assert row.expires_at > timezone.now() + timedelta(minutes=1)
    assert ledger.commit(Expire(hold.request_id, alice.wallet_id, False, False)) == [Done(True, 1_000)], "again"
    assert list(differences()) == []


@pytest.mark.parametrize("amount", [0, -5])
def test_an_extension_by_nothing_is_refused(ledger, alice, amount):
    hold = place(alice, 400)
    ledger.commit(hold)
    assert ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, amount)) == [Refused(600, amount)]
    assert ledger.commit(Extend("gen-unknown", alice.wallet_id, 1, 5)) == [NotOpen("missing")]


def test_a_void_wins_once(ledger, alice):
    hold = place(alice, 400)
    ledger.commit(hold)
    void = Void(hold.request_id, alice.wallet_id)
    assert ledger.commit(void, void) == [Done(True, 1_000), NotOpen("voided")]
    assert ledger.commit(Void("gen-unknown", alice.wallet_id)) == [NotOpen("missing")]


def test_everything_about_one_call_may_come_in_one_batch(ledger, alice):
    hold = place(alice, 400)
    extend = Extend(hold.request_id, alice.wallet_id, 1, 50)
    end = settle(alice, hold.request_id, ledger.price(), 40)
    void = Void(hold.request_id, alice.wallet_id)
    assert ledger.commit(hold, extend, end, void, end) == [
        Granted(400, 600), Granted(50, 550), Done(True, 950), NotOpen("settled"), Done(False, 950)
    ]  # fmt: skip
    assert list(differences()) == []


# other movements


def test_the_lot_that_ends_first_is_spent_first_and_paid_credit_last(ledger):
    bob = ledger.open_wallet(paid=100)
    for reference, ends in (("never", None), ("late", "2031-01-01 00:00:00"), ("soon", "2030-01-01 00:00:00")):
        ledger.commit(Movement(reference, "grant", bob.wallet_id, 100, expires_at=ends))
    ledger.commit(settle(bob, "gen-1", ledger.price(), 200))  # 250 nano-USD
    assert dict(PromoLot.objects.values_list("reference", "remaining_nano")) == {"soon": 0, "late": 0, "never": 50}
    ledger.commit(settle(bob, "gen-2", ledger.price(), 80))
    assert ledger.wallet(bob.wallet_id) == {"available": 50, "held": 0, "paid": 50, "promo": 0, "debt": 0}


@pytest.mark.parametrize("kind", ["refund", "adjust"])
def test_what_is_held_or_given_away_cannot_be_taken_out(ledger, alice, kind):
    ledger.commit(Movement("gift", "grant", alice.wallet_id, 500), place(alice, 800))
    assert ledger.commit(Movement("r", kind, alice.wallet_id, 701)) == [Refused(700, 701)]
    assert ledger.commit(Movement("r", kind, alice.wallet_id, 700)) == [Done(True, 0)]
    assert ledger.commit(Movement("r", kind, alice.wallet_id, 700)) == [Done(False, 0)], "it happened before"


def test_two_refunds_in_one_batch_are_looked_at_one_after_the_other(ledger, alice):
    first, second = (Movement(name, "refund", alice.wallet_id, 600) for name in "ab")
    assert ledger.commit(first, second) == [Done(True, 400), Refused(400, 600)]


def test_breakage_takes_what_the_lot_has_and_no_hold_needs(ledger, alice):
    ledger.commit(Movement("gift", "grant", alice.wallet_id, 500))
    lot = PromoLot.objects.get()
    ledger.commit(Movement("other", "grant", alice.wallet_id, 0), Movement("t", "topup", alice.wallet_id, 0))
    hold = place(alice, 1_300)
    ledger.commit(hold)

    def breakage(reference: str, lot_id: int) -> Movement:
        return Movement(reference, "breakage", alice.wallet_id, 500, lot_id=lot_id)

    assert ledger.commit(breakage("b-1", lot.pk)) == [Done(True, 0)]
    assert ledger.commit(breakage("b-2", lot.pk)) == [Refused(0, 500)]
    ledger.commit(Void(hold.request_id, alice.wallet_id))
    assert ledger.commit(breakage("b-3", -1)) == [Refused(0, 500)]
    assert ledger.commit(breakage("b-3", lot.pk)) == [Done(True, 1_000)]
    lot.refresh_from_db()
    assert lot.remaining_nano == ledger.wallet(alice.wallet_id)["promo"] == 0
    assert list(differences()) == []


def test_an_action_moves_money_or_says_why_not(ledger, alice):
    assert do_move(Movement("t", "topup", alice.wallet_id, 5)) == Done(True, 1_005)
    with pytest.raises(MovementRefused, match="refund r"):
        do_move(Movement("r", "refund", alice.wallet_id, 5_000))
    with pytest.raises(MovementRefused, match="no wallet"):
        do_move(Movement("t", "topup", -1, 5))
    assert do_open_wallet(alice.wallet_id).paid_nano == 1_005, "opening again changes nothing"
