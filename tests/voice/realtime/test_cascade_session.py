"""The session as a cascade tells it."""

from tests.stand import Tenant
from tests.voice.realtime.cascading import Cascade
from tests.voice.realtime.talking import Talker
from voice.realtime.cascade_session import DEFAULTS, complete

PCM = {"type": "audio/pcm", "rate": 24_000}


def test_a_session_with_a_plain_key_is_told_whole(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()

    async def converse(talker: Talker) -> None:
        """Nothing: `session.created` is what is looked at."""

    created = cascade.talk(alice, converse).events[0]["session"]
    assert created == {**DEFAULTS, "object": "realtime.session", "id": created["id"], "model": "neo-mode/frugal"}
    assert created["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert created["audio"]["output"] == {"format": PCM, "voice": "alloy", "speed": 1.0}


def test_what_was_configured_stands_among_the_defaults(cascade: Cascade, alice: Tenant) -> None:
    cascade.parts()
    heard = {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}, "format": {"type": "audio/pcmu"}}

    async def converse(talker: Talker) -> None:
        """Nothing more."""

    talker = cascade.talk(alice, converse, audio={"input": heard, "output": {"voice": "verse"}}, instructions="Hush.")
    session = talker.of("session.updated")[0]["session"]
    assert session["instructions"] == "Hush."
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "low",
        "create_response": True,
        "interrupt_response": True,
    }
    assert session["audio"]["output"] == {"format": PCM, "voice": "verse", "speed": 1.0}


def test_no_detection_stays_none_and_the_defaults_stay_as_they_are() -> None:
    whole = complete({"audio": {"input": {"turn_detection": None}, "output": {"format": {"type": "audio/pcm"}}}})
    assert whole["audio"]["input"]["turn_detection"] is None
    assert whole["audio"]["output"]["format"] == PCM
    assert complete({}) == DEFAULTS
