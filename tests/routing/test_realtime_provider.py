"""Reading what a realtime provider reports: every token in one bucket, and nonsense is no figure at all."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komilion.common.usage import Usage
from routing.providers.base import Target
from routing.providers.realtime import response_usage, transcription_usage, upstream_headers, upstream_url

TARGET = Target("https://api.example.com/v1", "sk-key", "gpt-realtime-2.1", frozenset())


def reported(**changes: Any) -> dict[str, Any]:
    """A response whose usage is that of the API's own documentation, with changes."""
    usage = {
        "total_tokens": 253,
        "input_tokens": 132,
        "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119,
            "audio_tokens": 13,
            "image_tokens": 0,
            "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
    }
    return {"usage": {**usage, **changes}}


def test_the_address_is_that_of_the_base_url_over_a_web_socket() -> None:
    assert upstream_url(TARGET) == "wss://api.example.com/v1/realtime?model=gpt-realtime-2.1"
    local = Target("http://127.0.0.1:8000/v1", "x", "a/b c", frozenset())
    assert upstream_url(local) == "ws://127.0.0.1:8000/v1/realtime?model=a%2Fb%20c"


def test_the_handshake_carries_the_key_and_nothing_of_the_beta() -> None:
    assert upstream_headers(TARGET) == {"Authorization": "Bearer sk-key"}


def test_cached_tokens_are_taken_out_of_the_others() -> None:
    assert response_usage(reported()) == Usage(
        input=59, cache_read=60, input_audio=9, cache_read_audio=4, output=30, output_audio=91
    )


def test_pictures_have_buckets_of_their_own() -> None:
    details = {
        "audio_tokens": 0,
        "image_tokens": 100,
        "cached_tokens": 40,
        "cached_tokens_details": {"image_tokens": 40},
    }
    usage = response_usage(reported(input_token_details=details))
    assert usage == Usage(input=32, input_image=60, cache_read_image=40, output=30, output_audio=91)


def test_what_the_details_leave_out_is_text() -> None:
    usage = response_usage({"usage": {"input_tokens": 10, "output_tokens": 5}})
    assert usage == Usage(input=10, output=5)


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete", "failed"])
def test_the_status_changes_nothing(status: str) -> None:
    assert response_usage({**reported(), "status": status}) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens": None},
        {"output_tokens": None},
        {"input_tokens": -1},
        {"input_tokens": True},
        {"input_tokens": 1.5},
        {"input_tokens": "132"},
        {"input_tokens": 2**31 + 1},
        {"input_tokens": 2_000_000},
        {"output_tokens": 200_000},
        {"input_tokens": 12},  # below its own details
        {
            "input_token_details": {
                "audio_tokens": 10,
                "cached_tokens": 20,
                "cached_tokens_details": {"audio_tokens": 11},
            }
        },
        {"input_token_details": {"cached_tokens": 200}},
        {"input_token_details": {"cached_tokens": 1, "cached_tokens_details": {"audio_tokens": 2}}},
        {"input_token_details": []},
        {"output_token_details": {"audio_tokens": 122}},
    ],
)
def test_figures_that_cannot_be_are_no_figures(changes: dict[str, Any]) -> None:
    assert response_usage(reported(**changes)) is None


@pytest.mark.parametrize("usage", [None, {}, [], "much", 5])
def test_no_usage_is_none_and_never_nothing(usage: Any) -> None:
    assert response_usage({"usage": usage}) is None
    assert response_usage({}) is None


@given(text=st.integers(0, 9_999), audio=st.integers(0, 9_999), image=st.integers(0, 9_999), data=st.data())
def test_no_token_is_lost_or_counted_twice(text: int, audio: int, image: int, data: st.DataObject) -> None:
    cached = [data.draw(st.integers(0, most)) for most in (text, audio, image)]
    names = ("text_tokens", "audio_tokens", "image_tokens")
    details = dict(zip(names, (text, audio, image), strict=True))
    details |= {"cached_tokens": sum(cached), "cached_tokens_details": dict(zip(names, cached, strict=True))}
    total = text + audio + image
    usage = response_usage({"usage": {"input_tokens": total, "output_tokens": 7, "input_token_details": details}})
    assert usage is not None
    assert usage.total_input == total
    assert usage.cache_read + usage.cache_read_audio + usage.cache_read_image == sum(cached)


def test_a_transcription_is_told_in_tokens_or_by_time() -> None:
    details = {"text_tokens": 2, "audio_tokens": 10}
    tokens = {
        "type": "tokens",
        "input_tokens": 12,
        "output_tokens": 4,
        "total_tokens": 16,
        "input_token_details": details,
    }
    assert transcription_usage(tokens) == Usage(input=2, input_audio=10, output=4)
    assert transcription_usage({"type": "duration", "seconds": 2.5}) == Usage(audio_ms=2_500)
    assert transcription_usage({"type": "duration", "seconds": 0.0001}) == Usage(audio_ms=1)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        {},
        {"type": "words", "words": 3},
        {"type": "duration"},
        {"type": "duration", "seconds": -1},
        {"type": "duration", "seconds": float("nan")},
        {"type": "duration", "seconds": True},
        {"type": "tokens", "input_tokens": 5},
        {"type": "tokens", "input_tokens": 5, "output_tokens": 1, "input_token_details": {"audio_tokens": 6}},
    ],
)
def test_a_transcription_whose_usage_is_nonsense_has_none(usage: Any) -> None:
    assert transcription_usage(usage) is None
