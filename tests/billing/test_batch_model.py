"""The ledger against its reference: random batches on several wallets, with crashes before and around the commit."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import override

import hypothesis.strategies as st
import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from accounts.models import ApiKey, Organization
from billing.actions.caps import do_set_caps
from billing.errors import StoreUnavailable
from billing.ledger.batch import Batch
from billing.ledger.items import CapEntry, Expire, Extend, Item, Movement, Void
from billing.ledger.reap import reap
from billing.ledger.store import Statement, Store, run_blocking
from billing.ledger.verify import differences
from billing.models import (
    Cap,
    CapUse,
    GatewayProcess,
    Hold,
    LedgerEntry,
    Payment,
    PaymentEvent,
    Posting,
    PromoLot,
    UsageRow,
    Wallet,
)
from tests.billing.ledger_database import (
    ALIVE,
    LedgerDatabase,
    Tenant,
    is_deferred,
    new_name,
    payment_row,
    place,
    settle,
)
from tests.billing.reference import Cap as ReferenceCap
from tests.billing.reference import Reference

WALLETS = 3
DEAD = "p-dead"
ENDS = [None, "2030-01-01 00:00:00.000000", "2030-02-01 00:00:00.000000"]
amounts = st.integers(0, 60) | st.integers(0, 2_000)


class Unsteady:
    """A store that can lose its connection just before a commit, or just after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sql, self.begin, self.run, self.rollback = store.sql, store.begin, store.run, store.rollback
        self.close, self.attach, self.lock_and_read = store.close, store.attach, store.lock_and_read
        self.breaks: str | None = None

    is_blocking = True

    async def commit_with(self, statements: Sequence[Statement]) -> None:
        if self.breaks == "before the commit":
            await self.run(statements)
            raise StoreUnavailable
        await self._store.commit_with(statements)
        if self.breaks == "after the commit":
            raise StoreUnavailable


