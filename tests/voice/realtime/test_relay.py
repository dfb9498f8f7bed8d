"""A conversation through the relay: what passes, in which order, and that every answer is charged exactly."""

import asyncio
import json
from functools import partial

import pytest
from websockets.asyncio.client import connect

from tests.fakes.realtime import KEY, RealtimeScript
from tests.routing.answers import key_of
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, in_thread, sound, talking

# (28 x 4 + 32 x 0.4 + 88 x 32 + 32 x 0.5 + 30 x 24 + 120 x 64) / 10^6 = 0.0113568, and the fee
ANSWER_NANO = 14_196_000


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


def test_an_answer_comes_in_the_order_of_the_protocol_and_costs_what_its_usage_does(
    stand: Stand, alice: Tenant
) -> None:
    model = stand.model()
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            cost = await talker.answer()
            assert talker.types() == [
                "session.created",
                "response.created",
                "response.output_item.added",
                "conversation.item.added",
                "response.content_part.added",
                *["response.output_audio_transcript.delta"] * 2,
                *["response.output_audio.delta"] * 4,
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "response.output_item.done",
                "conversation.item.done",
                "response.done",
                "x_komilion.cost",
            ]
            assert cost["cost_nano_usd"] == ANSWER_NANO
            assert cost["response_id"] == talker.of("response.done")[0]["response"]["id"]
            assert cost["balance_nano_usd"] == before - ANSWER_NANO
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())
    assert stand.balance_nano(alice) == before - ANSWER_NANO


def test_audio_comes_out_as_it_went_in(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=2_000, piece_ms=20))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send(
                "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            )
            frames = [sound(20, loud=number % 2 == 0) for number in range(50)]
            for frame in frames:
                await talker.send("input_audio_buffer.append", audio=frame)
            await talker.send("input_audio_buffer.commit")
            await talker.answer()
            (upstream,) = stand.sessions_of(model)
            assert [event["audio"] for event in upstream.received if "audio" in event] == frames
            sent = [event for event in upstream.sent if event["type"] == "response.output_audio.delta"]
            assert talker.of("response.output_audio.delta") == sent
            assert len(sent) == 100

    asyncio.run(converse())


def test_the_session_has_our_id_and_model_and_nothing_of_the_account_behind_it(stand: Stand, alice: Tenant) -> None:
    script = RealtimeScript(
        extra_events=({"type": "mcp_list_tools.completed"}, {"type": "response.mcp_call.completed"})
    )
    model = stand.model(script)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            created = talker.events[0]["session"]
            assert created["model"] == model
            assert created["id"].startswith("sess-")
            await talker.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
            updated = await talker.until("session.updated")
            assert (updated["session"]["id"], updated["session"]["model"]) == (created["id"], model)
            assert updated["session"]["instructions"] == "Be brief."
            await talker.answer()
            assert not {"rate_limits.updated", "mcp_list_tools.completed", "response.mcp_call.completed"} & {
                *talker.types()
            }

    asyncio.run(converse())


def test_a_function_is_called_and_its_result_answered(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(call=("weather", '{"city": "Ghent"}'), says="Rain."))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
            await talker.send("session.update", session={"type": "realtime", "tools": [tool]})
            await talker.answer()
            (call,) = talker.of("response.function_call_arguments.done")
            assert json.loads(call["arguments"]) == {"city": "Ghent"}
            item = {"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}
            await talker.send("conversation.item.create", item=item)
            await talker.answer()
            assert talker.of("response.output_audio_transcript.done")[0]["transcript"] == "Rain."
            assert talker.cost_nano() == 2 * ANSWER_NANO

    asyncio.run(converse())


def test_whoever_speaks_while_it_speaks_interrupts_it_and_pays_for_what_was_said(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, piece_ms=100, pause_s=0.02))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.say(200)
            await talker.say(400, loud=False)
            await talker.until("response.output_audio.delta")
            await talker.say(40)
            done = await talker.until("response.done")
            assert done["response"]["status"] == "cancelled"
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            cost = await talker.until("x_komilion.cost")
            assert cost["cost_nano_usd"] == ANSWER_NANO
            assert "input_audio_buffer.speech_started" in talker.types()

    asyncio.run(converse())


def test_an_answer_can_be_cancelled_by_an_event(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, piece_ms=100, pause_s=0.02))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await talker.until("response.output_audio.delta")
            await talker.send("response.cancel")
            done = await talker.until("response.done")
            assert done["response"]["status_details"]["reason"] == "client_cancelled"
            assert (await talker.until("x_komilion.cost"))["cost_nano_usd"] == ANSWER_NANO

    asyncio.run(converse())


