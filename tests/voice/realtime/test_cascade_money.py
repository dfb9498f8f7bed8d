"""What a cascade costs, beside what is checked behind every conversation: the wallet loses what the events say."""

import asyncio

import pytest

from tests.routing.books import organization_id
from tests.stand import Gateway
from tests.voice.realtime.cascading import Cascade, ask_in_text
from tests.voice.realtime.talking import Talker


def test_an_empty_wallet_is_refused_and_one_that_runs_dry_ends_the_session(cascade: Cascade, gateway: Gateway) -> None:
    from websockets.exceptions import InvalidStatus

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
