"""Breakers: what opens and closes them, who may probe, and that every process knows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from komilion.common.redis import shared_client
from komilion.env import free_port
from routing.selection import health
from routing.selection.health import OPEN_KEY, Breakers, credential_name
from tests.async_waiting import eventually

KEY = ("up", "acme/one", "0" * 16)
OTHER = ("up", "acme/two", "0" * 16)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def nowhere() -> str:
    """The address of a Redis that is not there."""
    return f"redis://127.0.0.1:{free_port()}/0"


def alone(clock: Callable[[], float] | None = None) -> Breakers:
    """Of a process without Redis."""
    return Breakers(nowhere(), "p-alone", clock=clock or Clock())


def fail(breakers: Breakers, times: int = 5, key: health.Key = KEY) -> None:
    """So many failures in a row."""
    for _ in range(times):
        breakers.failed(*key)


class TestOpening:
    def test_failures_in_a_row(self):
        breakers = alone()
        fail(breakers, 4)
        assert not breakers.is_open(*KEY)
        assert not breakers.is_quiet
        fail(breakers, 1)
        assert breakers.is_open(*KEY)
        assert not breakers.is_open(*OTHER)
        assert breakers.any_open

    def test_a_success_between_them_counts(self):
        breakers = alone()
        for _ in range(2):
            fail(breakers, 4)
            breakers.succeeded(*KEY)
        assert not breakers.is_open(*KEY)

    def test_half_of_the_last_tries(self):
        breakers = alone()
        for _ in range(5):
            breakers.failed(*KEY)
            assert not breakers.is_open(*KEY)
            breakers.succeeded(*KEY)
        breakers.failed(*KEY)
        assert breakers.is_open(*KEY)

    def test_a_few_failures_among_many_tries_are_forgotten(self):
        breakers = alone()
        breakers.failed(*KEY)
        for _ in range(20):
            breakers.succeeded(*KEY)
        assert breakers.is_quiet
        breakers.succeeded(*OTHER)
        breakers.failed(*KEY)
        breakers.succeeded(*OTHER)
        assert not breakers.is_quiet

    def test_what_only_the_operator_can_mend(self):
        breakers = alone()
        breakers.failed(*KEY, weight="all")
        assert breakers.is_open(*KEY)
        breakers.failed(*OTHER, weight="all")
        assert not breakers.is_open("up", "acme/three", KEY[2])

    def test_a_credential_that_is_refused_for_two_models_is_refused_for_all(self, caplog: pytest.LogCaptureFixture):
        breakers = alone()
        for _ in range(2):
            breakers.failed(*KEY, weight="credential", reason="closed_to_us")
        third = ("up", "acme/three", KEY[2])
        assert [breakers.is_open(*key) for key in (KEY, OTHER, third)] == [True, False, False]
        breakers.failed(*OTHER, weight="credential", reason="closed_to_us")
        assert all(breakers.is_open(*key) for key in (KEY, OTHER, third))
        assert not breakers.is_open("up", "acme/three", "another credential")
        alarms = [record.model for record in caplog.records if record.alarm == "provider_refuses_us"]
        assert alarms == ["acme/one", ""]
        breakers.failed(*third, weight="credential", reason="closed_to_us")
        assert breakers.is_open(*third)
        assert len(alarms) == 2

    def test_a_model_that_answers_in_between_shows_that_it_is_not_the_credential(self):
        breakers = alone()
        breakers.failed(*KEY, weight="credential")
        breakers.succeeded("up", "acme/three", KEY[2])
        breakers.failed(*OTHER, weight="credential")
        assert [breakers.is_open(*key) for key in (KEY, OTHER)] == [True, True]
        assert not breakers.is_open("up", "acme/three", KEY[2])

    def test_one_answer_shows_that_a_credential_is_in_order(self):
        breakers = alone()
        for key in (KEY, OTHER):
            breakers.failed(*key, weight="credential")
        breakers.succeeded(*OTHER)
        assert [breakers.is_open(*key) for key in (KEY, OTHER)] == [True, False]
        breakers.failed(*OTHER, weight="credential")
        assert not breakers.is_open("up", "acme/three", KEY[2])

    def test_records_are_bounded(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(health, "MOST_RECORDS", 2)
        breakers = alone()
        fail(breakers, 4)
        for number in range(2):
            breakers.failed("up", f"acme/{number}", "")
        fail(breakers, 1)
        assert not breakers.is_open(*KEY)

    def test_another_credential_has_a_breaker_of_its_own(self):
        names = {credential_name(key) for key in ("", "sk-one", "sk-two")}
        assert len(names) == 3
        assert not any("sk" in name for name in names)


class TestProbes:
    """Without Redis, one process lends to itself."""

    def borrow(self, breakers: Breakers, *keys: health.Key) -> health.Key | None:
        return asyncio.run(breakers.borrow(keys or (KEY,)))

    def test_of_all_models_of_a_credential_one_is_probed(self):
        clock = Clock()
        breakers = alone(clock)
        for key in (KEY, OTHER):
            breakers.failed(*key, weight="credential")
        third = ("up", "acme/three", KEY[2])
        clock.now += 5
        assert self.borrow(breakers, third) == third
        breakers.begin(third)
        clock.now += 60
        assert self.borrow(breakers, OTHER) is None
        breakers.end(third)
        assert self.borrow(breakers, OTHER) == OTHER
        breakers.begin(OTHER)
        breakers.failed(*OTHER)
        assert self.borrow(breakers, third) is None

    def test_one_at_a_time_and_not_too_often(self):
        clock = Clock()
        breakers = alone(clock)
        assert self.borrow(breakers) is None
        fail(breakers)
        assert self.borrow(breakers) is None
        clock.now += 5
        assert self.borrow(breakers, OTHER, KEY) == KEY
        breakers.begin(KEY)
        clock.now += 60
        assert self.borrow(breakers) is None
        breakers.failed(*KEY)
        breakers.end(KEY)
        assert self.borrow(breakers) is None
        clock.now += 5
        assert self.borrow(breakers) == KEY

    def test_a_success_closes(self):
        clock = Clock()
        breakers = alone(clock)
        fail(breakers)
        clock.now += 5
        breakers.begin(self.borrow(breakers) or OTHER)
        breakers.succeeded(*KEY)
        breakers.end(KEY)
        assert not breakers.any_open
        fail(breakers, 4)
        assert not breakers.any_open

    def test_one_that_shows_nothing_makes_room(self):
        clock = Clock()
        breakers = alone(clock)
        fail(breakers)
        clock.now += 5
        breakers.begin(self.borrow(breakers) or OTHER)
        breakers.end(KEY)
        assert self.borrow(breakers) == KEY

    def test_the_end_of_what_was_closed_by_others(self):
        breakers = alone()
        breakers.begin(KEY)
        breakers.end(KEY)
        assert not breakers.any_open


@asynccontextmanager
async def running(*breakers: Breakers) -> AsyncIterator[None]:
    """Started and connected, and closed in the end."""
    for each in breakers:
        each.start()
    try:
        await eventually(lambda: all(each._redis is not None for each in breakers))
        yield
    finally:
        for each in breakers:
            await each.close()


class TestShared:
    """Several processes and one Redis."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch, settings: object, valkey_url: str) -> None:
        monkeypatch.setattr(health, "POLL_S", 0.02)
        settings.BREAKER_PROBE_EVERY_S = 0.1
        self.url = valkey_url
        shared_client(valkey_url).delete(OPEN_KEY)

    def some(self, count: int) -> list[Breakers]:
        return [Breakers(self.url, f"p-{number}") for number in range(count)]

    def test_all_learn_what_one_found_out(self):
        one, two = self.some(2)

        async def play() -> None:
            async with running(one, two):
                two.failed(*KEY)
                fail(one)
                await eventually(lambda: two.is_open(*KEY))
                three = self.some(1)[0]
                async with running(three):  # a process that starts later
                    await eventually(lambda: three.is_open(*KEY))
                two.succeeded(*KEY)
                await eventually(lambda: not one.any_open)

        asyncio.run(play())

    def test_one_probe_across_all(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(health, "LOAN_S", 0.2)
        processes = self.some(4)

        async def play() -> None:
            async with running(*processes):
                fail(processes[0])
                await eventually(lambda: all(each.is_open(*KEY) for each in processes))
                lent: list[Breakers] = []

                async def try_to_borrow() -> None:
                    found = await asyncio.gather(*(each.borrow([KEY]) for each in processes))
                    lent.extend(each for each, key in zip(processes, found, strict=True) if key)

                for _ in range(40):
                    await try_to_borrow()
                    if lent:
                        break
                    await asyncio.sleep(0.05)
                assert len(lent) == 1
                lent[0].begin(KEY)
                for each in processes:
                    each._open[KEY] = 0.0
                await asyncio.sleep(3 * health.LOAN_S)  # it is renewed for as long as its process lives
                for each in processes:
                    each._open[KEY] = 0.0
                await try_to_borrow()
                assert len(lent) == 1
                lent[0].end(KEY)
                await asyncio.sleep(0.1)
                for each in processes:
                    each._open[KEY] = 0.0
                await try_to_borrow()
                assert len(lent) == 2

        asyncio.run(play())

    def test_what_was_opened_while_redis_was_away(self, monkeypatch: pytest.MonkeyPatch):
        one, two = self.some(2)

        async def play() -> None:
            one._url = nowhere()
            one.start()
            fail(one)
            await asyncio.sleep(0.05)
            async with running(two):
                assert not two.any_open
                one._url = self.url
                await eventually(lambda: two.is_open(*KEY))
            await one.close()

        asyncio.run(play())

    def test_what_changes_while_redis_is_asked_is_told_next(self):
        one = self.some(1)[0]

        class Slow:
            """A connection on which something happens before the answer comes."""

            def __init__(self, client: object) -> None:
                self._client = client

            def pipeline(self, **options: object) -> object:
                pipe = self._client.pipeline(**options)
                execute = pipe.execute

                async def late() -> list[object]:
                    one.succeeded(*KEY)
                    return await execute()

                pipe.execute = late
                return pipe

        async def play() -> None:
            async with health.connect(self.url) as client:
                fail(one)
                await one._exchange(Slow(client))
                assert not one.any_open
                assert one._changes == {KEY: False}
                await one._exchange(client)
            assert not one.any_open
            assert one._changes == {}

        asyncio.run(play())
        assert shared_client(self.url).hlen(OPEN_KEY) == 0

    def test_a_redis_that_does_not_answer_a_borrower(self):
        one = self.some(1)[0]

        class Gone:
            async def set(self, *_: object, **__: object) -> None:
                raise redis.ConnectionError("gone")

        async def play() -> health.Key | None:
            fail(one)
            one._open[KEY] = 0.0
            one._redis = Gone()
            return await one.borrow([KEY])

        assert asyncio.run(play()) == KEY

    def test_what_nobody_confirms_is_forgotten(self, monkeypatch: pytest.MonkeyPatch):
        one = self.some(1)[0]

        async def play() -> None:
            async with running(one):
                fail(one)
                await eventually(lambda: shared_client(self.url).hlen(OPEN_KEY) == 1)
                monkeypatch.setattr(health, "FORGOTTEN_AFTER_S", -1)
                await eventually(lambda: not one.any_open and shared_client(self.url).hlen(OPEN_KEY) == 0)

        asyncio.run(play())

    def test_strange_things_in_redis_do_no_harm(self, caplog: pytest.LogCaptureFixture):
        one = self.some(1)[0]

        async def play() -> None:
            async with running(one):
                shared_client(self.url).hset(OPEN_KEY, "nonsense", "x")
                await eventually(lambda: "breakers are this process' own" in caplog.text)
                shared_client(self.url).delete(OPEN_KEY)
                fail(one)
                await eventually(lambda: shared_client(self.url).hlen(OPEN_KEY) == 1)

        asyncio.run(play())

    def test_closing_what_was_not_started(self):
        asyncio.run(self.some(1)[0].close())
