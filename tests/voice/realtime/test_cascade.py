"""A conversation through the cascade, with scripted models that hear, think and speak: order of events, turns, cuts,
and that the wallet loses exactly what the events of cost say.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from komilion.common.audio import pcm
from tests.fakes import openai_audio
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.realtime import RealtimeScript
from tests.fakes.replies import Reply, ToolCall
from tests.fakes.speech_server import SpeechReply
from tests.routing.gates import Gate
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import PRICES, Stand, Talker, eventually_equal, talking
from tests.voice.spoken import needs_espeak, spoken

NAME = "neo-mode/frugal"
_names = count(1)


@pytest.fixture(scope="session")
def fake_speech() -> Iterator[FakeOpenAIAudio]:
    """The provider of what hears and what speaks."""
    with FakeOpenAIAudio() as running:
        yield running


@dataclass
class Cascade:
    """The gateway and its parts. Each test has models of its own, and none of others'."""

    stand: Stand
    speech: FakeOpenAIAudio

    @property
    def gateway(self) -> Gateway:
        return self.stand.gateway

    def parts(
        self, says: str | Reply = "It is sunny. Take a hat!", hears: SpeechReply | None = None, **options: Any
    ) -> str:
        """Models for a conversation; returns the id of the one that thinks."""
        self.gateway.forget_models()
        heard = self.speech.script(f"whisper-1.{next(_names)}", hears or SpeechReply(text="How is the weather?"))
        spoken_by = self.speech.script(f"tts-1.{next(_names)}", options.pop("speaks", SpeechReply()))
        self._voice(heard, "transcription", "--second-price", "0.0001")
        self._voice(spoken_by, "speech", "--character-price", "30")
        reply = says if isinstance(says, Reply) else Reply(content=says, frames=4)
        model = self.gateway.add_model(reply, capabilities="tools", **options)
        self.gateway.wait_for_catalog()
        return model

    def _voice(self, upstream: str, kind: str, *price: str) -> None:
        name = f"acme/{kind}-{next(_names)}"
        at = ("--provider", "speech-of-cascade", "--upstream-id", upstream)
        self.gateway.manage("model", "add", name, *at, "--kind", kind, *price)
        self.gateway._upstream_ids[name] = upstream

    def talk(self, tenant: Tenant, converse: Callable[[Talker], Any], name: str = NAME, **session: Any) -> Talker:
        """Hold a conversation; afterwards the wallet has lost what the events say, and nothing is held."""
        before = self.stand.balance_nano(tenant)
        held: list[Talker] = []

        async def run() -> None:
            async with talking(self.stand, tenant.key, name) as talker:
                held.append(talker)
                if session:
                    await talker.send("session.update", session={"type": "realtime", **session})
                    await talker.until("session.updated")
                await converse(talker)
            await eventually_equal(partial(self.stand.held_nano, tenant), 0)

        asyncio.run(run())
        assert before - self.stand.balance_nano(tenant) == held[0].cost_nano()
        return held[0]


@pytest.fixture(scope="module")
def cascade(stand: Stand, fake_speech: FakeOpenAIAudio) -> Cascade:
    at = ("--base-url", fake_speech.url, "--api-key", openai_audio.KEY)
    stand.gateway.manage("provider", "add", "speech-of-cascade", *at)
    return Cascade(stand, fake_speech)


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


MANUAL = {"audio": {"input": {"turn_detection": None}}}


async def append(talker: Talker, samples: pcm.Samples, step: int = 480) -> None:
    for start in range(0, len(samples), step):
        data = base64.b64encode(pcm.to_bytes(samples[start : start + step])).decode()
        await talker.send("input_audio_buffer.append", audio=data)


async def ask_in_text(talker: Talker, text: str = "How is the weather?") -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await talker.send("conversation.item.create", item=item)
    await talker.until("conversation.item.done")


def sound_of(talker: Talker) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in talker.of("response.output_audio.delta"))


def turn(pause_ms: int = 1_000) -> pcm.Samples:
    """A spoken question and the silence after it."""
    speech = spoken("How is the weather in Paris today?", "en-us+m3", 24_000)
    return np.concatenate([pcm.silence(300, 24_000), speech, pcm.silence(pause_ms, 24_000)])


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


