"""Redis is gone, hangs, forgets or refuses: nobody waits for it, and afterwards its counts are right again."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from komilion.common.redis import PREFIX
from routing.limits import limiter as module
from routing.limits.limiter import Limiter, Scope
from routing.limits.wire import Wire, open_wire
from tests.async_waiting import eventually
from tests.routing.limiting import (
    Clock,
    admit_all,
    in_loop,
    limiter,
    on_its_way_to_redis,
    scope,
    slots,
)
from tests.services.valkey import ValkeyServer, free_url


def cut_the_line(limits: Limiter) -> None:
    """What happens when the connection ends and the server lives on."""
    assert limits._wire is not None
    assert limits._wire.on_lost is not None
    limits._wire.on_lost()
    assert limits.degraded


def test_close_does_not_wait_for_a_server_that_hangs(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        async with limiter(valkey_server.url) as limits:
            valkey_server.signal(signal.SIGSTOP)
            waiting = asyncio.create_task(limits.admit((scope(),), 1))
            await on_its_way_to_redis(limits)
        assert (await waiting).degraded

    in_loop(scenario())


def test_close_gives_up_in_time(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 30)
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        async with limiter(valkey_server.url) as limits:
            valkey_server.signal(signal.SIGSTOP)
            waiting = asyncio.create_task(limits.admit((scope(),), 1))
            await on_its_way_to_redis(limits)
        assert (await asyncio.wait_for(waiting, 1)).degraded

    in_loop(scenario())


def test_redis_killed_and_started_again(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)

    async def scenario() -> None:
        caller, other = scope(requests_per_minute=8), scope()
        async with limiter(valkey_server.url, workers=4) as limits:
            before = await limits.admit((caller,), 1)
            valkey_server.kill()
            await eventually(lambda: limits.degraded)
            alone = await admit_all(limits, caller, times=3)
            assert [answer.allowed for answer in alone] == [True, True, False]  # 8 / 4 workers
            assert all(answer.degraded for answer in alone)
            kept = await limits.admit((other,), 10)
            limits.release((caller,), before, 1, 1)
            limits.release((caller,), alone[0], 1, 1)
            valkey_server.start()
            await eventually(lambda: not limits.degraded)
            with valkey_server.client as client:
                await eventually(lambda: slots(client, caller) == slots(client, other) == {"test": "1"})
                limits.release((caller,), alone[1], 1, 1)
                limits.release((other,), kept, 10, 5)
                limits.release((other,), kept, 10, 5)  # a mistake of the caller's cannot make it negative
                await eventually(lambda: not slots(client, caller) and not slots(client, other))
            assert not (await limits.admit((caller,), 1)).degraded

    in_loop(scenario())


def test_nobody_waits_long_for_a_server_that_hangs(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        caller, abandoned = scope(), scope()
        async with limiter(valkey_server.url) as limits:
            valkey_server.signal(signal.SIGSTOP)
            start_s = time.monotonic()
            leaver = asyncio.create_task(limits.admit((abandoned,), 1))
            first = asyncio.create_task(limits.admit((caller,), 1))
            await on_its_way_to_redis(limits)
            leaver.cancel()
            given_up = asyncio.create_task(limits.admit((caller,), 1))  # waits behind the first
            await asyncio.sleep(0)
            given_up.cancel()
            second = await limits.admit((caller,), 1)
            assert (await first).degraded
            assert second.degraded
            assert time.monotonic() - start_s < 0.5  # 0.1 s and what a busy machine adds
            start_s = time.monotonic()
            assert (await limits.admit((caller,), 1)).degraded
            assert time.monotonic() - start_s < 0.05
            limits.release((caller,), second, 1, 1)
            valkey_server.signal(signal.SIGCONT)
            await eventually(lambda: not limits.degraded)
            with valkey_server.client as client:
                # The server carried out the call that was given up; nobody counts what it took.
                await eventually(lambda: client.exists(f"{PREFIX}window:{abandoned.id}"))
                assert slots(client, abandoned) == {}
                await eventually(lambda: slots(client, caller) == {"test": "2"})

    in_loop(scenario())


def test_an_answer_that_was_there_in_time_counts_after_a_stall(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        async with limiter(valkey_server.url) as limits:
            waiting = asyncio.create_task(limits.admit((scope(),), 1))
            await on_its_way_to_redis(limits)
            limits._stop_clock()
            limits._suspect()  # the timer that uvloop runs first
            assert not (await waiting).degraded
            assert not limits.degraded

    in_loop(scenario())


def test_what_is_queued_when_the_connection_ends_is_decided_at_once(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        async with limiter(valkey_server.url) as limits:
            queued = asyncio.create_task(limits.admit((scope(),), 1))
            await asyncio.sleep(0)
            cut_the_line(limits)
            assert (await queued).degraded

    in_loop(scenario())


def test_a_server_that_answers_with_an_error_is_as_good_as_gone(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)
    opened: list[str] = []

    async def open_and_note(url: str, *rest: Any) -> Wire:
        opened.append(url)
        return await open_wire(url, *rest)

    monkeypatch.setattr(module, "open_wire", open_and_note)

    async def scenario() -> None:
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                client.config_set("maxmemory", 1)
                assert (await limits.admit((scope(),), 1)).degraded
                assert "OOM" in caplog.text
                await eventually(lambda: len(opened) > 3)  # it goes on trying
                assert caplog.text.count("Redis is gone") == 1
                client.config_set("maxmemory", 0)
                await eventually(lambda: not limits.degraded)

    in_loop(scenario())


@pytest.mark.parametrize("address", [free_url, lambda: "no address"], ids=["nobody there", "no address"])
def test_no_redis_at_the_start(address: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        caller = scope(parallel=4, burst_per_s=8, tokens_per_minute=40)
        async with limiter(address(), workers=4) as limits:
            assert limits.degraded
            assert "Redis is not there" in caplog.text
            first, second = await admit_all(limits, caller, times=2)
            assert (first.limit_tokens, first.remaining_tokens) == (10, 9)
            assert (second.refused_by, second.retry_after_s) == ("parallel", 1)
            limits.release((caller,), first, 1, 4)
            above_the_share = await limits.admit((caller,), 11)
            assert (above_the_share.refused_by, above_the_share.never) == ("tokens", False)
            assert (above_the_share.remaining_tokens, above_the_share.retry_after_s) == (6, 1)
            assert (await limits.admit((caller,), 41)).never

    in_loop(scenario())


def test_a_limiter_on_its_own_uses_the_clock_of_the_machine_and_forgets_idle_windows(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)
    now_s = [1_000.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])

    async def scenario() -> None:
        idle, busy = scope(), scope()
        valkey_server.kill()
        async with limiter(valkey_server.url) as limits:
            held: list[tuple[Scope, Any]] = [(idle, await limits.admit((idle,), 1))]
            now_s[0] += 61
            held.append((busy, await limits.admit((busy,), 1)))
            valkey_server.start()
            await eventually(lambda: not limits.degraded)
            assert set(limits._local._windows) == {busy.id}
            for of, answer in held:
                limits.release((of,), answer, 1, 2)  # a window that has been forgotten needs no correction

    in_loop(scenario())


def test_slots_taken_while_the_line_was_cut_are_registered_afterwards(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)

    async def scenario() -> None:
        caller = scope()
        async with limiter(valkey_server.url) as limits:
            cut_the_line(limits)
            assert (await limits.admit((caller,), 1)).degraded
            await eventually(lambda: not limits.degraded)
            with valkey_server.client as client:
                await eventually(lambda: slots(client, caller) == {"test": "1"})

    in_loop(scenario())


def test_tokens_are_not_corrected_across_an_outage(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_EVERY_S", 0.02)

    async def scenario() -> None:
        caller = scope(tokens_per_minute=100)
        async with limiter(valkey_server.url, clock_ms=Clock()) as limits:
            before, also_before = await admit_all(limits, caller, times=2, tokens=10)
            limits.release((caller,), before, 10, 40)
            cut_the_line(limits)  # before that release was sent
            during = await limits.admit((caller,), 10)
            limits.release((caller,), also_before, 10, 40)
            await eventually(lambda: not limits.degraded)
            limits.release((caller,), during, 10, 40)
            assert (await limits.admit((caller,), 0)).remaining_tokens == 80

    in_loop(scenario())


def test_a_correction_of_tokens_that_redis_forgot_gives_nothing_away(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope(tokens_per_minute=100)
        async with limiter(valkey_server.url) as limits:
            forgotten = await limits.admit((caller,), 90)
            with valkey_server.client as client:
                client.flushall()
            limits.release((caller,), forgotten, 90, 0)
            assert (await limits.admit((caller,), 10)).remaining_tokens == 90

    in_loop(scenario())
