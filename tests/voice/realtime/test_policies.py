"""Which model a policy means, with the shipped catalogue."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from tests.routing.catalog.conftest import Shipped, shipped
from voice.realtime.engines import answerer_for

__all__ = ["shipped"]  # the fixture, of this file too

ANYTHING = SimpleNamespace(caller=SimpleNamespace(models_allowed=None))
KEYS = ("OPENAI_API_KEY", "DEEPGRAM_API_KEY")


@pytest.mark.parametrize(
    ("policy", "model", "most_usd"),
    [
        ("premium", "openai/gpt-realtime-2.1", "0.15"),
        ("balanced", "openai/gpt-realtime-2.1-mini", "0.04"),
        ("frugal", "neo-mode/frugal", "0.011"),  # its voice alone costs 0.009
    ],
)
def test_the_best_the_cheapest_and_the_cascade(shipped: Shipped, policy: str, model: str, most_usd: str) -> None:
    answerer = answerer_for(shipped(keys=KEYS), policy, ANYTHING)
    assert answerer.model == model
    assert answerer.per_minute_nano <= Decimal(most_usd) * 10**9


def test_without_a_key_every_policy_is_the_cascade_on_this_machine(shipped: Shipped) -> None:
    for policy in ("premium", "balanced", "frugal"):
        answerer = answerer_for(shipped(keys=()), policy, ANYTHING)
        assert answerer.model == f"neo-mode/{policy}"
        assert len(answerer.engines) == 1
