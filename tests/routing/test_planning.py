"""Plans of requests that leave the choice to us, while offers are out of order, and of retired models."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from komilion.common.errors import BadRequest, ModelRetired, ProviderUnavailable
from routing.catalog.snapshot import Catalog, RetiredModel
from routing.gateway.choice.brain import Brain
from routing.gateway.choice.planning import plan_call
from routing.gateway.choice.preferences import Preferences
from routing.gateway.forms import OPENAI
from routing.gateway.types import Inbound, Plan
from routing.selection.health import Key, key_of
from tests.routing.choosing import BEST, CHEAP, CODE, MIDDLING, brain, caller, catalog, offer
from tests.routing.parsing import parse


@dataclass
class Health:
    """In the place of the breakers: which (provider, model) are open, and which of them is lent."""

    open: set[tuple[str, str]] = field(default_factory=set)
    lent: tuple[str, str] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    also_open: bool = False  # something that is not in the catalogue

    @property
    def any_open(self) -> bool:
        return bool(self.open) or self.also_open

    def is_open(self, provider: str, model: str, _: str) -> bool:
        return (provider, model) in self.open

    async def borrow(self, keys: Iterable[Key]) -> Key | None:
        for key in keys:
            self.asked.append(key[:2])
            if key[:2] == self.lent:
                return key
        return None


def plan(
    of: Catalog,
    health: Health | None = None,
    made: Brain | None = None,
    preferences: Preferences | None = None,
    may_probe: bool = True,
    newest: Callable[[Brain], Catalog] | None = None,
    **body: Any,
) -> Plan:
    async def wanted(_: Any) -> Preferences:
        return preferences or Preferences()

    async def keep(market: Any) -> None:
        kept.append(market)

    async def fresh() -> Catalog:
        return of if newest is None else newest(made)

    made, kept = made or brain(of), []
    services: Any = SimpleNamespace(
        fresh_catalog=fresh,
        learning=SimpleNamespace(brain=made, keep=keep),
        breakers=health or Health(),
        preferences=SimpleNamespace(of=wanted),
    )
    chat = parse(**{"model": "neo-mode", "messages": CODE, **body})
    inbound = Inbound(chat, OPENAI, 400, "", "", "", request_id="gen-1")
    planned = asyncio.run(plan_call(inbound, caller(), of, services, may_probe=may_probe))
    choice = None if planned.choice is None else planned.choice.choice
    assert kept == ([] if choice is None else [choice.market])
    return planned


def models(of: Plan) -> list[str]:
    return [attempt.offer.model_id for attempt in of.attempts]


def offers(of: Plan) -> list[tuple[str, str]]:
    return [(attempt.offer.provider, attempt.offer.model_id) for attempt in of.attempts]


class TestOrder:
    def test_the_chosen_models_offers_then_the_next_models(self):
        several = catalog(
            **{
                BEST: [offer(BEST, price, 200_000, provider=f"p{price}") for price in (3, 1, 2)],
                MIDDLING: [offer(MIDDLING, price, 200_000, provider=f"p{price}") for price in (9, 8)],
                CHEAP: [offer(CHEAP, 7, 200_000)],
            }
        )
        made = plan(several)
        assert offers(made) == [
            *(("p1", BEST), ("p2", BEST)),
            *(("p8", MIDDLING), ("up", CHEAP)),
            *(("p3", BEST), ("p9", MIDDLING)),
        ]
        assert all(attempt.is_named for attempt in made.attempts)
        assert (made.requested_model, made.model) == ("neo-mode", BEST)

    def test_the_requests_own_fallbacks_come_after_the_chosen_model(self):
        made = plan(catalog(), models=["neo-mode", CHEAP, "acme/nothing"])
        assert models(made) == [BEST, CHEAP, MIDDLING]
        assert [entry["model"] for entry in made.adjusted] == ["acme/nothing"]


class TestHealth:
    def test_what_is_out_of_order_is_no_candidate(self):
        health = Health({("up", BEST)})
        made = plan(catalog(), health)
        assert BEST not in models(made)
        assert health.asked == [("up", BEST)]
        assert made.probe is None

    def test_the_one_that_would_be_chosen_may_be_due_for_a_probe(self):
        health = Health({("up", BEST), ("up", MIDDLING)}, lent=("up", BEST))
        made = plan(catalog(), health)
        assert models(made) == [BEST, CHEAP]
        assert made.probe == key_of(made.attempts[0].offer)

    def test_one_that_would_not_be_chosen_is_not_asked_for(self):
        health = Health({("up", MIDDLING)}, lent=("up", MIDDLING))
        assert MIDDLING not in models(plan(catalog(), health))
        assert health.asked == []

    def test_a_plan_that_nobody_carries_out_borrows_nothing(self):
        health = Health({("up", BEST)}, lent=("up", BEST))
        assert BEST not in models(plan(catalog(), health, may_probe=False))
        assert models(plan(catalog(), health, may_probe=False, model=BEST)) == [BEST]
        assert health.asked == []

    def test_breakers_of_others_change_nothing(self):
        assert models(plan(catalog(), Health(also_open=True)))[0] == BEST

    def test_where_nothing_can_be_chosen_even_that_is_no_error(self, monkeypatch: pytest.MonkeyPatch):
        made = brain()
        monkeypatch.setattr(made, "decide", lambda _: None)
        assert models(plan(catalog(), Health({("up", BEST)}), made))[0] == CHEAP


class TestWithoutABrain:
    def test_the_cheapest_that_can_comes_first(self):
        made = plan(catalog(), made=Brain(), model="neo-mode/premium")
        assert models(made) == [CHEAP, MIDDLING, BEST]
        assert made.choice is not None
        assert (made.choice.rule, made.choice.policy) == ("selection_degraded", "premium")

    def test_one_that_cannot_take_the_prompt_is_left_out(self):
        long = [{"role": "user", "content": "word " * 10_000}]
        assert models(plan(catalog(), made=Brain(), messages=long)) == [MIDDLING, BEST]

    def test_nothing_to_call_is_an_error_that_says_so(self):
        with pytest.raises(ProviderUnavailable):
            plan(Catalog(1, {}, ()), made=Brain())

    def test_a_prompt_that_fits_nowhere_is_a_bad_request(self):
        tiny = catalog(**{CHEAP: [offer(CHEAP, 0, 16)]})
        with pytest.raises(BadRequest):
            plan(tiny, made=Brain(), messages=[{"role": "user", "content": "word " * 100}])


class TestNews:
    def test_a_model_that_is_not_known_yet_is_looked_for_once(self):
        def read_again(made: Brain) -> Catalog:
            found = catalog()
            made.ready = made.prepare(found)
            return found

        tiny = catalog(**{CHEAP: [offer(CHEAP, 0, 16)]})
        assert models(plan(tiny, newest=read_again))[0] == BEST
        with pytest.raises(BadRequest):
            plan(tiny, newest=lambda _: tiny)
        with pytest.raises(BadRequest):
            plan(tiny, newest=read_again, reasoning_effort="high")


class TestRetired:
    @pytest.fixture
    def retired(self) -> Catalog:
        old = RetiredModel("old/one", "One", date(2026, 1, 1), date(2026, 6, 1), successor=BEST)
        return replace(catalog(), retired={"old/one": old}, aliases={"old/one": "old/one"})

    def test_a_dearer_successor_answers_where_the_organization_wants_it(self, retired: Catalog):
        with pytest.raises(ModelRetired):
            plan(retired, model="old/one")
        made = plan(retired, preferences=Preferences(follows_successors=True), model="old/one")
        assert models(made) == [BEST]
        assert made.choice is None