def test_texts_pass_in_both_directions(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(says="Grüße aus Köln."))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            part = {"type": "input_text", "text": "Woher kommst du?"}
            item = {"type": "message", "role": "user", "content": [part]}
            await talker.send("conversation.item.create", item=item)
            await talker.send("response.create", response={"output_modalities": ["text"]})
            assert (await talker.until("response.output_text.done"))["text"] == "Grüße aus Köln."
            (upstream,) = stand.sessions_of(model)
            (sent,) = [event for event in upstream.received if event["type"] == "conversation.item.create"]
            assert sent["item"]["content"] == [part]

    asyncio.run(converse())


def test_a_wrong_event_is_answered_by_an_error_with_its_id_and_never_goes_up(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("session.update", event_id="mine-1", session={"type": "realtime", "tracing": "auto"})
            error = (await talker.until("error"))["error"]
            assert (error["event_id"], error["param"]) == ("mine-1", "session.tracing")
            await talker.send("response.think", event_id="mine-2")
            assert (await talker.until("error"))["error"]["event_id"] == "mine-2"
            await talker.socket.send(b"\x00\x01")
            assert "text frames" in (await talker.until("error"))["error"]["message"]
            await talker.socket.send("{")
            assert (await talker.until("error"))["error"]["type"] == "invalid_request_error"
            await talker.answer()
            assert stand.sessions_of(model)[0].types() == ["response.create"]

    asyncio.run(converse())


def test_what_the_provider_refuses_of_a_request_is_told_in_its_words(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("input_audio_buffer.commit", event_id="mine")
            error = (await talker.until("error"))["error"]
            assert error["code"] == "input_audio_buffer_commit_empty"
            assert error["event_id"] is None or error["event_id"] == "mine"
            await talker.answer()

    asyncio.run(converse())


def test_what_is_between_the_provider_and_us_is_not_told(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(echoes_key=True))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            error = (await talker.until("error"))["error"]
            assert error["code"] == "provider_error"
            assert KEY not in json.dumps(talker.events)

    asyncio.run(converse())


def test_a_response_that_failed_is_free_and_says_no_more_than_that(stand: Stand, alice: Tenant) -> None:
    error = {"type": "insufficient_quota", "code": "insufficient_quota"}
    model = stand.model(RealtimeScript(status="failed", error=error))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            cost = await talker.answer()
            assert cost["cost_nano_usd"] == 0
            (done,) = talker.of("response.done")
            assert done["response"]["status_details"]["error"]["code"] == "provider_error"

    asyncio.run(converse())


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -1, "output_tokens": 5}, {"input_tokens": 5}])
def test_an_answer_without_a_usage_that_can_be_true_is_charged_as_counted(
    stand: Stand, alice: Tenant, usage: dict[str, int] | None
) -> None:
    model = stand.model(RealtimeScript(usage=usage, says="Hello there.", audio_ms=2_000))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            cost = await talker.answer()
            # 2 s are 40 tokens, 12 bytes are 3; of input there was an empty configuration, of 5 tokens
            assert cost["parts"][0]["usage"] == {"input": 5, "output": 3, "output_audio": 40}

    asyncio.run(converse())


