"""What a cascade costs, beside what is checked behind every conversation: the wallet loses what the events say."""

import asyncio

import pytest

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