@needs_espeak
def test_who_stops_speaking_is_written_down_and_answered(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await append(talker, turn())
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    wanted = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.done",
    ]
    assert [kind for kind in talker.types() if kind in wanted] == wanted
    items = {talker.of(kind)[0]["item_id"] for kind in wanted[:4]}
    assert len(items) == 1
    assert talker.of(wanted[3])[0]["transcript"] == "How is the weather?"
    (call,) = cascade.gateway.calls_of(model)
    assert call.body["messages"][-1] == {"role": "user", "content": "How is the weather?"}
    (heard,) = [call for call in cascade.speech.calls if call.audio][-1:]
    assert 1 < heard.seconds < 5


def test_a_turn_that_the_client_ends_is_answered_when_it_asks(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await append(talker, pcm.silence(1_000, 24_000))
        await talker.send("input_audio_buffer.commit")
        await talker.send("response.create")
        await talker.until("response.done")
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse, **MANUAL)
    types = talker.types()
    assert types.index("conversation.item.input_audio_transcription.completed") < types.index("response.created")
    assert "input_audio_buffer.speech_started" not in types


def test_a_turn_in_which_nothing_was_said_is_not_answered(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(hears=SpeechReply(text="  "))

    async def converse(talker: Talker) -> None:
        await append(talker, turn())
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    assert talker.of("conversation.item.input_audio_transcription.completed")[0]["transcript"] == ""
    assert "response.created" not in talker.types()


@needs_espeak
def test_who_speaks_into_an_answer_cuts_it_and_pays_for_what_was_made(cascade: Cascade, alice: Tenant) -> None:
    gate = Gate(before=2, reply=Reply(content="It is sunny. Then it will rain. " * 8, frames=8))
    cascade.parts(gate.script, provider="up-cancelling")

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        await talker.until("response.output_audio.delta")
        await append(talker, turn(pause_ms=0))
        await talker.until("response.done")
        gate.open()
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    (done,) = talker.of("response.done")
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert talker.of("response.output_item.done")[0]["item"]["status"] == "incomplete"
    types = talker.types()
    after = types[types.index("response.done") :]
    assert "response.output_audio.delta" not in after
    assert types.index("input_audio_buffer.speech_started") < types.index("response.done")


def test_a_client_cancels_and_asks_again(cascade: Cascade, alice: Tenant) -> None:
    gate = Gate(before=2, reply=Reply(content="It is sunny. Then it will rain. " * 8, frames=8))
    cascade.parts(gate.script, provider="up-cancelling")

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        await talker.until("response.output_audio.delta")
        await talker.send("response.create")
        refused = await talker.until("error")
        assert "still in progress" in refused["error"]["message"]
        await talker.send("response.cancel")
        done = await talker.until("response.done")
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        gate.open()
        await talker.until("x_komilion.cost")
        await talker.send("response.cancel")
        assert (await talker.until("error"))["error"]["param"] == "response_id"

    cascade.talk(alice, converse)


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


def test_what_was_not_played_is_not_remembered(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()
        item_id = talker.of("response.output_item.done")[0]["item"]["id"]
        place = {"item_id": item_id, "content_index": 0, "audio_end_ms": 380}
        await talker.send("conversation.item.truncate", **place)
        await talker.until("conversation.item.truncated")
        await ask_in_text(talker, "What did you say?")
        await talker.answer()
        await talker.send("conversation.item.truncate", **{**place, "item_id": "nothing"})
        await talker.until("error")

    cascade.talk(alice, converse)
    _, second = cascade.gateway.calls_of(model)
    assert second.body["messages"][-2] == {"role": "assistant", "content": "It is sunny."}


def test_items_are_told_and_taken_away(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker, "Forget this.")
        item_id = talker.of("conversation.item.added")[0]["item"]["id"]
        await talker.send("conversation.item.retrieve", item_id=item_id)
        assert (await talker.until("conversation.item.retrieved"))["item"]["id"] == item_id
        await talker.send("conversation.item.delete", item_id=item_id)
        await talker.until("conversation.item.deleted")
        await talker.send("conversation.item.retrieve", item_id=item_id)
        await talker.until("error")
        await ask_in_text(talker, "Keep this.")
        await talker.answer()

    cascade.talk(alice, converse)
    (call,) = cascade.gateway.calls_of(model)
    assert [message["content"] for message in call.body["messages"][1:]] == ["Keep this."]


def test_what_is_no_audio_is_an_error_and_the_session_goes_on(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await talker.send("input_audio_buffer.append", audio="AAA=")
        await talker.send("input_audio_buffer.append", audio=base64.b64encode(b"odd").decode())
        await talker.send("input_audio_buffer.commit")
        part = {"type": "input_audio", "audio": "AAAA"}
        await talker.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
        transcription = {"model": "acme/nobody"}
        session = {"type": "realtime", "audio": {"input": {"transcription": transcription}}}
        await talker.send("session.update", session=session)
        await talker.send("input_audio_buffer.clear")
        await talker.until("input_audio_buffer.cleared")

    talker = cascade.talk(alice, converse, **MANUAL)
    params = [event["error"]["param"] for event in talker.of("error")]
    assert params == ["audio", None, "item.content", "session.audio.input.transcription.model"]


def test_a_part_that_fails_costs_nothing_and_the_session_goes_on(cascade: Cascade, alice: Tenant) -> None:
    down = SpeechReply(error=(500, {"error": {"message": "down"}}))
    cascade.parts(hears=SpeechReply(text="Hello.", turns=(down, down, down, SpeechReply(text="Hello."))))

    async def converse(talker: Talker) -> None:
        for _ in range(2):
            await append(talker, pcm.silence(500, 24_000))
            await talker.send("input_audio_buffer.commit")
        await talker.until("conversation.item.input_audio_transcription.completed")
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse, **MANUAL)
    assert talker.of("conversation.item.input_audio_transcription.failed")[0]["error"]["code"]


def test_a_voice_that_fails_ends_the_response_as_failed(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(speaks=SpeechReply(error=(500, {"error": {"message": "down"}})))

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse)
    response = talker.of("response.done")[0]["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"]


def test_an_empty_wallet_is_refused_and_one_that_runs_dry_ends_the_session(cascade: Cascade, gateway: Gateway) -> None:
    from websockets.exceptions import InvalidStatus

    cascade.parts("It is sunny. " * 40)
    with pytest.raises(InvalidStatus) as refused:
        cascade.talk(gateway.tenant(credit="0.00"), asyncio.sleep)
    assert refused.value.response.status_code == 402

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        assert await talker.until_closed() == 4402

    talker = cascade.talk(gateway.tenant(credit="0.011"), converse)
    assert talker.of("error")[-1]["error"]["code"] == "insufficient_balance"


def test_the_cascade_takes_over_where_the_relay_never_answered(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()
    gone = f"acme/gone-{next(_names)}"
    cascade.gateway.add_model("nobody", gone, provider=cascade.stand.provider, kind="realtime", **PRICES)
    cascade.gateway.wait_for_catalog()

    async def converse(talker: Talker) -> None:
        assert talker.events[0]["session"]["model"] == "neo-mode/balanced"
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse, "neo-mode/balanced")
    assert talker.of("response.done")[0]["response"]["status"] == "completed"


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


def test_a_long_frame_is_heard_as_many_short_ones_are(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await append(talker, turn(), step=480_000)
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    assert talker.of("response.done")[0]["response"]["status"] == "completed"


def test_a_response_that_is_canceled_before_it_began_is_told_all_the_same(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(hears=SpeechReply(text="Hello.", before_head_s=0.3))

    async def converse(talker: Talker) -> None:
        await append(talker, pcm.silence(500, 24_000))
        await talker.send("input_audio_buffer.commit")
        await talker.send("response.create")
        await talker.send("response.cancel")
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse, **MANUAL)
    kinds = [kind for kind in talker.types() if kind.startswith("response.")]
    assert kinds == ["response.created", "response.done"]
    assert talker.of("response.done")[0]["response"]["status"] == "cancelled"


def test_the_cascade_goes_on_with_a_conversation_that_the_relay_lost(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts()
    lost = cascade.stand.model(RealtimeScript(lost_at="response.created", lost_times=9))

    async def converse(talker: Talker) -> None:
        assert talker.events[0]["session"]["model"] == lost
        await ask_in_text(talker, "Are you still there?")
        await talker.answer()

    talker = cascade.talk(alice, converse, "neo-mode/balanced")
    assert talker.of("response.done")[-1]["response"]["status"] == "completed"
    (call,) = cascade.gateway.calls_of(model)
    assert call.body["messages"][-1]["content"] == "Are you still there?"
    assert talker.types().count("session.created") == 1


@needs_espeak
def test_the_cascade_hears_again_what_the_relay_had_not_answered(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()
    cascade.stand.model(RealtimeScript(lost_at="response.created", lost_times=9))

    async def converse(talker: Talker) -> None:
        await append(talker, turn(pause_ms=0))
        await talker.send("input_audio_buffer.commit")
        await talker.send("response.create")
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse, "neo-mode/balanced", **MANUAL)
    assert talker.of("response.done")[-1]["response"]["status"] == "completed"
    (heard,) = talker.of("conversation.item.input_audio_transcription.completed")
    assert heard["transcript"] == "How is the weather?"
