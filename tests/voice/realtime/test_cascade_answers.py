"""Answers of the cascade, with scripted models that think and speak: the order of events, sound and text, functions,
answers beside the conversation, parts that fail.
"""

import base64
import json
from collections.abc import Callable

import pytest

from komilion.common.audio import pcm
from tests.fakes.replies import Reply, ToolCall
from tests.fakes.speech_server import SpeechReply
from tests.stand import Tenant
from tests.voice.realtime.cascading import Cascade, ask_in_text, sound_of
from tests.voice.realtime.talking import Talker


def test_an_answer_comes_in_the_order_of_the_protocol_sentence_by_sentence(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse)
    types = [kind for kind in talker.types() if kind != "response.output_audio.delta"]
    assert types == [
        "session.created",
        *("conversation.item.added", "conversation.item.done"),
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        *["response.output_audio_transcript.delta"] * 2,
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "x_komilion.cost",
    ]
    deltas = [event["delta"] for event in talker.of("response.output_audio_transcript.delta")]
    assert deltas == ["It is sunny.", " Take a hat!"]
    assert talker.of("response.output_audio_transcript.done")[0]["transcript"] == "It is sunny. Take a hat!"
    assert 0.5 < len(sound_of(talker)) / 48_000 < 1.0
    response = talker.of("response.done")[0]["response"]
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is sunny. Take a hat!"}]
    assert response["usage"]["output_tokens"] > 0
    (cost,) = talker.of("x_komilion.cost")
    assert cost["response_id"] == response["id"]
    assert len(cost["parts"]) == 3, "the chat, and two sentences"


def test_text_is_told_as_it_is_written_where_text_is_wanted(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse, output_modalities=["text"])
    assert "".join(event["delta"] for event in talker.of("response.output_text.delta")) == "It is sunny. Take a hat!"
    assert talker.of("response.output_text.done")[0]["text"] == "It is sunny. Take a hat!"
    assert talker.of("response.output_audio.delta") == []


@pytest.mark.parametrize(
    ("form", "expand"), [("audio/pcmu", pcm.mu_law_to_samples), ("audio/pcma", pcm.a_law_to_samples)]
)
def test_telephones_are_spoken_to_in_their_own_format(
    cascade: Cascade, alice: Tenant, form: str, expand: Callable[[bytes], pcm.Samples]
) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        compress = pcm.samples_to_mu_law if form == "audio/pcmu" else pcm.samples_to_a_law
        data = base64.b64encode(compress(pcm.silence(500, 8_000))).decode()
        await talker.send("input_audio_buffer.append", audio=data)
        await talker.send("input_audio_buffer.commit")
        await talker.answer()

    audio = {"input": {"turn_detection": None, "format": {"type": form}}, "output": {"format": {"type": form}}}
    talker = cascade.talk(alice, converse, audio=audio)
    samples = expand(sound_of(talker))
    assert 0.5 < len(samples) / 8_000 < 1.0
    assert pcm.level_dbfs(samples) > -30


def test_functions_are_called_and_their_results_answered(cascade: Cascade, alice: Tenant) -> None:
    call = ToolCall("weather", '{"city":"Ghent"}')
    model = cascade.parts(Reply(tool_calls=(call,)))
    tool = {"type": "function", "name": "weather", "description": "Look.", "parameters": {"type": "object"}}

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()
        (done,) = talker.of("response.function_call_arguments.done")
        assert (done["name"], json.loads(done["arguments"])) == ("weather", {"city": "Ghent"})
        item = {"type": "function_call_output", "call_id": done["call_id"], "output": "rain"}
        await talker.send("conversation.item.create", item=item)
        await talker.answer()

    talker = cascade.talk(alice, converse, tools=[tool], instructions="Be brief.")
    first, second = cascade.gateway.calls_of(model)
    assert first.body["tools"] == [{"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}]
    assert first.body["messages"][0]["role"] == "system"
    assert first.body["messages"][0]["content"].startswith("Be brief.")
    asked, answer = second.body["messages"][-2:]
    assert asked["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Ghent"}'}
    assert answer == {"role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "rain"}
    kinds = [event["item"]["type"] for event in talker.of("response.output_item.done")]
    assert kinds == ["function_call"] * 2


def test_an_answer_beside_the_conversation_sees_what_it_is_given_and_leaves_nothing_behind(
    cascade: Cascade, alice: Tenant
) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker, "One.")
        reference = {"type": "item_reference", "id": talker.of("conversation.item.done")[0]["item"]["id"]}
        await ask_in_text(talker, "Two.")
        told = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Three."}]}
        beside = {
            "conversation": "none",
            "input": [reference, told],
            "output_modalities": ["text"],
            "metadata": {"a": "b"},
        }
        await talker.send("response.create", response=beside)
        await talker.until("x_komilion.cost")
        await talker.send("response.create", response={"input": [{"type": "item_reference", "id": "gone"}]})
        assert (await talker.until("error"))["error"]["param"] == "response.input"
        await talker.answer()

    talker = cascade.talk(alice, converse)
    first, second = cascade.gateway.calls_of(model)
    assert [message["content"] for message in first.body["messages"]] == ["One.", "Three."]
    assert [message["content"] for message in second.body["messages"][1:]] == ["One.", "Two."]
    response = talker.of("response.done")[0]["response"]
    assert (response["metadata"], response["conversation_id"]) == ({"a": "b"}, None)
    added = talker.of("conversation.item.added")
    assert len(added) == len(talker.of("conversation.item.done")) == 3
    assert all(set(event) == {"type", "event_id", "previous_item_id", "item"} for event in added)


def test_a_voice_that_fails_ends_the_response_as_failed(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(speaks=SpeechReply(error=(500, {"error": {"message": "down"}})))

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse)
    response = talker.of("response.done")[0]["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"]
