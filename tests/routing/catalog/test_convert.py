"""From facts to files: exact rows of a small sample, and the shipped files against the facts where they lie at hand."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from routing.actions.offer_prices import NEEDED
from routing.catalog import convert
from routing.catalog.convert import DATA, Facts, files_of, main, read_facts
from routing.catalog.shipped import read_providers, read_shipped

FACTS = Path(os.environ.get("KOMILION_MODEL_FACTS", "no-such-folder"))
HAND: dict[str, Any] = {
    "aliases": {"acme/large": ["big"]},
    "not_aliases": {"small-2026-02-01": "another"},
    "not_offered": [],
    "left_out": {"acme/audio": "no price path"},
    "weekdays_only": {},
    "retired": [],
    "voice": {
        "providers": ["openai", "deepgram", "acme"],
        "makers": {"acme": "acmeai"},
        "other_paths": ["deepgram"],
        "kinds": {"deepgram/aura": "speech"},
        "left_out": {"openai/left": "no reason"},
        "add_ons": {"deepgram": "deepgram/live/extra"},
        "names": {"openai/ear-1": "Ear"},
        "aliases": {"openai/ear-1": ["ear"]},
        "capabilities": {"openai/ear-1": ["translation"]},
    },
}


def model(name: str = "acme/large", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name.title(),
        "family": "acme",
        "status": "active",
        "context_length": 100_000,
        "max_output_tokens": 8_000,
        "modalities": {"input": ["image", "text"], "output": ["text"]},
        "supports": {"tools": True, "vision": True, "structured_output": False},
        "native": {"provider": "acme", "model": "acme-large-1"},
        "pricing": {"basis": "provider list price", "input": "0.000003", "output": "0.000015"},
        **more,
    }


def rows(*models: dict[str, Any], hand: dict[str, Any] = HAND) -> tuple[list[Any], list[Any]]:
    return convert.convert(Facts("2026-11-21", list(models), hand, frozenset({"acme", "openai", "openrouter"}), []))


def offers(*models: dict[str, Any], hand: dict[str, Any] = HAND) -> list[Any]:
    return rows(*models, hand=hand)[1]


def test_a_model_becomes_one_row_and_an_offer_of_its_maker() -> None:
    facts = model(
        release_date="2026-01-31",
        deprecation_date="2026-12-24",
        successor="acme/larger",
        successor_basis="named by the provider",
        line_head="acme/largest",
    )
    models, made = rows(facts)
    assert models == [
        {
            "id": "acme/large",
            "name": "Acme/Large",
            "family": "acme",
            "line": "acme/largest",
            "released": "2026-01-31",
            "deprecated": "2026-11-21",
            "sunset": "2026-12-24",
            "successor": "acme/larger",
            "successor_named_by": "provider",
            "inputs": ["image", "text"],
            "outputs": ["text"],
            "aliases": ["acme-large-1", "big"],
        }
    ]
    assert made == [
        {
            "model": "acme/large",
            "provider": "acme",
            "upstream": "acme-large-1",
            "context": 100_000,
            "max_output": 8_000,
            "capabilities": ["tools", "vision"],
            "prices": [{"price": {"input": "3", "output": "15"}}],
        }
    ]


def test_prices_are_exact_and_what_is_finer_than_a_nano_dollar_is_rounded_up() -> None:
    facts = model(
        pricing={"basis": "provider list price", "input": "0.0000000605", "output": "0.00000000000000000041"},
        openrouter_pricing={"input": "0.0000001", "output": "0.0000002", "cache_read": "0.000000041666666666666664"},
    )
    maker, market = offers(facts)
    assert maker["prices"] == [{"price": {"input": "0.0605", "output": "0.000000001"}}]
    assert market["prices"] == [{"price": {"input": "0.1", "cache_read": "0.041666667", "output": "0.2"}}]


def test_tiers_are_whole_prices_and_follow_to_the_market_in_proportion() -> None:
    tiers = {
        "input": [{"above_input_tokens": 200_000, "price": "0.000006"}],
        "output": [
            {"above_input_tokens": 200_000, "price": "0.00002"},
            {"above_input_tokens": 400_000, "price": "0.00003"},
        ],
        "cache_read": [{"above_input_tokens": 200_000, "price": "0.0000006"}],
    }
    pricing = {"basis": "provider list price", "input": "0.000003", "output": "0.000015", "cache_read": "0.0000003"}
    maker, market = offers(
        model(pricing={**pricing, "tiers": tiers}, openrouter_pricing={"input": "0.000001", "output": "0.000015"})
    )
    assert maker["prices"] == [
        {
            "price": {"input": "3", "cache_read": "0.3", "output": "15"},
            "tiers": [
                {"above": 200_000, "price": {"input": "6", "cache_read": "0.6", "output": "20"}},
                {"above": 400_000, "price": {"input": "6", "cache_read": "0.6", "output": "30"}},
            ],
        }
    ]
    assert market["prices"][0]["tiers"] == [
        {"above": 200_000, "price": {"input": "2", "output": "20"}},
        {"above": 400_000, "price": {"input": "2", "output": "30"}},
    ]


def test_a_schedule_keeps_its_dates_and_daily_windows_belong_to_what_holds() -> None:
    pricing = {"basis": "provider list price", "input": "0.000002", "output": "0.000002"}
    price = {"input": "0.000001", "output": "0.000001"}
    schedule = [
        {"from": None, **price},
        {"from": "2026-08-17", **pricing},
        {"from": "2027-01-01", "input": "0.000004", "output": "0.000001"},
        {"daily_utc": ["01:00", "04:00"], "input": "0.000005", "output": "0.000005"},
    ]
    facts = model(
        pricing=pricing, pricing_schedule=schedule, openrouter_pricing={"input": "0.000003", "output": "0.000002"}
    )
    maker, market = offers(facts, hand={**HAND, "weekdays_only": {"acme": "said so"}})
    assert maker["prices"] == [
        {"price": {"input": "1", "output": "1"}},
        {"from": "2026-08-17", "price": {"input": "2", "output": "2"}},
        {
            "from": "2026-08-17",
            "price": {"input": "5", "output": "5"},
            "utc": ["01:00", "04:00"],
            "mon_fri": True,
        },
        {"from": "2027-01-01", "price": {"input": "4", "output": "1"}},
    ]
    assert market["prices"] == [  # the announced rise of the input comes there too, the fall of the output does not
        {"price": {"input": "3", "output": "2"}},
        {"from": "2027-01-01", "price": {"input": "6", "output": "2"}},
    ]


def test_the_market_never_costs_less_than_what_it_passes_on() -> None:
    """Cache writes: the maker's where none is listed and they are dearer than input; storage alone is input too."""
    pricing = {"basis": "provider list price", "input": "0.000003", "output": "0.000015", "cache_write": "0.00000375"}
    market = {"input": "0.000003", "output": "0.000015"}
    _, listed_none = offers(model(pricing=pricing, openrouter_pricing=market))
    assert listed_none["prices"][0]["price"]["cache_write"] == "3.75"
    _, listed_storage = offers(model(openrouter_pricing={**market, "cache_write": "0.000000375"}))
    assert listed_storage["prices"][0]["price"]["cache_write"] == "3.375"
    cheap = {**pricing, "cache_write": "0.000002"}
    _, listed_none = offers(model(pricing=cheap, openrouter_pricing=market))
    assert "cache_write" not in listed_none["prices"][0]["price"]


