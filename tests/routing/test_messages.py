"""Every kind of turn: which are forwarded untouched, which are refused, and how the field is named."""

import json
from typing import Any

import pytest

from tests.routing.parsing import CALL, HELLO, parse, refused_param


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": ""},
        {"role": "developer", "content": "x", "name": "ops"},
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "x", "name": None, "odd": 1},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": "x", "tool_calls": None, "refusal": None, "audio": None, "annotations": []},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "refusal": "no", "tool_calls": []},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}}]},
    ],
    ids=range(11),
)
def test_sound_turns_are_forwarded_untouched(message: dict[str, Any]) -> None:
    copy = json.loads(json.dumps(message))

    assert parse(messages=[message]).messages == [copy]


def user_part(part: Any) -> dict[str, Any]:
    return {"role": "user", "content": [part]}


def image(url: Any) -> dict[str, Any]:
    return user_part({"type": "image_url", "image_url": {"url": url}})


def calls(*given: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(given)}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("x", ""),
        ({"content": "x"}, ".role"),
        ({"role": "robot", "content": "x"}, ".role"),
        ({"role": ["user"], "content": "x"}, ".role"),
        ({"role": "user"}, ".content"),
        ({"role": "user", "content": None}, ".content"),
        ({"role": "user", "content": 5}, ".content"),
        ({"role": "user", "content": []}, ".content"),
        ({"role": "user", "content": "x", "name": 5}, ".name"),
        ({"role": "assistant", "content": None}, ".content"),
        ({"role": "assistant", "tool_calls": []}, ".content"),
        ({"role": "assistant", "content": "x", "refusal": 5}, ".refusal"),
        ({"role": "assistant", "content": "x", "audio": {"id": "audio_1"}}, ".audio"),
        ({"role": "assistant", "tool_calls": "x"}, ".tool_calls"),
        (calls(*[CALL] * 129), ".tool_calls"),
        (calls("x"), ".tool_calls[0]"),
        (calls(CALL, {**CALL, "id": None}), ".tool_calls[1].id"),
        (calls({**CALL, "type": "x"}), ".tool_calls[0].type"),
        (calls({"id": "c"}), ".tool_calls[0].function"),
        (calls({"id": "c", "function": {"name": "a.b", "arguments": ""}}), ".tool_calls[0].function.name"),
        (calls({"id": "c", "function": {"name": "f", "arguments": {}}}), ".tool_calls[0].function.arguments"),
        (calls({"id": "c", "type": "custom", "custom": {"name": "f"}}), ".tool_calls[0].custom.input"),
        ({"role": "assistant", "function_call": {"name": "f"}}, ".function_call.arguments"),
        ({"role": "tool", "content": "x"}, ".tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, ".tool_call_id"),
        ({"role": "tool", "tool_call_id": "c"}, ".content"),
        ({"role": "function", "content": "x"}, ".name"),
        (user_part("x"), ".content[0]"),
        (user_part({"text": "x"}), ".content[0].type"),
        (user_part({"type": "video_url"}), ".content[0].type"),
        (user_part({"type": "text"}), ".content[0].text"),
        (user_part({"type": "refusal"}), ".content[0].refusal"),
        (user_part({"type": "image_url", "image_url": "https://x"}), ".content[0].image_url"),
        (
            user_part({"type": "image_url", "image_url": {"url": "https://x", "detail": "x"}}),
            ".content[0].image_url.detail",
        ),
        (image("http://example.com/a.png"), ".content[0].image_url.url"),
        (image("file:///etc/passwd"), ".content[0].image_url.url"),
        (image("https://"), ".content[0].image_url.url"),
        (image("https://a b"), ".content[0].image_url.url"),
        (image("https://a/" + "x" * 8_192), ".content[0].image_url.url"),
        (image("data:text/html;base64,AA"), ".content[0].image_url.url"),
        (image("data:image/png,AA"), ".content[0].image_url.url"),
        (image(None), ".content[0].image_url.url"),
        (user_part({"type": "input_audio"}), ".content[0].input_audio"),
        (user_part({"type": "input_audio", "input_audio": {"data": "x"}}), ".content[0].input_audio.format"),
        (user_part({"type": "file", "file": {"file_id": "file-1"}}), ".content[0].file.file_id"),
        (user_part({"type": "file", "file": {}}), ".content[0].file.file_data"),
        (user_part({"type": "file", "file": {"file_data": "x", "filename": 5}}), ".content[0].file.filename"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_wrong_turns_are_refused_by_the_path_of_the_field(message: Any, param: str) -> None:
    assert refused_param(messages=[*HELLO, message]) == "messages[1]" + param


def test_too_many_turns_are_refused() -> None:
    assert parse(messages=HELLO * 10_000)
    assert refused_param(messages=HELLO * 10_001) == "messages"
