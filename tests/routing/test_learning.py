"""What the brain learns from calls and votes, and that losing any of it breaks nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from django.db import DatabaseError, connection

from komilion.common.clock import unix_s
from routing.gateway.choice import learning as module
from routing.gateway.choice import votes as votes_module
from routing.gateway.choice.afterwards import Quota
from routing.gateway.choice.learning import Finished, Learning
from routing.gateway.choice.selected import Selected
from routing.gateway.choice.votes import Votes
from routing.selection.guesses import median_tokens
from routing.selection.live import CALLS_FOR_P50, Live
from routing.selection.market import Market
from routing.selection.markets import market_facts
from routing.selection.offsets import Offsets
from routing.selection.words import TASKS
from tests.async_waiting import eventually
from tests.fakes.client import chat
from tests.fakes.replies import Reply
from tests.routing.books import organization_id
from tests.routing.choosing import BEST, asked, catalog
from tests.routing.servers import second_server
from tests.services.valkey import free_url
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

CALLS = int(CALLS_FOR_P50) + 1
REVISION = "a revision that no model has"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Learning:
    found = Learning(free_url(), "test")
    found.brain.ready = found.brain.prepare(catalog())
    return found


def finished(
    made: Learning, *, is_routed: bool = True, pins: dict[str, str] | None = None, tier: str = "standard", **more: Any
) -> Finished:
    """A call that the brain routed, of 100 tokens in and 50 out in 2 s, the first after 0.5 s."""
    request = asked({"session_id": "s", **more.pop("body", {})}, pins)
    choice = made.brain.decide(request)
    assert choice is not None
    given: dict[str, Any] = {
        "request_id": "gen-1",
        "started_at": "2026-03-01 09:00:00",
        "endpoint": "chat.completions",
        "chat": request.chat,
        "caller": replace(request.caller, tier=tier),
        "offer": choice.attempts[0][0],
        "selected": Selected("balanced", choice, request.session, wants_receipt=False) if is_routed else None,
        "is_whole": True,
        "usage": {"input": 80, "cache_read": 20, "output": 50, "reasoning": 10},
        "first_content_s": 0.5,
        "took_s": 2.0,
    }
    return Finished(**given | more)


def length_correction(live: Live, made: Learning, model: str, task: str) -> float:
    market = made.brain.ready.market
    return float(live.log_correction(market, unix_s())[market.index[model], TASKS.index(task)])


async def in_thread(work: Callable[[], object]) -> None:
    """Something with the database, whose connection in that thread nobody else would close."""

    def go() -> None:
        try:
            work()
        finally:
            connection.close()

    await asyncio.to_thread(go)


class TestCalls:
    def test_pace_length_and_session_are_noted(self, made: Learning):
        call = finished(made)
        for _ in range(CALLS):
            made.finished(call)
        live, now_s = made.live.own, unix_s()
        offer = (call.offer.provider, call.offer.model_id)
        assert live.first_content_s(*offer, 0.5, now_s) == pytest.approx(0.5, rel=0.1)
        assert live.tokens_per_s(*offer, 0.5, now_s) == pytest.approx(50 / 1.5, rel=0.1)
        is_shorter = median_tokens("code-generation", None, thinks=False) > 50
        assert (length_correction(live, made, BEST, "code-generation") < 0) is is_shorter
        sticky = made.brain.sessions.get(call.selected.session, now_s)
        assert (sticky.model, sticky.provider, sticky.prefix_tokens) == (BEST, "up", 150)

    def test_an_answer_that_came_whole_has_a_pace_and_no_first_content(self, made: Learning):
        call = finished(made, first_content_s=None)
        for _ in range(CALLS):
            made.finished(call)
        offer = (call.offer.provider, call.offer.model_id)
        assert made.live.own.first_content_s(*offer, 0.5, unix_s()) is None
        assert made.live.own.tokens_per_s(*offer, 0.5, unix_s()) == pytest.approx(25, rel=0.1)

    @pytest.mark.parametrize(
        "more",
        [
            {"is_whole": False},
            {"usage": {"input": 5}},
            {"tier": "free"},
            {"pins": {"code-generation": BEST}},
            {"body": {"max_tokens": 60}},
        ],
        ids=["cut", "empty", "on trial", "pinned", "a limit below the guess"],
    )
    def test_a_length_that_says_nothing_is_not_noted(self, made: Learning, more: dict[str, Any]):
        made.finished(finished(made, **more))
        assert length_correction(made.live.own, made, BEST, "code-generation") == 0

    def test_a_limit_above_the_guess_changes_nothing(self, made: Learning):
        made.finished(finished(made, body={"max_tokens": 4_000}))
        assert length_correction(made.live.own, made, BEST, "code-generation") < 0

    @pytest.mark.parametrize("more", [{"took_s": 0.5}, {"usage": {}}])
    def test_a_pace_that_says_nothing_is_not_noted(self, made: Learning, more: dict[str, Any]):
        assert finished(made, **more).tokens_per_s is None

    def test_a_call_that_was_not_read_leaves_no_length(self, made: Learning):
        made.finished(finished(made, selected=Selected("balanced", None, b"s", wants_receipt=False)))
        assert made.brain.sessions.get(b"s", unix_s()).model == BEST

    def test_a_call_that_named_its_model_is_looked_at_afterwards(self, made: Learning, monkeypatch: pytest.MonkeyPatch):
        noted = []
        monkeypatch.setattr(made.afterwards, "note", lambda *call: noted.append(call))
        call = finished(made, is_routed=False)
        made.finished(call)
        assert noted == [("gen-1", "2026-03-01 09:00:00", call.chat)]


class TestManyCalls:
    def test_a_busy_process_measures_some_of_them_and_remembers_every_conversation(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ):
        measured: list[Finished] = []
        monkeypatch.setattr(Quota, "has_room", lambda _: False)
        monkeypatch.setattr(Learning, "finished", lambda _, call: measured.append(call))
        tenant = gateway.tenant()
        gateway.add_model(Reply(), BEST)
        with second_server() as server:
            sessions = server.gateway.services.learning.brain.sessions
            for model in (BEST, "neo-mode"):
                assert chat(server.url, tenant.key, model=model).status == 200
            wait_until(lambda: len(sessions) == 1, what="the conversation to be remembered")
        assert measured == []


class TestMarkets:
    def test_a_market_that_cannot_be_kept_is_kept_next_time(self, made: Learning, monkeypatch: pytest.MonkeyPatch):
        kept, failures = [], [DatabaseError("away")]

        def keep(facts: Any) -> None:
            if failures:
                raise failures.pop()
            kept.append(facts.fingerprint)

        monkeypatch.setattr(module, "keep_market", keep)
        market = made.brain.ready.market
        for _ in range(3):
            asyncio.run(made.keep(market))
        assert kept == [market.fingerprint]

    def test_a_market_is_kept_once_and_found_by_its_fingerprint(self, gateway: Gateway):
        from routing.selection.markets import keep_market
        from routing.selection.models import Market as Kept

        facts = Market.build(catalog(), date(2026, 3, 1)).facts
        keep_market(facts)
        assert Kept.objects.filter(pk=facts.fingerprint).count() == 1
        assert market_facts(facts.fingerprint) == facts
        assert market_facts("no such market") is None


class TestVotes:
    @pytest.fixture
    def taken(self, monkeypatch: pytest.MonkeyPatch) -> list[Offsets]:
        monkeypatch.setattr(votes_module, "GATHER_S", 0)
        return []

    def vote(self, tenant: Tenant, revision: str = REVISION, *, is_paid: bool = True) -> None:
        from routing.selection.models import Feedback

        known = {
            "is_paid": is_paid,
            "task": "math",
            "difficulty": 0.1,
            "expected": 0.5,
            "model": BEST,
            "revision": revision,
        }
        Feedback.objects.create(
            organization_id=organization_id(tenant),
            request_id="gen-1",
            score=1.0,
            created_at=votes_module.utc_now(),
            **known,
        )

    def test_votes_are_counted_as_they_come_and_anew_where_one_is_replaced(
        self, gateway: Gateway, taken: list[Offsets]
    ):
        alice, charlie = gateway.tenant(), gateway.tenant()

        from routing.selection.models import Feedback

        def offset() -> float:
            return taken[-1].offset(REVISION, "math", 1, unix_s()) if taken else 0.0

        async def go() -> None:
            votes = Votes(taken.append)
            await in_thread(lambda: self.vote(alice))
            votes.begin_again()
            await eventually(lambda: offset() > 0)
            first = offset()
            await in_thread(lambda: self.vote(charlie))
            votes.hear(replaced=False)
            await eventually(lambda: offset() > first)
            await in_thread(lambda: Feedback.objects.filter(revision=REVISION).update(score=0.0))
            votes.hear(replaced=True)
            await eventually(lambda: offset() < 0)

        asyncio.run(go())

    def test_votes_of_those_who_have_not_paid_move_nothing(self, gateway: Gateway, taken: list[Offsets]):
        charlie = gateway.tenant()

        async def go() -> None:
            await in_thread(lambda: self.vote(charlie, "another", is_paid=False))
            Votes(taken.append).begin_again()
            await eventually(lambda: bool(taken))

        asyncio.run(go())
        assert taken[-1].offset("another", "math", 1, unix_s()) == 0

    def test_a_database_that_is_away_costs_nothing_but_votes(
        self, taken: list[Offsets], monkeypatch: pytest.MonkeyPatch
    ):
        answers: list[Any] = [DatabaseError("away"), []]

        def read(*_: Any) -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def go() -> None:
            votes = Votes(taken.append)
            votes.begin_again()
            await eventually(lambda: len(answers) == 1)
            votes.hear(replaced=False)
            votes.hear(replaced=False)
            await eventually(lambda: bool(taken))
            assert answers == []

        monkeypatch.setattr(votes_module, "votes_after", read)
        asyncio.run(go())