@pytest.mark.parametrize(
    ("more", "providers"),
    [
        ({}, ["acme"]),
        ({"openrouter_pricing": {"input": "0.1", "output": "0.1"}}, ["acme", "openrouter"]),
        ({"native": {"provider": "nobody", "model": "x"}}, []),
        ({"endpoints": ["/v1/responses"]}, []),
        ({"endpoints": ["/v1/responses", "/v1/chat/completions"]}, ["acme"]),
        ({"pricing": {"basis": "OpenRouter list price", "input": "0.1", "output": "0.1"}}, []),
    ],
    ids=range(6),
)
def test_an_offer_needs_an_endpoint_for_chat_and_a_price_of_its_own(more: dict[str, Any], providers: list[str]) -> None:
    assert [offer["provider"] for offer in offers(model(**more))] == providers


def test_what_is_left_out_or_not_offered_by_hand_is_not_there() -> None:
    hand = {**HAND, "not_offered": [{"model": "acme/large", "provider": "acme"}]}
    assert rows(model("acme/audio")) == ([], [])
    assert offers(model(), hand=hand) == []


def test_capabilities_are_those_that_can_be_billed_and_nothing_unknown() -> None:
    audio = {"input": ["audio", "file", "text", "video"], "output": ["text"]}
    deaf = offers(model(modalities=audio, supports={"vision": True, "tools": None}))
    assert "capabilities" not in deaf[0]
    thinking = model(
        "openai/o9",
        native={"provider": "openai", "model": "o9"},
        supports={"reasoning": True, "structured_output": True},
        openrouter_pricing={"input": "0.1", "output": "0.1"},
        quirks={"supports_none_reasoning_effort": True, "supports_minimal_reasoning_effort": False, "x": 1},
    )
    maker, market = offers(thinking)
    assert maker["capabilities"] == ["json_schema", "max_completion_tokens", "no_sampling", "reasoning"]
    assert maker["quirks"] == {"efforts": ["none", "low", "medium", "high"], "facts": {"x": 1}}
    assert market["capabilities"] == ["json_schema", "reasoning"]
    assert market["quirks"] == {"facts": {"x": 1}}
    unsampled = offers(model(quirks={"supports_sampling_params": False, "reasoning_effort_levels": ["low"]}))[0]
    assert "no_sampling" in unsampled["capabilities"]
    assert unsampled["quirks"]["efforts"] == ["low"]


