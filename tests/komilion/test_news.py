"""News over a real Valkey: heard, heard again after an outage, and never an exception for who tells them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from django.conf import settings

from komilion.common import news
from komilion.common.news import Listener, Message, publish
from komilion.common.redis import CATALOG_VERSION_KEY, NEWS_CHANNEL, connect, publish_catalog_version
from tests.async_waiting import eventually
from tests.services.valkey import ValkeyServer, free_url


class Ear:
    """Keeps what a listener was told, in order; "connected" stands for the beginning of hearing."""

    def __init__(self) -> None:
        self.heard: list[Message | str] = []

    async def hears(self, *expected: Message | str) -> None:
        await eventually(lambda: self.heard == [*expected])


@asynccontextmanager
async def listening(url: str | None, idle_s: float = 5) -> AsyncIterator[Ear]:
    ear = Ear()
    listener = Listener(ear.heard.append, lambda: ear.heard.append("connected"), url, idle_s=idle_s)
    await listener.close()  # nothing to close yet
    listener.start()
    try:
        yield ear
    finally:
        await listener.close()


def test_news_reach_a_listener_in_order(valkey_url: str) -> None:
    assert valkey_url == settings.REDIS_URL

    async def scenario() -> None:
        async with listening(None) as ear:
            await ear.hears("connected")
            assert publish({"kind": "key_changed", "hash": "ab" * 32})
            assert publish({"kind": "organization_changed", "id": 12})
            await ear.hears(
                "connected",
                {"kind": "key_changed", "hash": "ab" * 32},
                {"kind": "organization_changed", "id": 12},
            )

    asyncio.run(scenario())


@pytest.mark.parametrize("noise", [b"\xff", b"not JSON", b"[1]", b'{"id": 1}', b'{"kind": 1}'])
def test_what_is_no_news_is_passed_over(valkey_url: str, noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with listening(valkey_url) as ear, connect() as client:
            await ear.hears("connected")
            await client.publish(NEWS_CHANNEL, noise)
            publish({"kind": "catalog_changed"}, valkey_url)
            await ear.hears("connected", {"kind": "catalog_changed"})
        assert "not news" in caplog.text

    asyncio.run(scenario())


def test_a_callback_that_fails_does_not_end_the_listening(valkey_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        heard: list[Message] = []

        def fail_once(message: Message) -> None:
            heard.append(message)
            if len(heard) == 1:
                raise RuntimeError("not my day")

        begun = asyncio.Event()
        listener = Listener(fail_once, begun.set, valkey_url)
        listener.start()
        await begun.wait()
        for _ in range(2):
            publish({"kind": "catalog_changed"}, valkey_url)
        await eventually(lambda: len(heard) == 2)
        await listener.close()
        assert "not my day" in caplog.text

    asyncio.run(scenario())


def test_a_listener_is_told_that_it_hears_again_after_an_outage(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        async with listening(valkey_server.url) as ear:
            await ear.hears("connected")
            valkey_server.kill()
            valkey_server.start()
            await ear.hears("connected", "connected")
            publish({"kind": "catalog_changed"}, valkey_server.url)
            await ear.hears("connected", "connected", {"kind": "catalog_changed"})

    asyncio.run(scenario())


def test_a_listener_that_hears_nothing_asks_and_stays(valkey_server: ValkeyServer) -> None:
    def pings(client: redis.Redis) -> int:
        statistics: Any = client.info("commandstats")
        return int(statistics.get("cmdstat_ping", {"calls": 0})["calls"])

    async def scenario() -> None:
        with valkey_server.client as client:
            async with listening(valkey_server.url, idle_s=0.25) as ear:
                await ear.hears("connected")
                before = pings(client)
                await eventually(lambda: pings(client) > before + 2)
                publish({"kind": "catalog_changed"}, valkey_server.url)
                await ear.hears("connected", {"kind": "catalog_changed"})

    asyncio.run(scenario())


def test_a_server_that_hangs_is_left_and_found_again(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(news, "BACK_OFF_MOST_S", 0.1)

    async def scenario() -> None:
        async with listening(valkey_server.url, idle_s=0.05) as ear:
            await ear.hears("connected")
            valkey_server.signal(signal.SIGSTOP)
            await eventually(lambda: "no news" in caplog.text)
            valkey_server.signal(signal.SIGCONT)
            await eventually(lambda: ear.heard.count("connected") > 1)

    asyncio.run(scenario())


def test_who_tells_news_to_nobody_is_told_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    url = free_url()
    assert publish({"kind": "catalog_changed"}, url) is False
    assert publish_catalog_version(3, url) is False
    assert "catalog_changed not sent" in caplog.text
    assert "version 3 not announced" in caplog.text
    assert url.split(":")[2].split("@")[0] not in caplog.text  # the password


def test_the_catalogue_version_never_goes_back(valkey_server: ValkeyServer) -> None:
    for version in (2, 7, 6):
        assert publish_catalog_version(version, valkey_server.url)
    with redis.Redis.from_url(valkey_server.url) as client:
        assert client.get(CATALOG_VERSION_KEY) == b"7"
