"""What may be chosen at all, and what an empty set is answered with."""

from datetime import date, timedelta

import pytest

from komilion.common.errors import BadRequest, ContextLengthExceeded, ModelNotAllowed, ProviderUnavailable
from routing.selection.filters import FILTERS, Filtered, Needs, feasible, require_some
from routing.selection.market import Market
from tests.routing.selection.stand_ins import ALL_CAPABILITIES, TODAY, Row, market

TEXT_ONLY: frozenset[str] = frozenset()


@pytest.fixture
def three() -> Market:
    """A small model that only writes, a large one that only writes, a middling one that does everything."""
    return market(
        Row("a/small", context=8_000, capabilities=TEXT_ONLY),
        Row("b/large", context=1_000_000, capabilities=TEXT_ONLY),
        Row("c/able", "alpha", context=128_000),
        Row("c/able", "beta", context=32_000, capabilities=ALL_CAPABILITIES | {"reasoning"}),
    )


def ids(filtered: Filtered) -> set[str]:
    """Models with a feasible offer."""
    bits = filtered.market.offer_bits
    return {model.id for model, offers in zip(filtered.market.models, bits, strict=True) if offers & filtered.bits}


def test_a_request_that_asks_for_nothing_special_can_go_anywhere(three: Market) -> None:
    assert ids(feasible(three, Needs(100))) == {"a/small", "b/large", "c/able"}
    assert feasible(three, Needs(100)).reasons() == {}


def test_context_counts_the_input_and_the_output_asked_for(three: Market) -> None:
    filtered = feasible(three, Needs(100_000, 31_072))
    assert ids(filtered) == {"b/large"}
    assert filtered.reasons() == {
        "a/small": "filtered: context 131072 > 8000",
        "c/able": "filtered: context 131072 > 128000",
    }
    assert ids(feasible(three, Needs(96_928, 31_072))) == {"b/large", "c/able"}


def test_an_output_that_is_not_limited_needs_a_little_room(three: Market) -> None:
    assert "a/small" in ids(feasible(three, Needs(8_000 - 256)))
    assert "a/small" not in ids(feasible(three, Needs(8_000 - 255)))


@pytest.mark.parametrize(
    ("capability", "words"),
    [
        ("tools", "no tools"),
        ("vision", "no image input"),
        ("json_schema", "no JSON schema output"),
        ("reasoning", "no reasoning"),
    ],
)
def test_what_a_model_cannot_do_filters_it(three: Market, capability: str, words: str) -> None:
    filtered = feasible(three, Needs(100, capabilities=frozenset({capability})))
    assert ids(filtered) == {"c/able"}
    assert filtered.reasons() == {"a/small": f"filtered: {words}", "b/large": f"filtered: {words}"}


def test_one_offer_must_pass_every_filter(three: Market) -> None:
    """One offer reasons and is too small, the other is large enough and does not reason."""
    filtered = feasible(three, Needs(100_000, capabilities=frozenset({"reasoning"})))
    assert ids(filtered) == set()
    assert filtered.reasons()["c/able"] == "filtered: no reasoning"


def test_only_models_that_the_key_may_call(three: Market) -> None:
    filtered = feasible(three, Needs(100, allowed=frozenset({"b/large", "z/unknown"})))
    assert ids(filtered) == {"b/large"}
    assert filtered.reasons()["a/small"] == "filtered: not allowed by the key"


def test_an_open_breaker_takes_its_offer_away_and_the_model_with_its_last_one(three: Market) -> None:
    one = feasible(three, Needs(100, open_offers=frozenset({("alpha", "c/able"), ("alpha", "z/unknown")})))
    assert ids(one) == {"a/small", "b/large", "c/able"}
    both = feasible(three, Needs(100, open_offers=frozenset({("alpha", "c/able"), ("beta", "c/able")})))
    assert ids(both) == {"a/small", "b/large"}
    assert both.reasons() == {"c/able": "filtered: its provider is failing"}


def test_remembered_sets_are_bounded(monkeypatch: pytest.MonkeyPatch, three: Market) -> None:
    monkeypatch.setattr("routing.selection.market.SETS_KEPT", 2)
    for number in range(5):
        allowed = frozenset({"a/small", f"z/{number}"})
        breaker = frozenset({("alpha", "b/large"), ("alpha", f"z/{number}")})
        assert ids(feasible(three, Needs(1, allowed=allowed))) == {"a/small"}
        assert ids(feasible(three, Needs(1, open_offers=breaker))) == {"a/small", "c/able"}
    assert len(three._allowed) <= 2
    assert len(three._named) <= 2


def test_a_model_is_no_candidate_from_its_last_day_on() -> None:
    rows = (Row("a/going"), Row("b/staying"))
    assert set(market(*rows, ends={"a/going": TODAY}).index) == {"b/staying"}
    assert set(market(*rows, ends={"a/going": TODAY + timedelta(days=1)}).index) == {"a/going", "b/staying"}
    assert set(market(*rows, ends={"a/going": date(2020, 1, 1)}).index) == {"b/staying"}


def test_something_left_is_no_error(three: Market) -> None:
    require_some(feasible(three, Needs(100)))


def test_too_long_for_every_model_is_400_with_both_numbers(three: Market) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        require_some(feasible(three, Needs(2_000_000, 1_000)))
    assert "2001000" in caught.value.message
    assert "1000000" in caught.value.message
    assert caught.value.extra == {"filters": ["context"]}


def test_filters_that_are_only_together_at_fault_are_all_named(three: Market) -> None:
    with pytest.raises(BadRequest) as caught:
        require_some(feasible(three, Needs(500_000, capabilities=frozenset({"tools"}))))
    assert caught.value.extra == {"filters": ["context", "tools"]}
    assert caught.value.param == "tools"


def test_a_filter_that_would_not_matter_alone_is_not_blamed(three: Market) -> None:
    """Nothing has audio; tools are there."""
    with pytest.raises(BadRequest) as caught:
        require_some(feasible(three, Needs(100, capabilities=frozenset({"tools", "audio"}))))
    assert caught.value.extra == {"filters": ["audio"]}


def test_the_catalogue_could_and_the_key_may_not_is_403(three: Market) -> None:
    needs = Needs(100, capabilities=frozenset({"tools"}), allowed=frozenset({"a/small"}))
    with pytest.raises(ModelNotAllowed) as caught:
        require_some(feasible(three, needs))
    assert caught.value.extra == {"filters": ["tools", "allowed"]}


def test_only_open_breakers_in_the_way_is_503(three: Market) -> None:
    needs = Needs(500_000, open_offers=frozenset({("alpha", "b/large")}), allowed=frozenset({"b/large", "a/small"}))
    with pytest.raises(ProviderUnavailable) as caught:
        require_some(feasible(three, needs))
    assert "breaker" in caught.value.extra["filters"]


def test_an_empty_catalogue_is_503() -> None:
    with pytest.raises(ProviderUnavailable):
        require_some(feasible(market(), Needs(100)))


def test_receipts_hold_positions_so_the_order_of_the_filters_stays() -> None:
    assert [rule.name for rule in FILTERS] == [
        *("context", "tools", "vision", "json_schema", "reasoning", "audio", "files", "allowed", "breaker"),
    ]
