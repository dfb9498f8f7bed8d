"""Which model a policy means, with the shipped catalogue."""

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from routing.catalog.snapshot import Catalog
from routing.gateway.choice.brain import Brain
from routing.gateway.choice.preferences import NO_PREFERENCES
from tests.routing.catalog.conftest import Shipped, shipped
from voice.realtime.engines import Answerer, answerer_for, estimated_per_minute

__all__ = ["shipped"]  # the fixture, of this file too

ANYTHING = SimpleNamespace(caller=SimpleNamespace(models_allowed=None, organization_id=1))
KEYS = ("OPENAI_API_KEY", "DEEPGRAM_API_KEY")


@pytest.mark.parametrize(
    ("policy", "model", "most_usd"),
    [
        ("premium", "openai/gpt-realtime-2.1", "0.15"),
        ("balanced", "openai/gpt-realtime-2.1-mini", "0.04"),
        ("frugal", "neo-mode/frugal", "0.012"),  # its voice alone costs 0.009
    ],
)
def test_the_best_the_cheapest_and_the_cascade(shipped: Shipped, policy: str, model: str, most_usd: str) -> None:
    catalog = shipped(keys=KEYS)
    answerer = answerer_for(catalog, policy, ANYTHING)
    assert answerer.model == model
    assert estimate(answerer, catalog) <= Decimal(most_usd) * 10**9


def test_where_nothing_can_be_chosen_a_minute_costs_what_it_may_cost_at_most(shipped: Shipped) -> None:
    catalog = shipped(keys=KEYS)
    answerer = answerer_for(catalog, "frugal", ANYTHING)
    chosen = estimate(answerer, catalog)
    unreadable = estimate(answerer, catalog, instructions="word " * 2_000_000)  # more than any model takes
    assert unreadable == answerer.per_minute_nano > chosen


def estimate(answerer: Answerer, catalog: Catalog, **config: Any) -> int:
    """Nano-USD a minute, with the choice that a process makes."""
    brain = Brain()
    brain.ready = brain.prepare(catalog)
    services = SimpleNamespace(
        catalog=catalog,
        breakers=SimpleNamespace(any_open=False),
        learning=SimpleNamespace(brain=brain, keep=AsyncMock()),
        preferences=SimpleNamespace(of=AsyncMock(return_value=NO_PREFERENCES)),
        fresh_catalog=AsyncMock(return_value=catalog),
    )
    return asyncio.run(estimated_per_minute(answerer, services, ANYTHING, {"type": "realtime", **config}))


def test_without_a_key_every_policy_is_the_cascade_on_this_machine(shipped: Shipped) -> None:
    for policy in ("premium", "balanced", "frugal"):
        answerer = answerer_for(shipped(keys=()), policy, ANYTHING)
        assert answerer.model == f"neo-mode/{policy}"
        assert len(answerer.engines) == 1
