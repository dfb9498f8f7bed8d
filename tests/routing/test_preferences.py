"""What an organization decided, as the path knows it: read once, fresh where it counts, there without the database."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError

from accounts.access import Caller
from routing.gateway.choice import preferences
from routing.gateway.choice.preferences import NO_PREFERENCES, PreferenceBook, Preferences
from tests.routing.books import organization_id
from tests.stand import Gateway


def caller(organization_id: int = 1, epoch: int = 1) -> Caller:
    return Caller(organization_id, 1, 1, 1, epoch, "free", {}, {}, None, is_suspended=False, expires_at_unix_s=None)


class Database:
    """In the place of the real one: what it answers, how often it was asked, and whether it is away."""

    def __init__(self) -> None:
        self.rows: dict[int, Preferences] = {}
        self.asked = 0
        self.is_away = False

    def read(self, organization_id: int) -> Preferences:
        self.asked += 1
        if self.is_away:
            raise OperationalError("away")
        return self.rows.get(organization_id, NO_PREFERENCES)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    found = Database()
    monkeypatch.setattr(preferences, "_read", found.read)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(preferences, "monotonic_s", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def run(work: Any) -> Any:
    return asyncio.run(work)


def pins(**models: str) -> Preferences:
    return Preferences(models)


def test_it_is_read_once_and_again_when_it_is_old(database: Database, clock: Callable[[float], None]):
    async def go() -> None:
        book = PreferenceBook()
        database.rows[1] = pins(writing="a/b")
        for _ in range(3):
            assert await book.of(caller()) == pins(writing="a/b")
        assert database.asked == 1
        assert await book.of(caller(2)) == NO_PREFERENCES
        clock(preferences.FOUND_FOR_S)
        database.rows[1] = pins()
        assert await book.of(caller()) == pins()

    run(go())


def test_a_newer_epoch_of_the_caller_is_never_answered_by_what_is_older(database: Database):
    async def go() -> None:
        book = PreferenceBook()
        assert await book.of(caller(epoch=1)) == NO_PREFERENCES
        database.rows[1] = pins(writing="a/b")
        assert await book.of(caller(epoch=1)) == NO_PREFERENCES
        assert await book.of(caller(epoch=2)) == pins(writing="a/b")

    run(go())


@pytest.mark.parametrize("news", [lambda book: book.forget_organization(1), lambda book: book.forget_all()])
def test_news_make_it_ask_again(database: Database, news: Callable[[PreferenceBook], None]):
    async def go() -> None:
        book = PreferenceBook()
        news(book)
        await book.of(caller())
        await book.of(caller(2))
        database.rows[1] = pins(math="a/b")
        news(book)
        assert await book.of(caller()) == pins(math="a/b")

    run(go())


def test_many_at_once_cause_one_look_up(database: Database):
    async def go() -> None:
        book = PreferenceBook()
        await asyncio.gather(*(book.of(caller()) for _ in range(20)))
        assert database.asked == 1

    run(go())


def test_a_database_that_is_away_breaks_no_call(database: Database, clock: Callable[[float], None]):
    async def go() -> None:
        book = PreferenceBook()
        database.is_away = True
        assert await book.of(caller(2)) == NO_PREFERENCES
        database.is_away = False
        database.rows[1] = pins(writing="a/b")
        await book.of(caller())
        database.is_away = True
        assert await book.of(caller(epoch=2)) == pins(writing="a/b")
        asked = database.asked
        assert await book.of(caller(epoch=2)) == pins(writing="a/b")
        assert database.asked == asked
        clock(preferences.ASK_AGAIN_AFTER_S)
        database.is_away = False
        database.rows[1] = pins()
        assert await book.of(caller(epoch=2)) == pins()

    run(go())


def test_it_does_not_grow_without_end(database: Database, monkeypatch: pytest.MonkeyPatch):
    async def go() -> None:
        monkeypatch.setattr(preferences, "CACHED_ORGANIZATIONS", 2)
        book = PreferenceBook()
        for number in (1, 2, 3):
            await book.of(caller(number))
        await book.of(caller(3))
        assert database.asked == 3
        await book.of(caller(1))
        assert database.asked == 4

    run(go())


def test_it_comes_from_the_database(gateway: Gateway):
    from routing.actions.pins import Pinner, do_follow_successors, do_set_pin
    from routing.actions.trials import Move, do_begin_trial
    from routing.selection.trials import Trial

    alice, charlie = organization_id(gateway.tenant()), organization_id(gateway.tenant())
    model = gateway.add_model()
    do_set_pin(Pinner(alice, "test"), "coding", model)
    do_set_pin(Pinner(alice, "test"), "writing", model)
    do_begin_trial(Move(alice, "writing", model, "acme/newer"), 500)
    do_follow_successors(alice, follows=True, actor="test")
    found = run(PreferenceBook().of(caller(alice)))
    assert found == Preferences(
        {"code-generation": model, "writing": model},
        follows_successors=True,
        trials={"writing": Trial("acme/newer", 500)},
    )
    assert run(PreferenceBook().of(caller(charlie))) == NO_PREFERENCES
