"""A cascade that goes on where a relay was lost, and what it costs to begin one."""

from tests.fakes.realtime import RealtimeScript
from tests.stand import Tenant
from tests.voice.realtime.cascading import MANUAL, Cascade, append, ask_in_text, names, turn
from tests.voice.realtime.talking import PRICES, Talker
from tests.voice.spoken import needs_espeak


def test_the_cascade_takes_over_where_the_relay_never_answered(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()
    gone = f"acme/gone-{next(names)}"
    cascade.gateway.add_model("nobody", gone, provider=cascade.stand.provider, kind="realtime", **PRICES)
    cascade.gateway.wait_for_catalog()

    async def converse(talker: Talker) -> None:
        assert talker.events[0]["session"]["model"] == "neo-mode/balanced"
        await ask_in_text(talker)
        await talker.answer()

    talker = cascade.talk(alice, converse, "neo-mode/balanced")
    assert talker.of("response.done")[0]["response"]["status"] == "completed"


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
