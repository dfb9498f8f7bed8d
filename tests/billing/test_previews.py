"""A preview says what the ledger then answers, and changes nothing."""

import pytest
from msgspec.structs import replace

from accounts.models import ApiKey
from billing.actions.caps import do_set_caps
from billing.ledger.items import Granted, NeedsCount, Place, Refused
from billing.ledger.verify import differences
from billing.models import Hold
from billing.previews import preview_hold
from komilion.common.errors import NotFound
from tests.billing.ledger_database import LedgerDatabase, Tenant, place


def by_key(tenant: Tenant, ceiling: int, minimum: int, **changes: object) -> Place:
    epoch = ApiKey.objects.get(pk=tenant.key_id).auth_epoch
    return place(tenant, ceiling, minimum, **{"key_epoch": epoch, "capped_keys": (tenant.key_id,), **changes})


def assert_told_the_truth(ledger: LedgerDatabase, item: Place) -> object:
    told = preview_hold(item)
    assert not Hold.objects.filter(pk=item.request_id).exists()
    (answered,) = ledger.commit(item)
    assert told == answered
    assert list(differences()) == []
    return told


@pytest.mark.parametrize(
    ("ceiling", "minimum", "is_byte_bound", "kind"),
    [
        (50, 10, False, Granted),
        (5_000, 10, False, Granted),
        (5_000, 2_000, False, Refused),
        (50, 10, True, Granted),
        (500, 10, True, NeedsCount),
    ],
)
def test_of_a_wallet(ledger: LedgerDatabase, ceiling: int, minimum: int, is_byte_bound: bool, kind: type):
    alice = ledger.open_wallet(paid=1_000)
    item = place(alice, ceiling, minimum, is_byte_bound=is_byte_bound)
    assert isinstance(assert_told_the_truth(ledger, item), kind)


def test_of_a_caller_without_a_key(ledger: LedgerDatabase):
    alice = ledger.open_wallet(paid=1_000)
    assert isinstance(preview_hold(replace(place(alice, 50, 10), key_id=None)), Granted)


def test_of_caps_in_use(ledger: LedgerDatabase):
    alice = ledger.open_wallet(paid=1_000)
    do_set_caps(alice.wallet_id, alice.key_id, {"day": 300, "total": 800})
    assert isinstance(assert_told_the_truth(ledger, by_key(alice, 200, 100)), Granted)
    assert isinstance(assert_told_the_truth(ledger, by_key(alice, 200, 100)), Granted)
    refused = assert_told_the_truth(ledger, by_key(alice, 200, 150))
    assert isinstance(refused, Refused)
    assert refused.cap is not None
    assert refused.cap.period == "day"


def test_of_no_wallet(ledger: LedgerDatabase):
    alice = ledger.open_wallet(paid=1)
    with pytest.raises(NotFound):
        preview_hold(replace(place(alice, 50, 10), wallet_id=alice.wallet_id + 1))
