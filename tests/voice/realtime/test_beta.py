"""Clients of the protocol of before GA: their shapes go up as GA, and GA comes down in their shapes."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.fakes.realtime import RealtimeScript
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, talking
from voice.realtime.beta import client_event, server_event
from voice.realtime.events import parse_client_event

OLD_SESSION = {
    "modalities": ["text", "audio"],
    "instructions": "Be brief.",
    "voice": "shimmer",
    "speed": 1.2,
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": None,
    "input_audio_noise_reduction": {"type": "far_field"},
    "turn_detection": {"type": "server_vad", "threshold": 0.6},
    "temperature": 0.8,
    "max_response_output_tokens": 500,
    "tool_choice": "auto",
}
NEW_SESSION = {
    "type": "realtime",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "max_output_tokens": 500,
    "tool_choice": "auto",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": None,
            "noise_reduction": {"type": "far_field"},
            "turn_detection": {"type": "server_vad", "threshold": 0.6},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "shimmer", "speed": 1.2},
    },
}


def test_a_session_of_old_becomes_one_of_now() -> None:
    event, is_old = parse_client_event(json.dumps({"type": "session.update", "session": OLD_SESSION}))
    assert event["session"] == NEW_SESSION
    assert is_old


def test_a_session_of_now_becomes_one_of_old() -> None:
    (event,) = server_event({"type": "session.updated", "session": {**NEW_SESSION, "id": "s"}})
    del OLD_SESSION["temperature"]
    assert event["session"] == {**OLD_SESSION, "id": "s"}


def test_a_session_of_now_stays_as_it_is() -> None:
    event = {"type": "session.update", "session": NEW_SESSION}
    assert client_event(event) == event
    assert parse_client_event(json.dumps(event)) == (event, False)


def test_a_session_that_only_says_what_both_say_is_of_now() -> None:
    event, is_old = parse_client_event(json.dumps({"type": "session.update", "session": {"instructions": "Hi"}}))
    assert event["session"] == {"type": "realtime", "instructions": "Hi"}
    assert not is_old


def test_a_response_of_old_becomes_one_of_now() -> None:
    response = {"modalities": ["text"], "voice": "ash", "max_response_output_tokens": 9, "temperature": 1}
    item = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    event = client_event({"type": "response.create", "response": {**response, "input": [item]}})
    assert event["response"] == {
        "output_modalities": ["text"],
        "max_output_tokens": 9,
        "audio": {"output": {"voice": "ash"}},
        "input": [{**item, "content": [{"type": "output_text", "text": "Hi"}]}],
    }


ASSISTANT = {"type": "message", "role": "assistant"}
OLD_PART, NEW_PART = {"type": "text", "text": "Hi"}, {"type": "output_text", "text": "Hi"}


@pytest.mark.parametrize(
    ("event", "is_old"),
    [
        ({"type": "response.create", "response": {"modalities": ["text"]}}, True),
        ({"type": "response.create", "response": {"max_response_output_tokens": 9}}, True),
        ({"type": "response.create", "response": {"input": [{**ASSISTANT, "content": [OLD_PART]}]}}, True),
        ({"type": "response.create", "response": {"input": [{**ASSISTANT, "content": [NEW_PART]}]}}, False),
        ({"type": "response.create", "response": {"output_modalities": ["text"], "instructions": "Hi"}}, False),
        ({"type": "response.create"}, False),
        ({"type": "conversation.item.create", "item": {**ASSISTANT, "content": [OLD_PART]}}, True),
        ({"type": "conversation.item.create", "item": {**ASSISTANT, "content": [NEW_PART]}}, False),
        ({"type": "input_audio_buffer.clear"}, False),
    ],
)
def test_an_event_whose_shape_only_the_old_protocol_has_shows_an_old_client(
    event: dict[str, Any], is_old: bool
) -> None:
    assert parse_client_event(json.dumps(event))[1] is is_old


@pytest.mark.parametrize("nonsense", [None, 5, "pcm", ["x"], {"modalities": 5, "input_audio_format": [1]}])
def test_nonsense_is_left_for_the_check_to_refuse(nonsense: Any) -> None:
    event = {"type": "session.update", "session": nonsense}
    assert client_event(event)["type"] == "session.update"
    client_event({"type": "response.create", "response": {"input": [nonsense]}})
    client_event({"type": "conversation.item.create", "item": {"role": "assistant", "content": [nonsense]}})


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("response.output_text.delta", "response.text.delta"),
        ("response.output_audio.done", "response.audio.done"),
        ("response.output_audio_transcript.delta", "response.audio_transcript.delta"),
        ("conversation.item.added", "conversation.item.created"),
        ("response.done", "response.done"),
        ("error", "error"),
    ],
)
def test_events_have_their_old_names(new: str, old: str) -> None:
    (event,) = server_event({"type": new})
    assert event["type"] == old


def test_what_had_no_name_is_left_out() -> None:
    assert not list(server_event({"type": "conversation.item.done", "item": {}}))


def test_contents_have_their_old_types() -> None:
    item = {"role": "assistant", "content": [{"type": "output_audio", "transcript": "Hi"}]}
    (event,) = server_event({"type": "response.done", "response": {"output": [item], "output_modalities": ["audio"]}})
    assert event["response"]["output"][0]["content"][0]["type"] == "audio"
    assert event["response"]["modalities"] == ["text", "audio"]
    (event,) = server_event({"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}})
    assert event["part"]["type"] == "text"


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


OLD_ORDER = [
    "session.created",
    "session.updated",
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    *["response.audio_transcript.delta"] * 2,
    *["response.audio.delta"] * 4,
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
    "x_komilion.cost",
]


@pytest.mark.parametrize("options", [{"headers": {"OpenAI-Beta": "realtime=v1"}}, {"subprotocols": ["realtime"]}])
def test_an_old_client_holds_a_conversation(stand: Stand, alice: Tenant, options: dict[str, Any]) -> None:
    model = stand.model(RealtimeScript())
    if "subprotocols" in options:
        options = {"subprotocols": ["realtime", "openai-beta.realtime-v1"]}

    async def converse() -> None:
        async with talking(stand, alice.key, model, **options) as talker:
            assert talker.events[0]["session"]["modalities"] == ["text", "audio"]
            await talker.send("session.update", session={**OLD_SESSION, "output_audio_format": "pcm16"})
            updated = await talker.until("session.updated")
            assert updated["session"]["voice"] == "shimmer"
            await talker.answer()
            assert talker.types() == OLD_ORDER

    asyncio.run(converse())


def test_a_client_that_begins_with_a_response_of_old_gets_it_under_the_old_names(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript())

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create", response={"modalities": ["text"]})
            await talker.until("x_komilion.cost")
            assert "response.text.delta" in talker.types()
            assert "conversation.item.created" in talker.types()

    asyncio.run(converse())


def test_a_client_that_sends_an_old_session_is_spoken_to_in_its_way_from_then_on(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript())

    async def converse() -> None:
        async with connect(
            stand.url(f"/v1/realtime?model={model}"), additional_headers={"Authorization": f"Bearer {alice.key}"}
        ) as socket:
            talker = Talker(socket)
            created = await talker.until("session.created")
            assert created["session"]["output_modalities"] == ["audio"]
            await talker.send("session.update", session={"voice": "ash", "modalities": ["audio", "text"]})
            await talker.answer()
            assert "response.audio.delta" in talker.types()

    asyncio.run(converse())
