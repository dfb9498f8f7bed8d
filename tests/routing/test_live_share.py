"""Live figures of several processes: each notes its own calls, all of them know what came."""

from collections.abc import Iterator

import pytest
import redis

from komilion.common.clock import unix_s
from routing.gateway.choice import live_share as module
from routing.gateway.choice.live_share import FIGURES_KEY, MEMBERS_KEY, LiveShare, merged
from routing.selection.live import CALLS_FOR_P50, Live
from tests.async_waiting import eventually
from tests.routing.limiting import in_loop
from tests.services.valkey import free_url

OFFER = ("up", "acme/one")
CALLS = int(CALLS_FOR_P50) + 1


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE_EVERY_S", 0.01)


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url) as found:
        found.delete(MEMBERS_KEY, *(found.keys(FIGURES_KEY + "*") or ["none"]))
        yield found


class Process:
    """One process' share, and what it was told last."""

    def __init__(self, url: str, name: str) -> None:
        self.whole = Live()
        self.share = LiveShare(url, name, self._take)

    def _take(self, live: Live) -> None:
        self.whole = live

    def answer(self, seconds: float) -> None:
        for _ in range(CALLS):
            self.share.own.answered(OFFER, seconds, None, unix_s())

    @property
    def median_s(self) -> float | None:
        return self.whole.first_content_s(*OFFER, 0.5, unix_s())


def test_what_one_process_sees_all_know(client: redis.Redis, valkey_url: str):
    async def go() -> None:
        one, two = Process(valkey_url, "one"), Process(valkey_url, "two")
        one.answer(0.5)
        one.share.start()
        two.share.start()
        await eventually(lambda: two.median_s is not None and one.median_s is not None)
        assert two.median_s == one.median_s == pytest.approx(0.5, rel=0.1)
        await one.share.close()
        await two.share.close()
        await two.share.close()

    in_loop(go())


def test_a_process_that_is_long_gone_is_forgotten(client: redis.Redis, valkey_url: str):
    async def go() -> None:
        client.sadd(MEMBERS_KEY, "long gone")
        one = Process(valkey_url, "one")
        one.share.start()
        await eventually(lambda: client.smembers(MEMBERS_KEY) == {b"one"})
        await one.share.close()

    in_loop(go())


def test_without_redis_a_process_goes_by_its_own_calls():
    async def go() -> None:
        one = Process(free_url(), "one")
        one.answer(2.0)
        one.share.start()
        await eventually(lambda: one.median_s is not None)
        assert one.median_s == pytest.approx(2.0, rel=0.1)
        await one.share.close()

    in_loop(go())


def test_figures_that_cannot_be_read_are_passed_over():
    good = Live()
    for _ in range(CALLS):
        good.answered(OFFER, 1.0, 50.0, 100.0)
    found = merged([b"\xc1 of another version", good.dumps()])
    assert found.tokens_per_s(*OFFER, 0.5, 100.0) == pytest.approx(50.0, rel=0.1)
