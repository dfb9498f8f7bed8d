"""Models that hear or speak: from the facts to rows."""

from typing import Any

import pytest

from routing.catalog.convert_voice import voice_rows
from tests.routing.catalog.test_convert import HAND

EAR: dict[str, Any] = {
    "id": "openai/ear-1",
    "provider": "openai",
    "mode": "audio_transcription",
    "deprecation_date": "2027-02-26",
    "supported_endpoints": ["/v1/audio/transcriptions"],
    "price": {"input_cost_per_second": "0.0001", "output_cost_per_second": "0.0001"},
}
TALKS: dict[str, Any] = {
    "id": "openai/talks-1",
    "provider": "openai",
    "mode": "realtime",
    "max_input_tokens": 32_000,
    "max_output_tokens": 4_096,
    "supported_endpoints": ["/v1/realtime"],
    "price": {
        "input_cost_per_token": "0.000004",
        "cache_read_input_audio_token_cost": "0.0000004",
        "input_cost_per_audio_token": "0.000032",
        "output_cost_per_token": "0.000016",
        "output_cost_per_audio_token": "0.000064",
    },
}
MOUTH: dict[str, Any] = {"id": "deepgram/aura", "provider": "deepgram", "mode": None, "price": {}}


def rows(*given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    return voice_rows(given, HAND["voice"], "2026-11-21")


def test_what_hears_is_paid_by_the_seconds_that_go_in() -> None:
    assert rows(EAR) == (
        [
            {
                "id": "openai/ear-1",
                "name": "Ear",
                "kind": "transcription",
                "family": "ear",
                "line": "openai/ear-1",
                "deprecated": "2026-11-21",
                "sunset": "2027-02-26",
                "aliases": ["ear"],
            }
        ],
        [
            {
                "model": "openai/ear-1",
                "provider": "openai",
                "upstream": "ear-1",
                "capabilities": ["translation"],
                "prices": [{"price": {"audio_ms": "0.1"}}],  # dollars per 1,000 s
            }
        ],
    )


def test_a_conversation_is_paid_by_tokens_of_each_sort() -> None:
    models, offers = rows(TALKS)
    assert models == [
        {"id": "openai/talks-1", "name": "talks-1", "kind": "realtime", "family": "talks", "line": "openai/talks-1"}
    ]
    assert (offers[0]["context"], offers[0]["max_output"]) == (32_000, 4_096)
    assert offers[0]["prices"] == [
        {"price": {"input": "4", "input_audio": "32", "cache_read_audio": "0.4", "output": "16", "output_audio": "64"}}
    ]


@pytest.mark.parametrize(
    ("price", "ours"),
    [
        ({"input_cost_per_character": "0.000015"}, {"characters": "15"}),
        ({"input_cost_per_second": "9", "output_cost_per_second": "0.00025"}, {"audio_ms": "0.25"}),
        ({"output_cost_per_second": "0.000283333333333"}, {"audio_ms": "0.283333334"}),
    ],
    ids=["by the character", "by the second that comes out", "rounded up to what a price can be"],
)
def test_what_speaks_is_paid_by_text_or_by_what_comes_out(price: dict[str, str], ours: dict[str, str]) -> None:
    assert rows({**MOUTH, "price": price})[1][0]["prices"] == [{"price": ours}]


def test_what_a_provider_finds_beside_the_words_has_the_price_of_the_row_that_is_named() -> None:
    ear = {**EAR, "id": "deepgram/ear", "provider": "deepgram"}
    extra = {**EAR, "id": "deepgram/live/extra", "provider": "deepgram", "mode": None}
    extra |= {"price": {"input_cost_per_second": "0.00003333"}}
    offers = rows(ear, extra, EAR)[1]
    price, other = (offer["prices"][0]["price"] for offer in offers)
    assert (price, other) == ({"audio_ms": "0.1", "add_on_ms": "0.03333"}, {"audio_ms": "0.1"})


@pytest.mark.parametrize(
    "row",
    [
        {**EAR, "provider": "nobody"},
        {**EAR, "mode": "embedding"},
        {**EAR, "mode": None},
        {**EAR, "id": "openai/left"},
        {**EAR, "supported_endpoints": ["/v1/listen"]},
        {**EAR, "supported_endpoints": None},
    ],
    ids=["a stranger's", "of another kind", "of no kind", "left out", "by another path", "by no path"],
)
def test_what_cannot_be_served_is_not_taken(row: dict[str, Any]) -> None:
    assert rows(row) == ([], [])


def test_a_maker_has_the_name_that_its_chat_models_bear() -> None:
    models, offers = rows({**EAR, "id": "acme/ear-1", "provider": "acme"})
    assert models[0]["id"] == offers[0]["model"] == "acmeai/ear-1"
    assert (offers[0]["provider"], offers[0]["upstream"]) == ("acme", "ear-1")
