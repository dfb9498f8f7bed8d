"""What a cascade hears: who has spoken is written down and answered, who speaks into an answer cuts it."""

import base64

import pytest

from komilion.common.audio import pcm
from tests.fakes.replies import Reply
from tests.fakes.speech_server import SpeechReply
from tests.routing.gates import Gate
from tests.stand import Tenant
from tests.voice.realtime.cascading import MANUAL, Cascade, append, ask_in_text, turn
from tests.voice.realtime.talking import Talker
from tests.voice.spoken import needs_espeak
from voice.realtime.cascade import TURNS_MOST


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


@needs_espeak
def test_a_turn_in_which_nothing_was_said_is_not_answered(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(hears=SpeechReply(text="  "))

    async def converse(talker: Talker) -> None:
        await append(talker, turn())
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    assert talker.of("conversation.item.input_audio_transcription.completed")[0]["transcript"] == ""
    assert "response.created" not in talker.types()


@needs_espeak
def test_a_long_frame_is_heard_as_many_short_ones_are(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await append(talker, turn(), step=480_000)
        await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse)
    assert talker.of("response.done")[0]["response"]["status"] == "completed"


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
        assert refused["error"]["code"] == "conversation_already_has_active_response"
        await talker.send("response.cancel")
        done = await talker.until("response.done")
        assert done["response"]["status_details"]["reason"] == "client_cancelled"
        gate.open()
        await talker.until("x_komilion.cost")
        await talker.send("response.cancel", event_id="mine")
        refused = await talker.until("error")
        assert refused["error"]["code"] == "response_cancel_not_active"
        assert refused["error"]["event_id"] == "mine"

    cascade.talk(alice, converse)


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
    assert "input_audio_buffer_commit_empty" in [event["error"]["code"] for event in talker.of("error")]
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


def test_a_turn_that_would_wait_for_too_many_others_is_dropped_with_an_error(
    cascade: Cascade, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice.realtime.cascade.TURN_WAIT_S", 0.05)
    cascade.parts(hears=SpeechReply(text="Hello.", before_head_s=0.5))

    async def converse(talker: Talker) -> None:
        for _ in range(TURNS_MOST + 1):
            await append(talker, pcm.silence(200, 24_000))
            await talker.send("input_audio_buffer.commit")
        refused = await talker.until("error")
        assert refused["error"]["code"] == "provider_timeout"
        assert talker.types().count("input_audio_buffer.committed") == TURNS_MOST
        for _ in range(TURNS_MOST):
            await talker.until("x_komilion.cost")

    cascade.talk(alice, converse, **MANUAL)


def test_turns_come_no_faster_than_they_are_written_down(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(hears=SpeechReply(text="Hello.", before_head_s=0.1))

    async def converse(talker: Talker) -> None:
        for _ in range(TURNS_MOST + 2):
            await append(talker, pcm.silence(200, 24_000))
            await talker.send("input_audio_buffer.commit")
        for _ in range(TURNS_MOST + 2):
            await talker.until("x_komilion.cost")

    talker = cascade.talk(alice, converse, **MANUAL)
    waiting = most = 0
    for kind in talker.types():
        waiting += kind == "input_audio_buffer.committed"
        waiting -= kind == "conversation.item.input_audio_transcription.completed"
        most = max(most, waiting)
    assert most <= TURNS_MOST
    assert talker.of("error") == []


@needs_espeak
def test_a_turn_that_ends_during_an_answer_which_it_may_not_cut_is_answered_behind_it(
    cascade: Cascade, alice: Tenant
) -> None:
    gate = Gate(before=2, reply=Reply(content="It is sunny. Then it will rain.", frames=4))
    model = cascade.parts(gate.script)
    detection = {"type": "server_vad", "interrupt_response": False}

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker, "Tell me about the weather.")
        await talker.send("response.create")
        await talker.until("response.output_audio.delta")
        await append(talker, turn())
        await talker.until("conversation.item.input_audio_transcription.completed")
        gate.open()
        for _ in range(2):
            await talker.until("response.done")
        await talker.until("x_komilion.cost", lambda event: event["response_id"] is not None)

    talker = cascade.talk(alice, converse, audio={"input": {"turn_detection": detection}})
    assert [event["response"]["status"] for event in talker.of("response.done")] == ["completed"] * 2
    _, second = cascade.gateway.calls_of(model)
    assert [told["role"] for told in second.body["messages"][1:]] == ["user", "assistant", "user"]
    assert second.body["messages"][-1]["content"] == "How is the weather?"


@needs_espeak
def test_who_speaks_on_before_an_answer_began_is_answered_once_to_all_of_it(cascade: Cascade, alice: Tenant) -> None:
    model = cascade.parts(hears=SpeechReply(text="How is the weather?", before_head_s=0.4))

    async def converse(talker: Talker) -> None:
        await append(talker, turn(pause_ms=700))
        await talker.until("input_audio_buffer.committed")
        await append(talker, turn()[: 24_000 * 2])
        await talker.until("input_audio_buffer.speech_started")
        await talker.until("conversation.item.input_audio_transcription.completed")
        assert "response.created" not in talker.types(), "somebody is speaking"
        await append(talker, turn())
        await talker.until("response.done")
        await talker.until("x_komilion.cost", lambda event: event["response_id"] is not None)

    cascade.talk(alice, converse)
    (call,) = cascade.gateway.calls_of(model)
    assert [told["content"] for told in call.body["messages"][1:]] == ["How is the weather?"] * 2


@needs_espeak
def test_what_was_said_is_answered_when_what_was_begun_after_it_is_cleared(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts(hears=SpeechReply(text="How is the weather?", before_head_s=0.4))

    async def converse(talker: Talker) -> None:
        await append(talker, turn(pause_ms=700))
        await talker.until("input_audio_buffer.committed")
        await append(talker, turn()[: 24_000 * 2])
        await talker.until("input_audio_buffer.speech_started")
        await talker.until("conversation.item.input_audio_transcription.completed")
        await talker.send("input_audio_buffer.clear")
        await talker.until("input_audio_buffer.cleared")
        await talker.until("response.done")
        await talker.until("x_komilion.cost", lambda event: event["response_id"] is not None)

    talker = cascade.talk(alice, converse)
    assert talker.types().count("input_audio_buffer.committed") == 1
    assert "input_audio_buffer.speech_stopped" not in talker.types()[talker.types().index("response.created") :]


@needs_espeak
def test_an_answer_that_is_spoken_into_before_its_first_word_is_told_as_cancelled(
    cascade: Cascade, alice: Tenant
) -> None:
    gate = Gate(before=None, reply=Reply(content="It is sunny."))
    cascade.parts(gate.script, provider="up-cancelling")

    async def converse(talker: Talker) -> None:
        await ask_in_text(talker)
        await talker.send("response.create")
        await talker.until("response.created")
        await append(talker, turn(pause_ms=0))
        done = await talker.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert done["response"]["output"] == []
        gate.open()
        await append(talker, pcm.silence(1_000, 24_000))
        done = await talker.until("response.done")
        assert done["response"]["status"] == "completed"
        await talker.until("x_komilion.cost", lambda event: event["response_id"] == done["response"]["id"])

    talker = cascade.talk(alice, converse)
    assert [event["item"]["status"] for event in talker.of("response.output_item.done")] == ["completed"]


@needs_espeak
def test_who_goes_on_speaking_after_a_commit_of_the_client_begins_another_turn(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        await append(talker, turn(pause_ms=0)[: 24_000 * 3 // 2])
        await talker.until("input_audio_buffer.speech_started")
        await talker.send("input_audio_buffer.commit")
        await talker.until("x_komilion.cost")
        await append(talker, turn())
        await talker.until("response.done")
        await talker.until("x_komilion.cost", lambda event: event["response_id"] is not None)

    talker = cascade.talk(alice, converse)
    wanted = ["input_audio_buffer.speech_started", "input_audio_buffer.committed"]
    assert [kind for kind in talker.types() if kind in wanted] == wanted * 2
