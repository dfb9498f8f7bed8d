"""The rules: windows, bursts, slots and tokens, counted by a real Valkey."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.redis import PREFIX
from routing.limits.limiter import Limiter, Scope
from routing.limits.tiers import MOST, TIERS, Limits, limits_for
from tests.async_waiting import eventually
from tests.routing.limiting import Clock, admit_all, in_loop, limiter, scope, slots
from tests.services.valkey import free_url

PAGE = 1_000


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url, decode_responses=True) as connected:
        yield connected


def test_the_tiers_are_the_published_ones() -> None:
    assert set(TIERS) == {"free", "standard", "high"}
    assert TIERS["free"] == Limits(30, 100_000, 8, 5)
    assert TIERS["standard"] == Limits(120, 1_000_000, 32, 20)
    assert TIERS["high"] == Limits(1_000_000, 2_000_000_000, 4_000, 20_000)


def test_overrides_replace_single_limits() -> None:
    assert limits_for("free", None) is TIERS["free"]
    assert limits_for("free", {}) is TIERS["free"]
    assert limits_for("free", {"parallel": 100, "burst_per_s": 0}) == Limits(30, 100_000, 100, 0)


@pytest.mark.parametrize(
    ("tier", "overrides", "named"),
    [
        ("gold", None, "gold"),
        ("free", {"requests": 5}, "requests"),
        ("free", {"parallel": -1}, "parallel"),
        ("free", {"parallel": MOST + 1}, "parallel"),
        ("free", {"parallel": True}, "parallel"),
        ("free", {"parallel": 1.5}, "parallel"),
    ],
)
def test_limits_that_make_no_sense_are_refused(tier: str, overrides: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        limits_for(tier, overrides)


GAPS_MS = st.lists(
    st.one_of(st.integers(0, 300), st.integers(0, 5_000), st.integers(0, 70_000)), min_size=1, max_size=60
)


def test_never_more_than_the_limit_in_any_60_s_and_never_refused_below_it_in_61_s(valkey_url: str) -> None:
    limit = 5
    clock = Clock()

    async def arrive(limits: Limiter, gaps_ms: list[int]) -> None:
        caller = scope(requests_per_minute=limit)
        admitted_ms: list[int] = []
        for gap_ms in gaps_ms:
            clock.now_ms += gap_ms
            admission = await limits.admit((caller,), 1)
            recent = [at for at in admitted_ms if at > clock.now_ms - 60_000]
            nearly = [at for at in admitted_ms if at > clock.now_ms - 61_000]
            if admission.allowed:
                assert len(recent) < limit
                admitted_ms.append(clock.now_ms)
            else:
                assert admission.refused_by == "requests"
                assert len(nearly) >= limit
                assert 0 < admission.retry_after_s <= 61

    with asyncio.Runner() as runner:
        limits = Limiter(valkey_url, "test", 1, clock_ms=clock)
        runner.run(limits.start())

        @settings(deadline=None)
        @given(GAPS_MS)
        def check(gaps_ms: list[int]) -> None:
            runner.run(arrive(limits, gaps_ms))

        check()
        assert not limits.degraded
        runner.run(limits.close())


STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 300), st.integers(0, 9_000), st.integers(0, 130_000)),  # ms that pass
        st.integers(0, 60),  # tokens reserved
        st.sampled_from(["organization", "key", "both"]),
        st.sampled_from([1, 1, 0]),  # slots
        st.one_of(st.none(), st.integers(0, 150)),  # a running request ends, having used so many
    ),
    max_size=60,
)


def test_the_local_window_decides_like_the_script_number_for_number(valkey_url: str) -> None:
    clock = Clock()

    async def compare(steps: list[tuple[int, int, str, int, int | None]]) -> None:
        organization, key = (
            scope(requests_per_minute=9, tokens_per_minute=150, parallel=4),
            scope(burst_per_s=3),
        )
        chosen = {"organization": (organization,), "key": (key,), "both": (organization, key)}
        alone = Limiter(valkey_url, "alone", 1, clock_ms=clock)  # never started, so it is on its own
        running = []
        async with limiter(valkey_url, clock_ms=clock) as shared:
            for gap_ms, tokens, which, slots, used in steps:
                clock.now_ms += gap_ms
                scopes = chosen[which]
                ours = await shared.admit(scopes, tokens, slots=slots)
                theirs = await alone.admit(scopes, tokens, slots=slots)
                assert theirs.degraded
                assert msgspec.structs.replace(theirs, degraded=False, catalog_version=ours.catalog_version) == ours
                running.append((scopes, tokens, ours, theirs))
                if used is not None:
                    of, reserved, ours, theirs = running.pop(0)
                    shared.release(of, ours, reserved, used)
                    alone.release(of, theirs, reserved, used)

    @settings(deadline=None)
    @given(STEPS)
    def check(steps: list[tuple[int, int, str, int, int | None]]) -> None:
        in_loop(compare(steps))

    check()


def test_what_was_refused_is_admitted_after_retry_after_and_not_a_moment_sooner(valkey_url: str) -> None:
    async def scenario() -> None:
        clock, caller = Clock(), scope(requests_per_minute=2, tokens_per_minute=100)
        async with limiter(valkey_url, clock_ms=clock) as limits:
            await limits.admit((caller,), 70)
            clock.now_ms += 10_000
            await limits.admit((caller,), 20)
            for tokens in (10, 30, 95):
                refused = await limits.admit((caller,), tokens)
                assert not refused.allowed
                assert not refused.never
                at_ms = clock.now_ms + round(refused.retry_after_s * 1000)
                early, due = Clock(at_ms - 1), Clock(at_ms)
                limits._clock_ms = early
                assert not (await limits.admit((caller,), tokens)).allowed
                limits._clock_ms = due
                admitted = await limits.admit((caller,), tokens)
                assert admitted.allowed
                limits.release((caller,), admitted, tokens, tokens)
                clock.now_ms = at_ms

    in_loop(scenario())


def test_the_answer_says_what_is_left_and_when_it_is_full_again(valkey_url: str) -> None:
    async def scenario() -> None:
        clock, wide, narrow = Clock(), scope(tokens_per_minute=500), scope(requests_per_minute=3)
        async with limiter(valkey_url, clock_ms=clock) as limits:
            first = await limits.admit((wide, narrow), 100)
            assert (first.limit_requests, first.remaining_requests, first.reset_requests_s) == (3, 2, 60.5)
            assert (first.limit_tokens, first.remaining_tokens, first.reset_tokens_s) == (500, 400, 60.5)
            assert (first.refused_by, first.retry_after_s, first.never, first.degraded) == (
                None,
                0,
                False,
                False,
            )
            assert first.second == clock.now_ms // 1000
            clock.now_ms += 61_000
            untouched = await limits.admit((wide, narrow), 501)
            assert (untouched.remaining_requests, untouched.reset_requests_s) == (3, 0)
            assert (untouched.remaining_tokens, untouched.reset_tokens_s) == (500, 0)

    in_loop(scenario())


def test_all_scopes_or_none(valkey_url: str) -> None:
    async def scenario() -> None:
        clock, organization, key = Clock(), scope(requests_per_minute=10), scope(requests_per_minute=1)
        async with limiter(valkey_url, clock_ms=clock) as limits:
            answers = await admit_all(limits, organization, key, times=3)
            assert [answer.allowed for answer in answers] == [True, False, False]
            assert (await limits.admit((organization,), 1)).remaining_requests == 8

    in_loop(scenario())


def test_a_burst_ends_with_its_second(valkey_url: str) -> None:
    async def scenario() -> None:
        clock, caller = Clock(), scope(burst_per_s=2)
        async with limiter(valkey_url, clock_ms=clock) as limits:
            answers = await admit_all(limits, caller, times=3)
            assert [answer.refused_by for answer in answers] == [None, None, "burst"]
            assert answers[2].retry_after_s == 0.5
            clock.now_ms += 500
            assert (await limits.admit((caller,), 1)).allowed

    in_loop(scenario())


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"requests_per_minute": 0}, "requests"),
        ({"tokens_per_minute": 9}, "tokens"),
        ({"parallel": 0}, "parallel"),
        ({"burst_per_s": 0}, "burst"),
    ],
)
def test_what_no_waiting_helps_is_said_so(valkey_url: str, limits: dict[str, Any], reason: str) -> None:
    async def scenario() -> None:
        caller = scope(**limits)
        async with limiter(valkey_url) as shared:
            alone = Limiter(valkey_url, "alone", 4)
            for answer in (await shared.admit((caller,), 10), await alone.admit((caller,), 10)):
                assert (answer.allowed, answer.refused_by, answer.never) == (False, reason, True)
                assert answer.retry_after_s == 61

    in_loop(scenario())


@pytest.mark.parametrize("degraded", [False, True])
def test_tokens_are_corrected_in_the_second_they_were_reserved_in(valkey_url: str, degraded: bool) -> None:
    async def scenario() -> None:
        clock, caller = Clock(), scope(tokens_per_minute=100)
        url = free_url() if degraded else valkey_url
        async with limiter(url, clock_ms=clock) as limits:
            assert limits.degraded is degraded
            first = await limits.admit((caller,), 80)
            clock.now_ms += 30_000
            assert (await limits.admit((caller,), 30)).refused_by == "tokens"
            limits.release((caller,), first, 80, 10)
            second = await limits.admit((caller,), 30)
            assert (second.allowed, second.remaining_tokens) == (True, 60)
            clock.now_ms += 31_000  # the first has left the window with its 10
            assert (await limits.admit((caller,), 0)).remaining_tokens == 70
            clock.now_ms += 31_000
            limits.release((caller,), second, 30, 3_000)  # too late to count
            assert (await limits.admit((caller,), 0)).remaining_tokens == 100

    in_loop(scenario())


def test_more_tokens_than_reserved_count_too(valkey_url: str) -> None:
    async def scenario() -> None:
        caller = scope(tokens_per_minute=100)
        async with limiter(valkey_url) as limits:
            limits.release((caller,), await limits.admit((caller,), 10), 10, 130)
            refused = await limits.admit((caller,), 1)
            assert (refused.refused_by, refused.remaining_tokens) == ("tokens", 0)

    in_loop(scenario())


def test_a_request_that_was_refused_has_nothing_to_release(valkey_url: str, client: redis.Redis) -> None:
    async def scenario() -> None:
        caller = scope(parallel=1)
        async with limiter(valkey_url) as limits:
            held, refused = await admit_all(limits, caller, times=2)
            assert (held.allowed, refused.refused_by) == (True, "parallel")
            limits.release((caller,), refused, 1, 0)
            assert (await limits.admit((caller,), 1)).refused_by == "parallel"
            assert slots(client, caller) == {"test": "1"}

    in_loop(scenario())


def test_two_processes_share_one_limit(valkey_url: str, client: redis.Redis) -> None:
    async def scenario() -> None:
        caller, wide = scope(requests_per_minute=10), scope(parallel=3)
        async with limiter(valkey_url, "one") as one, limiter(valkey_url, "two") as two:
            answers = await asyncio.gather(admit_all(one, caller, times=8), admit_all(two, caller, times=8))
            assert sum(answer.allowed for some in answers for answer in some) == 10
            first, *_ = await admit_all(one, wide, times=2)
            assert [answer.allowed for answer in await admit_all(two, wide, times=2)] == [True, False]
            assert slots(client, wide) == {"one": "2", "two": "1"}
            one.release((wide,), first, 1, 1)
            await eventually(lambda: slots(client, wide) == {"one": "1", "two": "1"})
            assert (await two.admit((wide,), 1)).allowed

    in_loop(scenario())


def test_slots_fall_with_their_process(valkey_url: str, client: redis.Redis) -> None:
    async def scenario() -> None:
        caller = scope(parallel=2)
        async with limiter(valkey_url, "dead") as dead, limiter(valkey_url, "alive") as alive:
            await admit_all(dead, caller, times=2)
            assert (await alive.admit((caller,), 1)).refused_by == "parallel"
            (liveness,) = client.scan_iter(f"{PREFIX}alive:dead.*", count=PAGE)
            assert 0 < client.ttl(liveness) <= 10
            client.delete(liveness)  # what its expiry does
            answers = await admit_all(alive, caller, times=3)
            assert [answer.allowed for answer in answers] == [True, True, False]
            assert slots(client, caller) == {"alive": "2"}

    in_loop(scenario())


def test_a_process_that_was_taken_for_dead_registers_its_slots_again(
    valkey_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.limits.limiter.BEAT_EVERY_S", 0.02)

    async def scenario() -> None:
        caller = scope()
        async with limiter(valkey_url, "paused") as paused:
            await paused.admit((caller,), 1)
            client.delete(f"{PREFIX}slots:{caller.id}", *client.scan_iter(f"{PREFIX}alive:paused.*", count=PAGE))
            await eventually(lambda: slots(client, caller) == {"paused": "1"})

    in_loop(scenario())


def test_a_clock_that_is_set_back_does_not_reopen_the_window_nor_stop_it(valkey_url: str) -> None:
    async def scenario() -> None:
        clock, caller = Clock(), scope(requests_per_minute=2)
        async with limiter(valkey_url, clock_ms=clock) as limits:
            assert all(answer.allowed for answer in await admit_all(limits, caller, times=2))
            clock.now_ms -= 30_000
            assert (await limits.admit((caller,), 1)).refused_by == "requests"
            clock.now_ms -= 3_600_000
            assert (await limits.admit((caller,), 1)).remaining_requests == 1

    in_loop(scenario())


def test_the_catalogue_version_comes_with_every_answer(valkey_url: str, client: redis.Redis) -> None:
    async def scenario() -> None:
        client.delete(f"{PREFIX}catalog_version")
        with contextlib.closing(client):
            async with limiter(valkey_url) as limits:
                assert limits.catalog_version == 0
                client.set(f"{PREFIX}catalog_version", 7)
                assert (await limits.admit((scope(),), 1)).catalog_version == 7
                assert limits.catalog_version == 7
                client.delete(f"{PREFIX}catalog_version")

    in_loop(scenario())


def test_every_key_expires(valkey_url: str, client: redis.Redis) -> None:
    async def scenario() -> None:
        caller = scope()
        async with limiter(valkey_url, "expiring") as limits:
            await limits.admit((caller,), 1)
            ours = [*client.scan_iter(f"{PREFIX}*:{caller.id}", count=PAGE)]
            ours += client.scan_iter(f"{PREFIX}alive:expiring.*", count=PAGE)
            assert len(ours) == 3
            assert all(client.ttl(key) > 0 for key in ours)

    in_loop(scenario())


def test_the_newest_limits_of_a_scope_count(valkey_url: str) -> None:
    async def scenario() -> None:
        before, clock = scope(requests_per_minute=5), Clock()
        after = Scope(before.id, replace(before.limits, requests_per_minute=2))
        async with limiter(valkey_url, clock_ms=clock) as limits:
            await admit_all(limits, before, times=4)
            lowered = await limits.admit((after,), 1)
            assert (lowered.refused_by, lowered.remaining_requests, lowered.limit_requests) == (
                "requests",
                0,
                2,
            )

    in_loop(scenario())
