"""Models that have ended: where a caller is moved to, what it may cost, and when they end."""

from datetime import UTC, date, datetime

import pytest
import time_machine
from django.core.management import call_command

from billing.prices import PriceVersion
from komilion.common.errors import ModelNotServed, ModelRetired
from routing.catalog.compare import costs_no_more
from routing.catalog.load import read_catalog
from routing.catalog.resolve import resolve
from tests.routing.catalog.conftest import AS_OF, Shipped

LATER = datetime(2027, 1, 15, tzinfo=UTC)


def test_a_retired_model_moves_to_a_successor_that_costs_no_more(shipped: Shipped) -> None:
    found = resolve(shipped(), "claude-sonnet-4-20250514")
    assert found.model.id == "anthropic/claude-sonnet-4.6"
    assert found.moved_from is not None
    assert found.moved_from.id == "anthropic/claude-sonnet-4"
    assert found.moved_from.sunset_on.isoformat() == "2026-06-15"


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("grok-4.1-fast", "x-ai/grok-4.3"),
        ("x-ai/grok-4.1-fast", "x-ai/grok-4.3"),
        ("grok-4-1-fast-reasoning", "x-ai/grok-4.3"),
        ("deepseek-chat", "deepseek/deepseek-v4-flash"),
        ("deepseek-reasoner", "deepseek/deepseek-v4-flash"),
        ("o4-mini", "openai/gpt-5.6-terra"),
    ],
)
def test_a_dearer_successor_is_named_and_taken_only_where_it_may_cost_more(
    shipped: Shipped, name: str, successor: str
) -> None:
    with pytest.raises(ModelRetired, match=f"Its successor is {successor}, which may cost more"):
        resolve(shipped(), name)
    found = resolve(shipped(), name, may_cost_more=True)
    assert found.model == shipped().models[successor]
    assert found.moved_from is not None


def test_a_retired_model_without_a_successor_says_so_little(shipped: Shipped) -> None:
    for may_cost_more in (False, True):
        with pytest.raises(ModelRetired, match=r"openai/gpt-4\.1-nano was retired on 2026-10-23\.$"):
            resolve(shipped(), "gpt-4.1-nano", may_cost_more=may_cost_more)


def test_a_successor_that_nobody_serves_here_is_named_as_such(shipped: Shipped) -> None:
    with pytest.raises(ModelRetired, match=r"x-ai/grok-4\.3, which is not served here"):
        resolve(shipped(keys=("OPENAI_API_KEY",)), "grok-4.1-fast", may_cost_more=True)


def test_a_model_ends_by_the_clock_and_the_picture_expires_with_it(shipped: Shipped) -> None:
    before, after = shipped(), shipped(at=LATER)
    assert before.models["openai/gpt-5"].status == "deprecated"
    assert before.models["openai/gpt-5"].sunset_on is not None
    assert before.models["openai/gpt-6-sol"].status == "active"
    assert "openai/gpt-5" not in after.models
    assert after.retired["openai/gpt-5"].successor == "openai/gpt-6.1-sol"
    assert before.expires_s <= datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    assert AS_OF.timestamp() < before.expires_s


def test_only_offers_that_cost_no_more_take_over(shipped: Shipped) -> None:
    """gpt-4.1 moves to the far cheaper gpt-6-luna, at either provider."""
    found = resolve(shipped(at=LATER), "gpt-4.1")
    assert found.model.id == "openai/gpt-6-luna"
    assert [offer.provider for offer in found.model.offers] == ["openai", "openrouter"]


@pytest.mark.django_db
def test_a_chain_of_ended_models_leads_to_one_that_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    from routing.catalog.models import Model

    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-test")
    call_command("catalog_seed", verbosity=0)
    Model.objects.filter(pk="anthropic/claude-sonnet-4.6").update(sunset_on=date(2026, 9, 1))
    with time_machine.travel(AS_OF):
        catalog = read_catalog()
    assert resolve(catalog, "claude-sonnet-4").model.id == "anthropic/claude-sonnet-5"
    Model.objects.filter(pk="anthropic/claude-sonnet-5").update(
        sunset_on=date(2026, 9, 1), successor="anthropic/claude-sonnet-4"
    )  # a ring
    with time_machine.travel(AS_OF), pytest.raises(ModelRetired, match=r"anthropic/claude-sonnet-4\.6, which is not"):
        resolve(read_catalog(), "claude-sonnet-4", may_cost_more=True)


def test_a_model_whose_providers_have_no_key_is_known_but_not_served(
    shipped: Shipped, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = shipped(keys=("OPENAI_API_KEY",))
    with caplog.at_level("INFO"), pytest.raises(ModelNotServed) as refused:
        resolve(catalog, "grok-4.7")
    assert "XAI_API_KEY" not in refused.value.message
    assert "OPENROUTER_API_KEY" not in refused.value.message
    assert caplog.records[-1].set_one_of == ["XAI_API_KEY", "OPENROUTER_API_KEY"]
    assert resolve(catalog, "gpt-6-sol").model.offers[0].provider == "openai"


def price(components: dict[str, int], *tiers: tuple[int, dict[str, int]], fee: int = 2_500) -> PriceVersion:
    return PriceVersion(1, components, tiers, fee)


@pytest.mark.parametrize(
    ("new", "old", "fits"),
    [
        (price({"input": 2, "output": 8}), price({"input": 2, "output": 8}), True),
        (price({"input": 1, "output": 9}), price({"input": 2, "output": 8}), False),
        (price({"input": 2, "output": 8, "cache_read": 1}), price({"input": 2, "output": 8}), True),
        (price({"input": 2, "output": 8, "cache_write": 3}), price({"input": 2, "output": 8}), False),
        (price({"input": 2, "output": 8}), price({"input": 2, "output": 8, "cache_read": 1}), False),
        (price({"input": 2, "output": 8, "input_audio": 9}), price({"input": 2, "output": 8}), True),
        (price({"input": 2, "output": 8}), price({"input": 2, "output": 8, "web_searches": 9}), True),
        (price({"input": 2}, (100, {"input": 4})), price({"input": 2}), False),
        (price({"input": 2}, (100, {"input": 4})), price({"input": 2}, (200, {"input": 4})), False),
        (price({"input": 2}, (200, {"input": 4})), price({"input": 2}, (100, {"input": 4})), True),
        (price({"input": 2}), price({"input": 2}, (100, {"input": 1})), False),
        (price({"input": 4}, fee=0), price({"input": 4}), True),
        (price({"input": 4}), price({"input": 4}, fee=0), False),
    ],
    ids=range(13),
)
def test_a_price_costs_no_more_where_no_component_is_higher_in_any_tier(
    new: PriceVersion, old: PriceVersion, fits: bool
) -> None:
    assert costs_no_more(new, old) is fits