def test_what_the_caller_said_is_transcribed_at_the_price_of_another_model(stand: Stand, alice: Tenant) -> None:
    script = RealtimeScript(transcription_usage={"type": "duration", "seconds": 2.5})
    model = stand.model(script)
    stand.gateway.add_model(
        "scribe-1",
        "acme/scribe",
        provider=stand.provider,
        kind="transcription",
        input_price="0",
        output_price="0",
        second_price="0.0001",
    )
    stand.gateway.wait_for_catalog()
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"transcription": {"model": "acme/scribe"}, "turn_detection": None}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            await talker.until("session.updated")
            update = stand.sessions_of(model)[0].received[0]
            assert update["session"]["audio"]["input"]["transcription"] == {"model": "scribe-1"}
            await talker.say(2_500)
            await talker.send("input_audio_buffer.commit")
            cost = await talker.until("x_komilion.cost")
            assert cost["parts"][0]["model"] == "acme/scribe"
            assert cost["cost_nano_usd"] == 312_500  # 2.5 s x $0.0001, and the fee
            await talker.answer()
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == talker.cost_nano()

    asyncio.run(converse())


def test_a_transcription_model_without_a_price_is_refused(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"transcription": {"model": "unheard-of"}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            error = (await talker.until("error"))["error"]
            assert error["param"] == "session.audio.input.transcription.model"
            await talker.answer()

    asyncio.run(converse())


def test_what_was_refused_is_not_asked_for_again_over_another_connection(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(lost_at="rate_limits.updated"))

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
            await talker.until("session.updated")
            heard = {"transcription": {"model": "unheard-of"}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            await talker.until("error")
            await talker.answer()  # the connection is lost with it
            await talker.answer()
        sessions = stand.sessions_of(model)
        assert len(sessions) == 2
        assert sessions[1].received[0]["session"] == {"type": "realtime", "instructions": "Be brief."}

    asyncio.run(converse())


def test_a_key_transcribes_by_no_model_that_it_may_not_call(stand: Stand, alice: Tenant) -> None:
    model = stand.model()
    prices = {"input_price": "0", "output_price": "0", "second_price": "0.0001"}
    stand.gateway.add_model("scribe-2", "acme/scribe-2", provider=stand.provider, kind="transcription", **prices)
    stand.gateway.wait_for_catalog()
    key = key_of(alice, models_allowed=[model]).secret

    async def converse() -> None:
        async with talking(stand, key, model) as talker:
            heard = {"transcription": {"model": "acme/scribe-2"}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            error = (await talker.until("error"))["error"]
            assert "may not call acme/scribe-2" in error["message"]
            await talker.answer()

    asyncio.run(converse())


def test_a_piece_of_audio_that_is_written_unusually_passes_as_a_plain_one(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.socket.send('{"\\u0074ype": "input_audio_buffer.append", "audio": "AAAA", "event_id": "a b"}')
            await talker.send("input_audio_buffer.append", audio="A-_A", event_id="mine")
            error = (await talker.until("error"))["error"]
            assert (error["param"], error["event_id"]) == ("audio", "mine")
            await talker.answer()
            first = stand.sessions_of(model)[0].received[0]
            assert first == {"type": "input_audio_buffer.append", "audio": "AAAA"}

    asyncio.run(converse())


def test_what_is_wrong_at_once_is_told_after_the_session_was_created(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(created_after_s=0.2))

    async def converse() -> None:
        headers = {"Authorization": f"Bearer {alice.key}"}
        async with connect(stand.url(f"/v1/realtime?model={model}"), additional_headers=headers) as socket:
            talker = Talker(socket)
            await talker.send("session.update", event_id="mine", session={"type": "realtime", "speed": "fast"})
            error = await talker.until("error")
            assert error["error"]["event_id"] == "mine"
            assert talker.types() == ["session.created", "error"]

    asyncio.run(converse())
