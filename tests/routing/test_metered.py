"""Holds and charges of what is no chat: exact, once, and free again whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection
from django.db.models import F

from accounts.access import access_api_key
from billing.ledger.items import Failure
from komilion.common.errors import (
    InsufficientBalance,
    InternalError,
    KeyCapReached,
    LedgerUnavailable,
    TooManyParallel,
    Unauthenticated,
    Unavailable,
)
from komilion.common.ids import hash_api_key, new_request_id
from komilion.common.numbers import numbers
from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer
from routing.gateway.exchange import Exchange
from routing.gateway.metered import CallFacts, MeteredCall, admitted
from routing.gateway.services import Services
from tests.billing.committing import Database
from tests.routing.books import only_row, organization_id, set_caps, usage_rows
from tests.routing.inside_process import vouch, with_services
from tests.stand import Gateway, Tenant

SECOND = Usage(audio_ms=1_000)
MINUTE = Usage(audio_ms=60_000)
MINUTE_NANO = 7_500_000  # 60 s x $0.0001, and a quarter
FACTS = CallFacts(endpoint="audio.transcriptions", requested_model="ear", tags=("a",), end_user="u")


@pytest.fixture(scope="module")
def ears(gateway: Gateway) -> tuple[str, str]:
    """Two models that hear, at $0.0001 and $0.0002 a second."""
    cheap, dear = (gateway.add_voice("transcription", "--second-price", price) for price in ("0.0001", "0.0002"))
    return cheap, dear


def offer_of(services: Services, model: str) -> VoiceOffer:
    return services.catalog.voice[model].offers[0]


async def new_call(services: Services, tenant: Tenant) -> MeteredCall:
    renew = vouch(services, tenant)
    return MeteredCall(services, await renew(), new_request_id(), FACTS, renew)


def play[Result](tenant: Tenant, act: Callable[[Services, MeteredCall], Awaitable[Result]]) -> Result:
    """One call of the tenant."""

    async def run(services: Services) -> Result:
        async with await new_call(services, tenant) as call:
            return await act(services, call)

    return with_services(run)


def free_again(gateway: Gateway, tenant: Tenant, spent: str = "0") -> None:
    """Nothing is held, and so much was spent of a dollar."""
    wallet = gateway.wallet(tenant.email)
    assert Decimal(wallet["held"]) == 0
    assert Decimal(wallet["available"]) == 1 - Decimal(spent)
    gateway.manage("ledger", "verify")


@pytest.fixture
def tenant(gateway: Gateway) -> Tenant:
    return gateway.tenant(credit="1.00")


class TestCharges:
    def test_what_was_used_is_charged_and_the_rest_is_free(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            offer = offer_of(services, ears[0])
            await call.hold([offer], Usage(audio_ms=600_000))
            assert call.held == 10 * MINUTE_NANO
            call.note_first_content()
            call.note_first_content()
            settled = await call.settle(offer, MINUTE, detail={"voice": "alloy"})
            assert (settled.charge, settled.is_pending, settled.usage) == (MINUTE_NANO, False, {"audio_ms": 60_000})
            assert call.available == 10**9 - MINUTE_NANO

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")
        row = only_row(tenant)
        assert (row.endpoint, row.requested_model, row.model) == ("audio.transcriptions", "ear", ears[0])
        assert (row.outcome, row.usage_source, row.usage) == ("completed", "provider", {"audio_ms": 60_000})
        assert (row.cost_nano, row.fee_nano, row.charge_nano) == (6_000_000, 1_500_000, MINUTE_NANO)
        assert (row.detail, row.tags, row.end_user) == ({"voice": "alloy"}, ["a"], "u")
        assert 0 <= row.first_content_ms <= row.duration_ms

    def test_the_dearest_offer_is_held_for_and_the_one_that_answered_is_charged(self, gateway, tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            cheap, dear = (offer_of(services, ear) for ear in ears)
            await call.hold([cheap, dear], MINUTE)
            assert call.held == 2 * MINUTE_NANO
            await call.settle(cheap, MINUTE)

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")

    def test_a_second_settlement_changes_nothing(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            offer = offer_of(services, ears[0])
            await call.hold([offer], MINUTE)
            await call.settle(offer, MINUTE)
            await call.settle(offer, Usage(audio_ms=600_000))
            await call.void()

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")

    def test_usage_without_a_price_is_no_gift_to_be_asked_for_and_an_alarm(self, gateway, tenant, ears, caplog):
        async def act(services: Services, call: MeteredCall) -> None:
            offer = offer_of(services, ears[0])
            await call.hold([offer], MINUTE)
            await call.settle(offer, Usage(audio_ms=60_000, output_audio=9))

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")
        assert only_row(tenant).usage_source == "estimated"
        assert "usage without a price" in caplog.text


class TestHolds:
    def test_less_than_all_is_enough_to_start_and_more_is_asked_for_later(self, gateway: Gateway, ears):
        tenant = gateway.tenant(credit="0.01")

        async def act(services: Services, call: MeteredCall) -> None:
            offer = offer_of(services, ears[0])
            await call.hold([offer], MINUTE, least=SECOND)
            assert call.held == MINUTE_NANO
            assert await call.extend(2_000_000) == "granted"
            assert (call.held, call.available) == (MINUTE_NANO + 2_000_000, 500_000)
            assert await call.extend(1_000_000) == "granted"  # what there is
            assert call.available == 0
            assert await call.extend(1_000_000) == "insufficient_balance"
            await call.settle(offer, SECOND)

        play(tenant, act)
        assert Decimal(gateway.wallet(tenant.email)["available"]) == Decimal("0.009875")

    def test_402_where_it_cannot_start(self, gateway: Gateway, ears):
        tenant = gateway.tenant(credit="0.000001")

        async def act(services: Services, call: MeteredCall) -> None:
            with pytest.raises(InsufficientBalance, match=r"needs at least \$0.000125 and the wallet has \$0.000001"):
                await call.hold([offer_of(services, ears[0])], MINUTE, least=SECOND)

        play(tenant, act)
        assert usage_rows(tenant) == []

    def test_a_cap_of_the_key_bounds_it_and_its_extensions(self, gateway: Gateway, tenant: Tenant, ears):
        set_caps(tenant, day=MINUTE_NANO)

        async def act(services: Services, call: MeteredCall) -> None:
            offer = offer_of(services, ears[0])
            with pytest.raises(KeyCapReached):
                await call.hold([offer], Usage(audio_ms=120_000))
            call.request_id = new_request_id()
            await call.hold([offer], MINUTE)
            assert await call.extend(1) == "key_cap_reached"
            await call.settle(offer, MINUTE)

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")

    def test_a_hold_that_the_ledger_cannot_place_is_our_fault(self, tenant: Tenant, ears, monkeypatch):
        async def refuse(item: object) -> Failure:
            return Failure("scripted")

        async def act(services: Services, call: MeteredCall) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(services.committer, "submit", refuse)
                with pytest.raises(InternalError):
                    await call.hold([offer_of(services, ears[0])], MINUTE)

        play(tenant, act)

    def test_the_database_goes_away(self, gateway: Gateway, tenant: Tenant, ears, database: Database, settings):
        settings.SETTLEMENT_WAIT_S = 0.1

        async def run(services: Services) -> None:
            offer = offer_of(services, ears[0])
            async with await new_call(services, tenant) as call:
                await call.hold([offer], MINUTE)
                database.is_away = True
                assert await call.extend(1) == "unavailable"
                settled = await call.settle(offer, MINUTE)
                assert (settled.charge, settled.is_pending) == (MINUTE_NANO, True)
                async with await new_call(services, tenant) as another:
                    with pytest.raises(LedgerUnavailable):
                        await another.hold([offer], MINUTE)
            database.is_away = False

        with_services(run)
        only_row(tenant)
        free_again(gateway, tenant, "0.0075")


class TestEnds:
    def test_nothing_came(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            await call.hold([offer_of(services, ears[0])], MINUTE)
            raise RuntimeError("scripted")

        with pytest.raises(RuntimeError, match="scripted"):
            play(tenant, act)
        row = only_row(tenant)
        assert (row.outcome, row.usage_source, row.charge_nano) == ("provider_failed", "absent", 0)
        free_again(gateway, tenant)

    def test_the_server_stops(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            await call.hold([offer_of(services, ears[0])], MINUTE)
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            play(tenant, act)
        assert only_row(tenant).outcome == "server_stopped"
        free_again(gateway, tenant)

    def test_nothing_was_sent(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            await call.void()  # before there is a hold: nothing
            await call.hold([offer_of(services, ears[0])], MINUTE)
            await call.void()

        play(tenant, act)
        assert usage_rows(tenant) == []
        free_again(gateway, tenant)


class TestRights:
    def change(self, tenant: Tenant) -> None:
        """In a thread, whose connection nobody else would close."""
        from accounts.models import Organization

        try:
            Organization.objects.filter(pk=organization_id(tenant)).update(auth_epoch=F("auth_epoch") + 1)
        finally:
            connection.close()

    def test_a_caller_whose_rights_changed_is_looked_at_again(self, gateway: Gateway, tenant: Tenant, ears):
        async def act(services: Services, call: MeteredCall) -> None:
            before = call.caller.organization_epoch
            await asyncio.to_thread(self.change, tenant)
            offer = offer_of(services, ears[0])
            await call.hold([offer], MINUTE)
            assert call.caller.organization_epoch == before + 1
            await call.settle(offer, MINUTE)

        play(tenant, act)
        free_again(gateway, tenant, "0.0075")

    def test_one_whom_nobody_can_look_at_again_is_asked_to_come_back(self, tenant: Tenant, ears):
        async def run(services: Services) -> None:
            session = await services.authenticator.recognise(tenant.key)
            await asyncio.to_thread(self.change, tenant)
            async with MeteredCall(services, session, new_request_id(), FACTS) as call:
                with pytest.raises(Unavailable, match="is being changed"):
                    await call.hold([offer_of(services, ears[0])], MINUTE)

        with_services(run)

    def test_one_that_changes_all_the_time_too(self, tenant: Tenant, ears):
        async def run(services: Services) -> None:
            stale = await services.authenticator.recognise(tenant.key)
            await asyncio.to_thread(self.change, tenant)

            async def renew():
                return stale

            async with MeteredCall(services, stale, new_request_id(), FACTS, renew) as call:
                with pytest.raises(Unavailable, match="is being changed"):
                    await call.hold([offer_of(services, ears[0])], MINUTE)

        with_services(run)

    def test_who_was_recognised_before_is_recalled_by_the_hash_of_the_key(self, tenant: Tenant):
        async def run(services: Services) -> None:
            key_hash = hash_api_key(tenant.key, numbers.KEY_PEPPER)
            recall = services.authenticator.recall
            assert (await recall(key_hash, partial(access_api_key, key_hash))).caller.key_id is not None
            with pytest.raises(Unauthenticated):
                await recall(b"nobody", partial(access_api_key, b"nobody"))

        with_services(run)

    @pytest.mark.parametrize("with_exchange", [True, False])
    def test_a_parallel_slot_for_as_long_as_it_lasts(self, gateway: Gateway, tenant: Tenant, with_exchange: bool):
        from accounts.models import ApiKey

        ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits={"parallel": 1})

        async def run(services: Services) -> None:
            session = await services.authenticator.recognise(tenant.key)
            scope = {"method": "POST", "path": "/v1/audio/speech", "headers": []}
            exchange = Exchange(scope, None, None) if with_exchange else None
            async with admitted(session, services, exchange) as admission:
                assert admission.allowed
                with pytest.raises(TooManyParallel):
                    async with admitted(session, services, exchange):
                        pytest.fail("two of one")
                assert exchange is None or exchange.admission is not None
            async with admitted(session, services):
                pass

        with_services(run)
