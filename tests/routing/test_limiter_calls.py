"""How the limiter talks to Redis: few calls, and nothing lost by a caller that is cancelled."""

import asyncio
from typing import Any

import pytest
import redis

from routing.limits import limiter as module
from routing.limits.limiter import Limiter
from tests.async_waiting import eventually
from tests.routing.limiting import admit_all, in_loop, limiter, on_its_way_to_redis, scope, slots
from tests.services.valkey import ValkeyServer


def calls(client: redis.Redis) -> int:
    """Script calls that the server has seen."""
    statistics: Any = client.info("commandstats")
    return sum(statistics.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def test_what_arrives_in_one_tick_is_one_call(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope()
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                before = calls(client)
                answers = await admit_all(limits, caller, times=100)
                assert all(answer.allowed for answer in answers)
                assert calls(client) - before == 1
                for answer in answers[:99]:
                    limits.release((caller,), answer, 1, 2)
                await eventually(lambda: slots(client, caller) == {"test": "1"})
                assert calls(client) - before == 2
                assert (await limits.admit((caller,), 1)).remaining_tokens == 10**6 - 100 - 99 - 1

    in_loop(scenario())


def test_what_arrives_during_a_call_goes_into_the_next(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope()
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                before = calls(client)
                early = [asyncio.create_task(limits.admit((caller,), 1)) for _ in range(10)]
                await on_its_way_to_redis(limits)
                late = await admit_all(limits, caller, times=10)
                assert all(answer.allowed for answer in [*late, *await asyncio.gather(*early)])
                assert calls(client) - before == 2

    in_loop(scenario())


def test_a_batch_has_a_limit_and_order_is_kept(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope(requests_per_minute=200)
        others = [scope() for _ in range(2 * module.BATCH_SCOPES + 1)]
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                before = calls(client)
                answers = await admit_all(limits, caller, times=300)
                assert [answer.allowed for answer in answers] == [True] * 200 + [False] * 100
                assert calls(client) - before == 3  # 128 + 128 + 44
                held = [(other, await limits.admit((other,), 1)) for other in others]
                before = calls(client)
                for other, answer in held:
                    limits.release((other,), answer, 1, 1)
                await eventually(lambda: not slots(client, others[-1]))
                assert calls(client) - before == 3

    in_loop(scenario())


def test_a_server_that_lost_the_script_is_given_it_again(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.02)

    async def scenario() -> None:
        caller = scope()
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                client.script_flush()
                assert (await limits.admit((caller,), 1)).degraded is False
                client.flushall()
                assert (await limits.admit((caller,), 1)).degraded is False
                await eventually(lambda: slots(client, caller) == {"test": "2"})

    in_loop(scenario())


def test_a_caller_that_is_cancelled_holds_no_slot(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope(tokens_per_minute=100)
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                before = calls(client)
                queued = asyncio.create_task(limits.admit((caller,), 1))
                await asyncio.sleep(0)
                queued.cancel()
                await eventually(lambda: limits._timer is None)
                assert calls(client) == before  # there was nothing left to ask

                on_its_way = asyncio.create_task(limits.admit((caller,), 60))
                await on_its_way_to_redis(limits)
                on_its_way.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await on_its_way
                await eventually(lambda: calls(client) == before + 2)
                assert slots(client, caller) == {}
                left = await limits.admit((caller,), 0)  # the first request counts, its tokens do not
                assert (left.remaining_requests, left.remaining_tokens) == (10**6 - 2, 100)
                limits.release((caller,), left, 0, 0)
                await eventually(lambda: not slots(client, caller) and limits._in_flight is None)

                refused = asyncio.create_task(limits.admit((caller,), 101))
                await on_its_way_to_redis(limits)
                refused.cancel()
                await eventually(lambda: limits._in_flight is None)
                assert slots(client, caller) == {}

    in_loop(scenario())


def test_a_caller_that_is_cancelled_just_after_the_decision_holds_no_slot(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = Limiter._settle_waiter

    async def scenario() -> None:
        caller = scope()
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                task = asyncio.create_task(limits.admit((caller,), 1))

                def decide_and_cancel(*arguments: Any) -> None:
                    decide(*arguments)
                    task.cancel()

                monkeypatch.setattr(Limiter, "_settle_waiter", decide_and_cancel)
                with pytest.raises(asyncio.CancelledError):
                    await task
                await eventually(lambda: slots(client, caller) == {} and limits._in_flight is None)
                assert limits._held == {}

    in_loop(scenario())


def test_close_sends_what_was_released(valkey_server: ValkeyServer) -> None:
    async def scenario() -> None:
        caller = scope()
        with valkey_server.client as client:
            async with limiter(valkey_server.url) as limits:
                first, _ = await admit_all(limits, caller, times=2)
                limits.release((caller,), first, 1, 1)
            assert slots(client, caller) == {"test": "1"}
            assert limits.degraded
            assert (await limits.admit((caller,), 1)).degraded
            await limits.close()

    in_loop(scenario())
