"""Providers' usage -> disjoint buckets; what cannot be true is unreadable and never 0."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.usage import Usage
from routing.providers.usage import read_usage, usage_at_end, usage_of_chunk

PLAIN = {"prompt_tokens": 25, "completion_tokens": 150, "total_tokens": 175}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, Usage(input=25, output=150)),
        ({"prompt_tokens_details": None, "completion_tokens_details": None}, Usage(input=25, output=150)),
        (
            {"prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5, "audio_tokens": 2}},
            Usage(input=8, cache_read=10, cache_write=5, input_audio=2, output=150),
        ),
        ({"prompt_tokens_details": {"cached_tokens": None}}, Usage(input=25, output=150)),
        ({"prompt_cache_hit_tokens": 20, "prompt_cache_miss_tokens": 5}, Usage(input=5, cache_read=20, output=150)),
        ({"cached_tokens": 20}, Usage(input=5, cache_read=20, output=150)),
        (
            {"cached_tokens": 20, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(input=21, cache_read=4, output=150),
        ),
        (
            {"completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 30}},
            Usage(input=25, output=120, output_audio=30, reasoning=100),
        ),
        (
            {"total_tokens": 475, "completion_tokens_details": {"reasoning_tokens": 300}},
            Usage(input=25, output=450, reasoning=300),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
        ({"prompt_tokens": 2**31}, Usage(input=2**31, output=150)),
    ],
    ids=[
        "plain",
        "null details",
        "input details",
        "null detail",
        "DeepSeek",
        "Moonshot",
        "the detail goes before the top",
        "output details",
        "xAI: reasoning beside the completion",
        "zero is a figure",
        "the largest figure",
    ],
)
def test_every_token_stands_in_one_bucket(more: dict[str, Any], expected: Usage) -> None:
    raw = {**PLAIN, **more}

    report = read_usage(raw)

    assert report is not None
    assert report.usage == expected
    assert report.raw is raw


@pytest.mark.parametrize(
    "more",
    [
        {"prompt_tokens": None},
        {"completion_tokens": None},
        {"prompt_tokens": True},
        {"prompt_tokens": -1},
        {"prompt_tokens": 2**31 + 1},
        {"completion_tokens": "150"},
        {"completion_tokens": 150.0},
        {"prompt_tokens_details": {"cached_tokens": 26}},
        {"prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 6}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens_details": {"cached_tokens": False}},
        {"prompt_tokens_details": [1]},
        {"cached_tokens": "20"},
        {"completion_tokens_details": {"reasoning_tokens": 151}},
        {"completion_tokens_details": {"audio_tokens": 151}},
        {"completion_tokens_details": "none"},
    ],
    ids=str,
)
def test_what_cannot_be_true_is_unreadable(more: dict[str, Any]) -> None:
    report = read_usage({**PLAIN, **more})

    assert report is not None
    assert report.usage is None


@pytest.mark.parametrize("raw", [[], [1], "none", 5, True], ids=str)
def test_what_is_no_object_is_unreadable(raw: Any) -> None:
    report = read_usage(raw)

    assert report is not None
    assert report.usage is None
    assert report.raw == raw


@pytest.mark.parametrize("raw", [None, {}], ids=str)
def test_no_usage_is_no_report(raw: Any) -> None:
    assert read_usage(raw) is None


def test_missing_totals_are_unreadable() -> None:
    report = read_usage({"total_tokens": 5})

    assert report is not None
    assert report.usage is None


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [], "usage": PLAIN},
        {"choices": [{"index": 0, "usage": PLAIN}], "usage": None},
        {"choices": [], "x_groq": {"id": "req_1", "usage": PLAIN}},
    ],
    ids=["OpenAI", "Moonshot", "Groq"],
)
def test_a_chunk_has_its_usage_in_one_of_three_places(chunk: dict[str, Any]) -> None:
    report = usage_of_chunk(chunk)

    assert report is not None
    assert report.usage == Usage(input=25, output=150)


@pytest.mark.parametrize(
    "chunk", [{}, {"usage": None}, {"choices": [7], "x_groq": {"id": "req_1"}}, {"choices": "x"}], ids=str
)
def test_a_chunk_may_have_no_usage(chunk: dict[str, Any]) -> None:
    assert usage_of_chunk(chunk) is None


units = st.one_of(st.integers(-5, 2**31 + 5), st.none(), st.booleans(), st.floats(), st.text(max_size=3))
details = st.one_of(
    st.none(),
    units,
    st.dictionaries(
        st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens"]), units
    ),
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"prompt_tokens": units, "completion_tokens": units},
        optional={
            "total_tokens": units,
            "cached_tokens": units,
            "prompt_cache_hit_tokens": units,
            "prompt_tokens_details": details,
            "completion_tokens_details": details,
        },
    )
)
def test_a_readable_report_never_has_a_negative_bucket_and_keeps_the_totals(raw: dict[str, Any]) -> None:
    report = read_usage(raw)

    assert report is not None
    if report.usage is not None:
        assert all(units > 0 for units in report.usage.buckets().values())
        assert report.usage.total_input == raw["prompt_tokens"]
        assert report.usage.total_output in (
            raw["completion_tokens"],
            raw["completion_tokens"] + report.usage.reasoning,
        )


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b'\\"usage\\": {}}}], "usage" :\n {"prompt_tokens": 25, "completion_tokens": 150}, "tier": "\xff"}', True),
        (b'"}}], "usage": {"prompt_tokens": 25, "compl', False),
        (b'"usage": null}', False),
        (b"no such thing", False),
        (b"", False),
    ],
)
def test_the_usage_of_an_answer_of_which_only_the_end_is_kept(tail: bytes, expected: bool) -> None:
    report = usage_at_end(tail)
    assert (report is not None and report.usage == Usage(input=25, output=150)) == expected
    assert (report is not None) == expected
