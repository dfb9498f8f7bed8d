"""The session as a cascade tells it."""

from tests.fakes.client import call
from tests.routing.answers import key_of
from tests.stand import Gateway, Tenant
from tests.voice.realtime.cascading import NAME, Cascade, ask_in_text
from tests.voice.realtime.talking import Talker
from voice.realtime.cascade_session import DEFAULTS, complete

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
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


def test_tools_that_no_model_can_use_are_refused_before_anybody_talks(
    cascade: Cascade, alice: Tenant, gateway: Gateway
) -> None:
    gateway.manage("model", "disable", cascade.parts())
    gateway.add_model(capabilities="vision")
    gateway.wait_for_catalog()
    ticket = call(gateway.url, "/api/voice/realtime", alice.key, {"policy": "frugal", "tools": [TOOL]})
    session = {"type": "realtime", "model": NAME, "tools": [TOOL]}
    secret = call(gateway.url, "/v1/realtime/client_secrets", alice.key, {"session": session})
    assert (ticket.status, ticket.json["error"]["param"]) == (400, "tools")
    assert (secret.status, secret.json["error"]["param"]) == (400, "session.tools")
    assert "can use tools" in ticket.json["error"]["message"]

    async def converse(talker: Talker) -> None:
        await talker.send("session.update", session={"type": "realtime", "tools": [TOOL]})
        assert (await talker.until("error"))["error"]["param"] == "session.tools"
        await ask_in_text(talker)
        await talker.answer()
        assert talker.of("response.done")[-1]["response"]["status"] == "completed"

    cascade.talk(alice, converse)


def test_tools_are_refused_to_a_key_whose_models_use_none(cascade: Cascade, alice: Tenant, gateway: Gateway) -> None:
    able = cascade.parts()
    gateway.add_model(capabilities="vision")
    gateway.wait_for_catalog()
    key = key_of(alice, models_allowed=[name for name in gateway._upstream_ids if name != able]).secret
    refused = call(gateway.url, "/api/voice/realtime", key, {"policy": "frugal", "tools": [TOOL]})
    assert (refused.status, refused.json["error"]["param"]) == (400, "tools")
    assert call(gateway.url, "/api/voice/realtime", key, {"policy": "frugal"}).status == 200