class LedgerMachine(RuleBasedStateMachine):
    """Draws items for wallets and requests that exist or not, in any order, several to a batch."""

    def __init__(self, ledger: LedgerDatabase) -> None:
        super().__init__()
        self.ledger = ledger
        ledger.clean()
        self.store = Unsteady(ledger.open_store())
        self.price = ledger.price(output_price=1_500_000)
        self.model = Reference()
        self.tenants: list[Tenant] = [ledger.open_wallet() for _ in range(WALLETS)]
        for tenant in self.tenants:
            self.model.open_wallet(tenant.wallet_id)
        self.requests: dict[str, Tenant] = {}
        self.movements: list[Movement] = []

    @override
    def teardown(self) -> None:
        self.ledger.clean()

    # drawing

    def _draw_item(self, data: st.DataObject) -> Item:
        tenant = data.draw(st.sampled_from(self.tenants))
        if not self.requests or data.draw(st.integers(0, 9)) < 6:
            return data.draw(st.sampled_from([self._draw_place, self._draw_movement]))(data, tenant)
        request_id = data.draw(st.sampled_from(list(self.requests)))  # in order of arrival: the names are random
        tenant = self.requests[request_id]
        kind = data.draw(st.sampled_from(["extend", "settle", "void", "expire"]))
        if kind == "extend":
            ordinal, caps = data.draw(st.integers(1, 4)), self._caps_of(request_id, tenant)
            return Extend(request_id, tenant.wallet_id, ordinal, data.draw(amounts), caps)
        if kind == "settle":
            end = settle(tenant, request_id, self.price, data.draw(amounts), held=data.draw(amounts))
            return replace(end, caps=self._caps_of(request_id, tenant), attempt_loss=data.draw(amounts))
        if kind == "void":
            return Void(request_id, tenant.wallet_id)
        gone = self.model.holds[request_id].process_id == DEAD if request_id in self.model.holds else False
        return Expire(request_id, tenant.wallet_id, only_if_due=data.draw(st.booleans()), process_gone=gone)

    def _caps_of(self, request_id: str, tenant: Tenant) -> list[CapEntry]:
        """As the gateway was told when the hold was granted; for a hold that the database lost, the caps of now."""
        if request_id in self.model.holds:
            return self.model.holds[request_id].caps
        caps = self.model.caps.items()
        return [(i, self.model.start(cap.period), 5) for i, cap in caps if cap.wallet_id == tenant.wallet_id]

    def _draw_place(self, data: st.DataObject, tenant: Tenant) -> Item:
        key_epoch, organization_epoch = self.model.epochs[tenant.wallet_id]
        item = place(
            tenant,
            ceiling=data.draw(amounts),
            minimum=data.draw(amounts),
            is_byte_bound=data.draw(st.booleans()),
            key_epoch=key_epoch - data.draw(st.sampled_from([0, 0, 0, 1])),
            organization_epoch=organization_epoch,
            process_id=data.draw(st.sampled_from([ALIVE, DEAD])),
            capped_keys=tuple({cap.key_id for cap in self.model.caps.values() if cap.key_id == tenant.key_id}),
            lifetime_s=data.draw(st.sampled_from([0, 600])),
        )
        self.requests[item.request_id] = tenant
        return item

    def _draw_movement(self, data: st.DataObject, tenant: Tenant) -> Item:
        if self.movements and data.draw(st.integers(0, 4)) == 0:
            return data.draw(st.sampled_from(self.movements))  # the same reference again
        kinds = ["topup", "topup", "topup", "grant", "grant", "recredit", "refund", "adjust", "breakage"]
        kinds += ["chargeback", "chargeback_reversed"]
        kind = data.draw(st.sampled_from(kinds))
        item = Movement(
            new_name(kind),
            kind,  # type: ignore[arg-type]
            tenant.wallet_id,
            data.draw(amounts),
            expires_at=data.draw(st.sampled_from(ENDS)) if kind == "grant" else None,
            lot_id=data.draw(st.sampled_from([*self.model.lot_names, 0])) if kind == "breakage" else None,
        )
        if kind in {"topup", "chargeback", "chargeback_reversed"} and data.draw(st.booleans()):
            event = data.draw(st.sampled_from([*sorted(self.model.events), new_name("evt")]))
            payment = payment_row(tenant, data.draw(st.integers(1, 3))) if kind == "topup" else None
            item = replace(item, event_id=event, event_type="test", payment=payment)
        self.movements.append(item)
        return item

    # running

    @rule(data=st.data(), size=st.integers(1, 8), breaks=st.sampled_from([None, None, None, "before", "after"]))
    def batch(self, data: st.DataObject, size: int, breaks: str | None) -> None:
        items = [self._draw_item(data) for _ in range(size)]
        if breaks is not None:
            self.store.breaks = f"{breaks} the commit"
            with pytest.raises(StoreUnavailable):
                run_blocking(Batch(self.store, items).run())
            self.store.breaks = None
            if breaks == "after":  # it did happen, but nobody was told
                for item in self._live(items):
                    self.model.apply(item)
                self._learn_lots()
        self._run(items, is_retry=breaks is not None)

    def _live(self, items: Sequence[Item]) -> list[Item]:
        """What one batch takes of these items: asked of a second, unbroken run that is rolled back."""
        self.store.breaks = "before the commit"
        trial = Batch(self.store, items, is_retry=True)
        with pytest.raises(StoreUnavailable):
            run_blocking(trial.run())
        self.store.breaks = None
        return [item for item, outcome in zip(items, trial.outcomes, strict=True) if not is_deferred(outcome)]

    def _run(self, items: Sequence[Item], *, is_retry: bool) -> None:
        """As the committer does it: what was deferred goes first in the next batch."""
        for _ in range(len(items)):
            outcomes = run_blocking(Batch(self.store, items, is_retry=is_retry).run())
            pairs = list(zip(items, outcomes, strict=True))
            assert not is_deferred(outcomes[0]), "the first item of a batch never waits for another one"
            for item, outcome in pairs:
                if not is_deferred(outcome):
                    assert outcome == self.model.apply(item), item
            self._learn_lots()
            items = [item for item, outcome in pairs if is_deferred(outcome)]
            if not items:
                return
        raise AssertionError(f"still deferred: {items}")

    def _learn_lots(self) -> None:
        self.model.lot_names = dict(PromoLot.objects.order_by("pk").values_list("id", "reference"))

    @rule(index=st.integers(0, WALLETS - 1), of_key=st.booleans())
    def raise_epoch(self, index: int, of_key: bool) -> None:
        tenant = self.tenants[index]
        key_epoch, organization_epoch = self.model.epochs[tenant.wallet_id]
        if of_key:
            ApiKey.objects.filter(pk=tenant.key_id).update(auth_epoch=F("auth_epoch") + 1)
        else:
            Organization.objects.filter(pk=tenant.wallet_id).update(auth_epoch=F("auth_epoch") + 1)
        self.model.epochs[tenant.wallet_id] = (key_epoch + of_key, organization_epoch + (not of_key))

    @rule(
        index=st.integers(0, WALLETS - 1),
        period=st.sampled_from(Cap.Period.values),
        limit=st.none() | st.integers(0, 300) | amounts,
    )
    def set_cap(self, index: int, period: str, limit: int | None) -> None:
        tenant, caps = self.tenants[index], self.model.caps
        do_set_caps(tenant.wallet_id, tenant.key_id, {period: limit})
        key_epoch, organization_epoch = self.model.epochs[tenant.wallet_id]
        self.model.epochs[tenant.wallet_id] = (key_epoch + 1, organization_epoch)
        known = next((i for i, cap in caps.items() if (cap.key_id, cap.period) == (tenant.key_id, period)), None)
        if known is not None and limit is not None:
            caps[known].limit = limit
        elif known is not None:
            del caps[known]
        elif limit is not None:
            pk = Cap.objects.get(subject_id=tenant.key_id, period=period).pk
            caps[pk] = ReferenceCap(tenant.wallet_id, tenant.key_id, period, limit)

    @precondition(lambda self: self.model.caps)
    @rule()
    def let_a_day_pass(self) -> None:
        """Without a clock: everything that counts in a period of days or months is put a day back."""
        for use in CapUse.objects.exclude(cap__period="total").order_by("starts_on"):
            CapUse.objects.filter(pk=use.pk).update(starts_on=use.starts_on - timedelta(days=1))
        for hold in Hold.objects.exclude(caps=[]):
            Hold.objects.filter(pk=hold.pk).update(caps=[a_day_before(entry) for entry in hold.caps])
        for known in self.model.holds.values():
            known.caps = [a_day_before(entry) for entry in known.caps]
        for cap in self.model.caps.values():
            cap.spent = {a_day_before((0, start, 0))[1]: spent for start, spent in cap.spent.items()}

    @precondition(lambda self: any(hold.state == "open" for hold in self.model.holds.values()))
    @rule()
    def reap(self) -> None:
        GatewayProcess.objects.update_or_create(
            pk=ALIVE, defaults={"boot_id": "elsewhere", "pid": 1, "pid_started": "", "heartbeat_at": Now()}
        )
        expired = 0
        for request_id, hold in self.model.holds.items():
            if hold.state == "open" and (hold.is_due or hold.process_id == DEAD):
                self.model.apply(Expire(request_id, hold.wallet_id, only_if_due=True, process_gone=True))
                expired += 1
        assert reap().expired == expired

    # what must hold after every step

    @invariant()
    def wallets_are_as_the_reference_says(self) -> None:
        for wallet in Wallet.objects.all():
            available, model = self.model.available(wallet.pk), self.model
            assert (wallet.paid_nano, wallet.promo_nano) == (model.paid[wallet.pk], model.promo(wallet.pk))
            assert (wallet.held_nano, wallet.debt_nano) == (model.held(wallet.pk), model.debt[wallet.pk])
            assert wallet.available_nano == available >= 0
            assert wallet.debt_nano <= model.overrun[wallet.pk] + model.taken_back[wallet.pk], "debt has a cause"
            assert wallet.debt_nano == 0 or min(wallet.paid_nano, available) == 0, "debt is paid as soon as it can be"

    @invariant()
    def holds_and_lots_are_as_the_reference_says(self) -> None:
        stored = {hold.pk: (hold.state, hold.amount_nano) for hold in Hold.objects.all()}
        assert stored == {name: (hold.state, hold.amount) for name, hold in self.model.holds.items()}
        lots = {lot.reference: lot.left for lots in self.model.lots.values() for lot in lots}
        assert dict(PromoLot.objects.values_list("reference", "remaining_nano")) == lots

    @invariant()
    def caps_are_as_the_reference_says(self) -> None:
        stored = {
            (use.cap_id, use.starts_on.isoformat()): (use.reserved_nano, use.spent_nano) for use in CapUse.objects.all()
        }
        entries = {entry[:2] for hold in self.model.holds.values() for entry in hold.caps}
        pairs = entries | {(i, start) for i, cap in self.model.caps.items() for start in cap.spent}
        assert stored == {
            (i, start): (self.model.reserved_of(i, start), self.model.caps[i].spent.get(start, 0))
            for i, start in pairs
            if i in self.model.caps
        }
        for hold in Hold.objects.all():
            assert [tuple(entry) for entry in hold.caps] == self.model.holds[hold.pk].caps

    @invariant()
    def events_and_payments_are_recorded_once(self) -> None:
        assert set(PaymentEvent.objects.values_list("pk", flat=True)) == self.model.events
        assert set(Payment.objects.values_list("pk", flat=True)) == self.model.payments

    @invariant()
    def every_call_is_charged_once(self) -> None:
        assert dict(UsageRow.objects.values_list("request_id", "charge_nano")) == self.model.charged
        entries = LedgerEntry.objects.filter(kind="settle").values_list("reference", "amount_nano")
        assert sorted(entries) == sorted(self.model.charged.items())

    @invariant()
    def crashes_are_booked_to_the_house(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COALESCE(SUM(CASE WHEN source = 'crash_loss' THEN amount_nano"
                " WHEN target = 'crash_loss' THEN -amount_nano END), 0) FROM billing_posting"
            )
            assert cursor.fetchone()[0] == self.model.lost_in_crashes()

    @invariant()
    def failed_attempts_are_booked_to_the_house(self) -> None:
        assert dict(UsageRow.objects.values_list("request_id", "attempt_loss_nano")) == self.model.lost
        booked = Posting.objects.filter(source="attempt_loss", target="provider_cost")
        assert sum(booked.values_list("amount_nano", flat=True)) == sum(self.model.lost.values())

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        assert list(differences()) == []


def a_day_before(entry: CapEntry) -> CapEntry:
    """The entry as it would have been stored yesterday; a total has one period only."""
    cap_id, start, amount = entry
    if start == "1970-01-01":
        return (cap_id, start, amount)
    return (cap_id, (date.fromisoformat(start) - timedelta(days=1)).isoformat(), amount)


def test_random_batches_do_what_the_reference_does(ledger: LedgerDatabase):
    quick = hypothesis_settings(max_examples=12, stateful_step_count=15, deadline=None, derandomize=True)
    run_state_machine_as_test(lambda: LedgerMachine(ledger), settings=quick)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_random_batches_do_what_the_reference_does(ledger: LedgerDatabase):
    thorough = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(lambda: LedgerMachine(ledger), settings=thorough)
