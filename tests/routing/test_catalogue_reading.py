"""How a running gateway keeps up with the catalogue: early readings, lost news, restored copies."""

import asyncio
import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.db import OperationalError

from komilion.common import news
from routing.catalog.snapshot import EMPTY, Catalog
from tests.fakes.client import call
from tests.fakes.replies import Reply
from tests.routing.servers import second_server
from tests.stand import Gateway
from tests.waiting import wait_until


def only_a_catalogue(of: Catalog = EMPTY) -> Any:
    """Services that have nothing else."""
    from routing.gateway.services import Services

    learning = SimpleNamespace(brain=SimpleNamespace(prepare=lambda _: None))
    return Services(*[None] * 6, learning=learning, breakers=None, catalog=of)


def test_a_reading_of_the_catalogue_that_began_before_a_change_is_followed_by_another(monkeypatch: pytest.MonkeyPatch):
    from routing.gateway import services

    versions = iter([1, 2])
    is_reading = threading.Event()
    is_changed = threading.Event()

    def load() -> Catalog:
        version = next(versions)
        is_reading.set()
        assert is_changed.wait(10)
        return Catalog(version, {}, ())

    monkeypatch.setattr(services, "_load", load)

    async def newest() -> list[int]:
        running = only_a_catalogue()
        early = asyncio.create_task(running.reload_catalog())
        await asyncio.to_thread(is_reading.wait, 10)
        late = [asyncio.create_task(running.current_catalog(2)) for _ in range(3)]
        await asyncio.sleep(0)
        is_changed.set()
        await early
        return [catalog.version for catalog in await asyncio.gather(*late)]

    assert asyncio.run(newest()) == [2, 2, 2]
    assert next(versions, None) is None


def test_a_database_that_was_restored_from_a_copy_counts_though_its_catalogue_is_older(monkeypatch: pytest.MonkeyPatch):
    from routing.gateway import services

    monkeypatch.setattr(services, "_load", lambda: Catalog(3, {}, ()))
    monkeypatch.setattr(services, "_version", lambda: 3)

    async def fresh() -> Catalog:
        return await only_a_catalogue(Catalog(7, {}, ())).fresh_catalog()

    assert asyncio.run(fresh()).version == 3


def test_a_catalogue_that_the_clock_has_changed_is_read_again_at_once(monkeypatch: pytest.MonkeyPatch):
    from routing.gateway import services

    read = iter([Catalog(1, {}, (), expires_s=math.inf)])
    monkeypatch.setattr(services, "_load", lambda: next(read))
    running = only_a_catalogue(Catalog(1, {}, (), expires_s=1_000.5))

    def seen_at(moment_s: float) -> Catalog:
        with time_machine.travel(moment_s, tick=False):
            return asyncio.run(running.current_catalog(1))

    assert seen_at(1_000.4).expires_s == 1_000.5
    assert seen_at(1_000.6).expires_s == math.inf
    assert next(read, None) is None


def test_a_catalogue_that_cannot_be_read_again_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    from routing.gateway import services

    def failing() -> Catalog:
        raise OperationalError("scripted")

    monkeypatch.setattr(services, "_load", failing)
    old = Catalog(1, {}, (), expires_s=1.0)

    async def without_the_database() -> Catalog:
        return await only_a_catalogue(old).current_catalog(1)

    assert asyncio.run(without_the_database()) is old
    assert "catalogue not read" in caplog.text


class TestCatalogue:
    def test_a_reading_that_came_too_early_is_repeated(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        from routing.catalog.snapshot import EMPTY
        from routing.gateway import services

        load, tenant = services._load, gateway.tenant()
        with second_server() as server:
            running = server.gateway.services
            seen = []

            def load_too_early() -> object:
                """As if the reading that the first request finds under way had begun before the change."""
                if running.active:
                    seen.append(True)
                return EMPTY if len(seen) < 2 else load()

            monkeypatch.setattr(services, "_load", load_too_early)
            model = gateway.add_model(Reply())
            body = {"model": model, "messages": [{"role": "user", "content": "a"}]}
            assert call(server.url, "/v1/chat/completions", tenant.key, body).status == 200

    def test_a_poll_that_fails_is_repeated(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        from routing.gateway import services

        def failing() -> int:
            raise RuntimeError("scripted")

        monkeypatch.setattr(services, "CATALOG_POLL_S", 0.02)
        with second_server() as server:
            with monkeypatch.context() as patch:
                patch.setattr(services, "_version", failing)
                wait_until(lambda: "catalogue not read" in caplog.text, what="the poll to fail")
            assert call(server.url, "/v1/models").status == 200

    def test_a_change_whose_news_were_lost_is_found(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        from routing.gateway import services

        monkeypatch.setattr(services, "CATALOG_POLL_S", 0.02)
        monkeypatch.setattr(services.Services, "_hear", lambda *_: None)
        with second_server() as server:
            before = call(server.url, "/health").json["catalog_version"]
            gateway.add_model(Reply())
            wait_until(lambda: call(server.url, "/health").json["catalog_version"] > before, what="the poll")

    def test_news_of_another_kind_are_passed_over(self, gateway: Gateway):
        assert news.publish({"kind": "something else"})
        model = gateway.add_model(Reply())
        assert gateway.chat(gateway.tenant(), model).status == 200
