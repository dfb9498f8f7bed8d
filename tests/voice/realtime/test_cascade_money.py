"""What a cascade costs, beside what is checked behind every conversation: the wallet loses what the events say."""

import asyncio
from functools import partial
from typing import Any, cast

import pytest
from websockets.exceptions import InvalidStatus

from tests.fakes.client import call
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import organization_id
from tests.stand import Gateway
from tests.voice.realtime.cascading import Cascade, ask_in_text, sound_of
from tests.voice.realtime.talking import Talker, eventually_equal, in_thread

HEARD_NANO_PER_S = 125_000  # with the fee
SPOKEN_NANO_PER_S = 562_500  # of 15 characters


def test_an_empty_wallet_is_refused_and_one_that_runs_dry_ends_the_session(cascade: Cascade, gateway: Gateway) -> None:
    cascade.parts("It is sunny. " * 40)
    with pytest.raises(InvalidStatus) as refused:
        cascade.talk(gateway.tenant(credit="0.00"), asyncio.sleep)
    assert refused.value.response.status_code == 402

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        assert await talker.until_closed() == 4402

    talker = cascade.talk(gateway.tenant(credit="0.011"), converse)
    assert talker.of("error")[-1]["error"]["code"] == "insufficient_balance"


def test_a_key_that_may_do_one_thing_at_a_time_can_talk(cascade: Cascade, gateway: Gateway) -> None:
    from accounts.models import ApiKey

    cascade.parts()
    tenant = gateway.tenant(credit="1.00")
    ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits={"parallel": 1})

    async def converse(talker: Talker) -> None:
        for _ in range(2):
            await ask_in_text(talker)
            await talker.answer()

    talker = cascade.talk(tenant, converse)
    assert [event["response"]["status"] for event in talker.of("response.done")] == ["completed"] * 2


def test_money_for_the_next_turn_is_held_while_nothing_runs(cascade: Cascade, gateway: Gateway) -> None:
    cascade.parts()
    tenant = gateway.tenant(credit="1.00")

    async def converse(talker: Talker) -> None:
        first = await in_thread(partial(cascade.stand.held_nano, tenant))
        assert first > 30 * (HEARD_NANO_PER_S + SPOKEN_NANO_PER_S)
        await ask_in_text(talker)
        cost = await talker.answer()
        await eventually_equal(lambda: cascade.stand.held_nano(tenant) > first, True)
        assert cost["balance_nano_usd"] == 10**9 - cost["cost_nano_usd"]

    cascade.talk(tenant, converse)


def test_who_can_pay_for_hearing_alone_is_told_before_anything_is_heard(cascade: Cascade, gateway: Gateway) -> None:
    cascade.parts()
    with pytest.raises(InvalidStatus) as refused:
        cascade.talk(gateway.tenant(credit="0.005"), asyncio.sleep)
    assert refused.value.response.status_code == 402


def test_who_cannot_pay_for_another_turn_is_told_behind_the_last_one(cascade: Cascade, gateway: Gateway) -> None:
    model = cascade.parts("It is sunny, and it will stay as sunny as that for a while.", input_price="300")
    tenant = gateway.tenant(credit="0.60")

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()
        await ask_in_text(talker, "Tell me about the weather. " * 40)
        await talker.answer()
        assert await talker.until_closed() == 4402

    talker = cascade.talk(tenant, converse)
    assert talker.of("error")[-1]["error"]["code"] == "insufficient_balance"
    assert {event["response"]["status"] for event in talker.of("response.done")} == {"completed"}
    assert len(cascade.gateway.calls_of(model)) == 2


def test_a_voice_that_takes_its_time_ends_with_the_money_and_not_behind_it(cascade: Cascade, gateway: Gateway) -> None:
    cascade.parts("It is sunny.", speaks=SpeechReply(seconds=60), speech_price=("--second-price", "0.0005"))
    tenant = gateway.tenant(credit="0.03")  # for 48 seconds

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        assert await talker.until_closed() == 4402

    talker = cascade.talk(tenant, converse)
    assert talker.of("error")[-1]["error"]["code"] == "insufficient_balance"
    assert 20 < len(sound_of(talker)) / 48_000 < 48
    assert gateway.wallet(tenant.email)["debt"] == "0.00"


def test_what_a_minute_costs_is_told_by_the_model_that_would_answer(cascade: Cascade, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    cascade.parts()
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}

    def told() -> int:
        body = {"policy": "frugal", "tools": [tool]}
        answer = call(gateway.url, "/api/voice/realtime", tenant.key, body)
        return cast("int", answer.json["estimatedCostPerMinuteNanoUsd"])

    alone = told()
    gateway.add_model(input_price="0.01", output_price="0.01", capabilities="vision")  # that can use no tools
    gateway.add_model(input_price="300", output_price="900", capabilities="tools")
    gateway.wait_for_catalog()
    assert told() == alone


def test_the_hold_for_the_next_turn_is_renewed_before_it_expires(
    cascade: Cascade, gateway: Gateway, settings: Any
) -> None:
    from billing.calls import running_holds

    settings.HOLD_LIFETIME_S = 1
    cascade.parts()
    tenant = gateway.tenant(credit="1.00")

    def holds() -> list[str]:
        return [hold.pk for hold in running_holds(organization_id(tenant))]

    async def converse(talker: Talker) -> None:
        first = await in_thread(holds)
        assert len(first) == 1
        await eventually_equal(lambda: holds() not in (first, []), True)
        await ask_in_text(talker)
        await talker.answer()

    cascade.talk(tenant, converse)