def test_an_unstated_longest_answer_is_a_moderate_one() -> None:
    assert offers(model(max_output_tokens=None))[0]["max_output"] == 32_768
    assert offers(model(max_output_tokens=None, context_length=4_096))[0]["max_output"] == 4_096


@pytest.mark.parametrize(
    ("name", "more", "aliases"),
    [
        ("openai/small", {"release_date": "2026-01-31"}, ["acme-large-1", "small-2026-01-31"]),
        ("openai/small", {"release_date": "2026-02-01"}, ["acme-large-1"]),
        ("anthropic/small", {"release_date": "2026-01-31"}, ["acme-large-1", "small-20260131"]),
        ("mistralai/small-2512", {}, ["acme-large-1", "small-latest"]),
        ("mistralai/small-2512", {"line_head": "mistralai/small-3"}, ["acme-large-1"]),
        ("acme/small", {"native": {"provider": "acme", "model": "SMALL"}}, []),
    ],
)
def test_names_come_from_makers_habits(name: str, more: dict[str, Any], aliases: list[str]) -> None:
    assert rows(model(name, **more))[0][0].get("aliases", []) == aliases


def test_what_ended_by_hand_has_a_row_its_last_price_and_its_names() -> None:
    ended = {
        "id": "acme/old",
        "name": "Old",
        "family": "acme",
        "line": "acme/large",
        "released": "2024-01-01",
        "deprecated": "2026-01-01",
        "sunset": "2026-02-01",
        "successor": "acme/large",
        "provider": "acme",
        "context": 1_000,
        "max_output": 100,
        "price": {"input": "1", "output": "2"},
        "source": "a page",
    }
    models, made = rows(hand={**HAND, "retired": [ended], "aliases": {"acme/old": ["ancient"]}})
    assert models[0]["aliases"] == ["ancient"]
    assert models[0]["sunset"] == "2026-02-01"
    assert made == [
        {
            "model": "acme/old",
            "provider": "acme",
            "upstream": "old",
            "context": 1_000,
            "max_output": 100,
            "prices": [{"price": {"input": "1", "output": "2"}}],
        }
    ]


def test_the_command_writes_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, data = tmp_path / "facts", tmp_path / "data"
    facts.mkdir()
    data.mkdir()
    (facts / "models.json").write_text(json.dumps({"as_of": "2026-11-21", "models": [model()]}))
    (facts / "other_models.json").write_text(json.dumps({"models": []}))
    assert main(["--from", str(facts), "--to", str(data)]) == 0
    assert sorted(path.name for path in data.iterdir()) == ["as_of.txt", "models.jsonl", "offers.jsonl"]
    assert "models.jsonl" in capsys.readouterr().out


@pytest.mark.skipif(not FACTS.is_dir(), reason="KOMILION_MODEL_FACTS names no folder of facts")
def test_the_shipped_files_are_what_the_facts_make() -> None:
    for name, text in files_of(read_facts(FACTS)).items():
        assert (DATA / name).read_text() == text, f"{name}: run python -m routing.catalog.convert again"


def test_the_shipped_files_hold_together() -> None:
    shipped = read_shipped(0)
    ids = {row.id for row in shipped.models}
    providers = {row.name for row in read_providers()}
    assert [row.id for row in shipped.models] == sorted(ids)
    assert {row.model for row in shipped.offers} == ids
    assert {row.provider for row in shipped.offers} <= providers
    assert all(row.line in ids and row.successor in {*ids, ""} for row in shipped.models)
    kinds = {row.id: row.kind for row in shipped.models}
    for offer in shipped.offers:
        assert kinds[offer.model] != "chat" or 1 <= offer.max_output <= offer.context
        for price in offer.prices:
            for components in (price.components, *(components for _, components in price.tiers)):
                assert any(set(needed) <= set(components) for needed in NEEDED[kinds[offer.model]])
                assert all(amount > 0 for amount in components.values())
                if kinds[offer.model] != "chat":
                    continue
                assert components.get("cache_write", components["input"]) >= components["input"]
