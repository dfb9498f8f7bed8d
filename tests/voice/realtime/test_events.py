"""Client events: what is forwarded without being read, what is read and checked, and what is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komilion.common.errors import BadRequest
from voice.realtime.events import append_audio, parse_client_event

AUDIO = "UklGRgAA"


def parse(event: Any) -> dict[str, Any]:
    """The event as it goes on."""
    return parse_client_event(json.dumps(event))[0]


def refusal(event: Any) -> BadRequest:
    """Why it does not."""
    with pytest.raises(BadRequest) as refused:
        parse(event)
    return refused.value


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"input_audio_buffer.append","audio":"%s"}',
        '{"type": "input_audio_buffer.append", "audio": "%s"}',
        ' {\n "audio" : "%s" , "type" : "input_audio_buffer.append" } ',
        '{"event_id":"e-1","type":"input_audio_buffer.append","audio":"%s"}',
        '{"type":"input_audio_buffer.append","event_id":"e.1","audio":"%s"}',
        '{"type":"input_audio_buffer.append","audio":"%s","event_id":"e_1"}',
        '{"event_id":"e_1","audio":"%s","type":"input_audio_buffer.append"}',
        '{"audio":"%s","type":"input_audio_buffer.append","event_id":"e_1"}',
    ],
)
def test_a_piece_of_audio_is_recognised_however_it_is_written(text: str) -> None:
    assert append_audio(text % AUDIO) == len(AUDIO)
    assert append_audio(text % "AAA=") == 4
    assert append_audio(text % "") == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"input_audio_buffer.append","audio":"AA"}x',
        '{"type":"input_audio_buffer.append","audio":"A-_A"}',
        '{"type":"input_audio_buffer.append","audio":"AA===A"}',
        '{"type":"input_audio_buffer.append","audio":"A\\u0041"}',
        '{"type":"input_audio_buffer.append","audio":"AA","audio":"BB"}',
        '{"type":"input_audio_buffer.append","audio":"AA","more":1}',
        '{"type":"input_audio_buffer.append","audio":"AA","event_id":"a\\"b"}',
        '{"event_id":"a","type":"input_audio_buffer.append","audio":"AA","event_id":"b"}',
        '{"event_id":"a","type":"input_audio_buffer.append","event_id":"b","audio":"AA"}',
        '{"type":"input_audio_buffer.append","event_id":"a","audio":"AA","event_id":"b"}',
        '{"type":"input_audio_buffer.append"}',
        '{"type":"session.update","audio":"AA"}',
        '[{"type":"input_audio_buffer.append","audio":"AA"}]',
        '{"type":"input_audio_buffer.append","audio":AA}',
        "",
    ],
)
def test_whatever_is_not_exactly_that_is_read(text: str) -> None:
    assert append_audio(text) is None


@given(st.text(alphabet='{}":,aAinput_audio_buffer.append= \\', max_size=120))
def test_nothing_is_recognised_that_a_parser_would_not_read_the_same_way(text: str) -> None:
    if append_audio(text) is not None:
        event = json.loads(text)
        assert set(event) <= {"type", "audio", "event_id"}


def test_a_long_frame_that_is_almost_audio_is_refused_quickly() -> None:
    assert append_audio('{"type":"input_audio_buffer.append","audio":"' + "A" * 2**20 + "!") is None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"type": "realtime"}},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear", "event_id": "e"},
        {"type": "conversation.item.retrieve", "item_id": "i"},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1_500},
        {"type": "conversation.item.delete", "item_id": "i"},
        {"type": "response.create"},
        {"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"], "input": []}},
        {
            "type": "response.create",
            "response": {"input": [{"type": "item_reference", "id": "i"}], "metadata": {"a": "b"}},
        },
        {"type": "response.cancel", "response_id": "r"},
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {"type": "function_call_output", "call_id": "c", "output": "{}"},
        },
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Hi"},
                    {"type": "input_audio", "audio": AUDIO},
                    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                ],
            },
        },
    ],
)
def test_events_of_the_protocol_pass_as_they_are(event: dict[str, Any]) -> None:
    assert parse(event) == event


def test_a_whole_session_passes() -> None:
    session = {
        "type": "realtime",
        "instructions": "Be brief.",
        "output_modalities": ["audio"],
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "reasoning": {"effort": "low"},
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 8_000}},
        "include": ["item.input_audio_transcription.logprobs"],
        "prompt": None,
        "tracing": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": "whisper-1", "language": "en"},
                "noise_reduction": {"type": "near_field"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "low", "create_response": True},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "cedar", "speed": 1.1},
        },
    }
    event = {"type": "session.update", "session": session}
    assert parse(event) == event


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": fields}


def message(*content: Any, role: str = "user") -> dict[str, Any]:
    return item(type="message", role=role, content=list(content))


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "output_audio_buffer.clear"}, "type"),
        ({"type": 5}, "type"),
        ({}, "type"),
        ({"type": "response.create", "more": 1}, "more"),
        ({"type": "session.update"}, "session"),
        ({"type": "conversation.item.delete"}, "item_id"),
        ({"type": "session.update", "session": {"type": "transcription"}}, "session.type"),
        (session(unheard_of=1), "session.unheard_of"),
        (session(tracing="auto"), "session.tracing"),
        (session(prompt={"id": "pmpt_1"}), "session.prompt"),
        (session(tools=[{"type": "mcp", "server_label": "x", "server_url": "https://x"}]), "session.tools[0].type"),
        (session(tools=[{"type": "web_search"}]), "session.tools[0].type"),
        (session(tools=[{"type": "function"}]), "session.tools[0].name"),
        (session(tool_choice="maybe"), "session.tool_choice"),
        (session(tool_choice={"type": "mcp", "server_label": "x"}), "session.tool_choice.type"),
        (session(output_modalities=["audio", "text"]), "session.output_modalities"),
        (session(max_output_tokens=0), "session.max_output_tokens"),
        (session(max_output_tokens=True), "session.max_output_tokens"),
        (session(instructions="x" * 300_000), "session.instructions"),
        (session(truncation="sometimes"), "session.truncation"),
        (
            session(audio={"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}),
            "session.audio.input.format.rate",
        ),
        (session(audio={"input": {"format": {"type": "audio/mp3"}}}), "session.audio.input.format.type"),
        (session(audio={"input": {"transcription": {}}}), "session.audio.input.transcription.model"),
        (session(audio={"input": {"turn_detection": {"type": "none"}}}), "session.audio.input.turn_detection.type"),
        (
            session(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}),
            "session.audio.input.turn_detection.threshold",
        ),
        (session(audio={"output": {"voice": {"id": "voice_1"}}}), "session.audio.output.voice"),
        (session(audio="loud"), "session.audio"),
        (item(type="mcp_call"), "item.type"),
        (item(type="function_call_output", call_id="c"), "item.output"),
        (item(type="message", role="robot", content=[]), "item.role"),
        (item(type="message", role="user"), "item.content"),
        (message({"type": "output_text", "text": "x"}), "item.content[0].type"),
        (message({"type": "input_text"}), "item.content[0].text"),
        (message({"type": "input_image", "image_url": "https://x/y.png"}), "item.content[0].image_url"),
        (message({"type": "input_audio", "audio": "x"}, role="system"), "item.content[0].type"),
        ({"type": "response.create", "response": {"prompt": {"id": "p"}}}, "response.prompt"),
        ({"type": "response.create", "response": {"input": [{"type": "item_reference"}]}}, "response.input[0].id"),
        ({"type": "response.create", "response": {"metadata": {"a": 1}}}, "response.metadata"),
    ],
)
def test_whatever_else_is_refused_by_name(event: dict[str, Any], param: str) -> None:
    assert refusal(event).param == param


def test_a_refusal_names_the_event_by_the_client_s_own_id() -> None:
    assert refusal({**session(tracing="auto"), "event_id": "mine"}).extra == {"event_id": "mine"}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"type":"response.create","type":"response.cancel"}', "\ud800"]
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_client_event(text)
