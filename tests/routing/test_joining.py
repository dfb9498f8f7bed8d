"""Streams that break off after content: joined where another answer repeats what was delivered, else ended honestly."""

import pytest

from tests.billing.committing import Database
from tests.fakes import frames, wire
from tests.fakes.client import CHAT, PROMPT, Answer, RawCall, call
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Tokens
from tests.fakes.replies import Cut, Reply, ToolCall
from tests.routing.books import assert_in_order, charge_of, counted, only_row
from tests.routing.failing import TEXT, Places, add_places, again
from tests.routing.gates import STREAM, Gate, words
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway
from tests.waiting import wait_until

CUT = Reply(frames=24, content=TEXT, usage=Tokens(25, 40), cut=Cut(frames=12))
WHOLE = Reply(frames=10, content=TEXT, usage=Tokens(25, 40))


def ask(places: Places, **body: object) -> Answer:
    """A streamed call."""
    return places.ask(stream=True, **body)


def finish(answer: Answer) -> str:
    """How it ended."""
    (reason,) = {c["finish_reason"] for f in answer.frames for c in f["choices"] if c["finish_reason"]}
    return reason


def assert_joined(places: Places, answer: Answer, text: str, characters: int) -> None:
    """The client has the whole text once, pays the second answer and nothing else, and is told of it."""
    assert answer.text == text
    assert finish(answer) == "stop"
    note = answer.frames[-1]["x_komilion"]
    assert note["joined"] == [{"model": places.model, "provider": places.providers[0], "characters": characters}]
    assert note["provider"] == places.providers[1]
    row = places.row()
    assert (row.outcome, row.usage_source, row.provider) == ("completed", "provider", places.providers[1])
    assert row.charge_nano == note["cost_nano_usd"] == charge_of(places.calls(1)[-1].billed)
    assert_in_order(places.gateway, places.tenant, row.charge_nano)


def assert_ended(places: Places, answer: Answer, text: str) -> None:
    """The client has what the first offer wrote, an error, and the bill for that."""
    assert answer.text == text
    assert finish(answer) == "error"
    assert answer.frames[-1]["error"]["reason"] == "provider_error"
    assert "joined" not in answer.frames[-1]["x_komilion"]
    row = places.row()
    assert (row.outcome, row.usage_source, row.provider) == ("provider_cut", "estimated", places.providers[0])
    assert answer.frames[-1]["x_komilion"]["provider"] == places.providers[0]
    assert_in_order(places.gateway, places.tenant, row.charge_nano)


@pytest.fixture(autouse=True)
def _one_try_an_offer(settings: object) -> None:
    settings.TRIES_PER_OFFER = 1


class TestJoined:
    @pytest.mark.parametrize("how", ["close", "end"])  # a reset throws away what lies unread
    @pytest.mark.parametrize("style", [{}, {"spaced": True}, {"split_seed": 3}, {"role_alone": True}], ids=str)
    def test_the_same_answer_from_another_offer(self, gateway: Gateway, how: str, style: dict):
        places = add_places(gateway, again(CUT, cut=Cut(frames=12, how=how), **style), again(WHOLE, **style))
        answer = ask(places)
        assert places.counts == [1, 1]
        assert_joined(places, answer, TEXT, 96)

    def test_the_row_and_the_books_say_what_the_broken_one_cost(self, gateway: Gateway):
        places = add_places(gateway, again(CUT, error_after=12, cut=None), WHOLE)
        answer = ask(places)
        assert answer.text == TEXT
        row = places.row()
        assert [attempt.get("error") for attempt in row.detail["attempts"]] == ["provider_error", None]
        delivered = answer.frames[-1]["x_komilion"]["joined"][0]["characters"]
        tokens = counted(places.calls(0)[0], 12, TEXT[:delivered])
        assert row.attempt_loss_nano == tokens.prompt * 3_000 + tokens.completion * 15_000
        assert_in_order(gateway, places.tenant, charge_of(Tokens(25, 40)))

    def test_the_first_frames_of_another_answer(self, gateway: Gateway):
        other = again(WHOLE, content="Well, a fox jumps. " + TEXT[20:])
        places = add_places(gateway, again(CUT, cut=Cut(frames=20)), other)
        answer = ask(places)
        assert answer.text == TEXT
        assert finish(answer) == "stop"
        assert len(answer.frames[-1]["x_komilion"]["joined"]) == 1

    def test_silence_in_the_middle(self, gateway: Gateway, settings: object):
        settings.FRAME_GAP_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.15
        places = add_places(gateway, Gate(12, again(CUT, cut=None)).script, WHOLE)
        assert_joined(places, ask(places), TEXT, 96)
        assert places.counts == [1, 1]

    def test_an_answer_that_was_whole_but_for_its_end(self, gateway: Gateway):
        places = add_places(gateway, again(CUT, cut=Cut(frames=-(-len(TEXT) // 8))), WHOLE)
        assert_joined(places, ask(places), TEXT, len(TEXT))

    def test_frames_with_usage_so_far(self, gateway: Gateway):
        places = add_places(gateway, again(CUT, report="every"), again(WHOLE, report="every"))
        assert_joined(places, ask(places), TEXT, 96)

    def test_the_usage_has_a_frame_of_its_own_where_asked_for(self, gateway: Gateway):
        places = add_places(gateway, CUT, WHOLE)
        answer = ask(places, stream_options={"include_usage": True})
        assert answer.frames[-1]["choices"] == []
        assert answer.frames[-1]["usage"]["completion_tokens"] == 40
        assert_joined(places, answer, TEXT, 96)

    def test_a_tool_is_called_behind_the_joined_text(self, gateway: Gateway):
        async def act(exchange: Exchange) -> None:
            text = frames.stream(again(WHOLE, done=False), exchange.call)
            calls = list(frames.stream(Reply(tool_calls=(ToolCall("weather", "{}"),)), exchange.call))
            exchange.finish("completed", Tokens(25, 40))
            data = [frame.data for frame in text if frame.content] + [frame.data for frame in calls]
            await exchange.send(wire.head(200, STREAM) + wire.chunk(b"".join(data)) + wire.chunk(b""))

        places = add_places(gateway, CUT, Reply(act=act))
        answer = ask(places)
        assert answer.text == TEXT
        assert finish(answer) == "tool_calls"

    def test_a_third_answer_goes_on_with_the_second(self, gateway: Gateway):
        places = add_places(gateway, CUT, again(WHOLE, frames=24, cut=Cut(frames=18)), WHOLE)
        answer = ask(places)
        assert answer.text == TEXT
        assert [join["characters"] for join in answer.frames[-1]["x_komilion"]["joined"]] == [96, 144]
        assert_in_order(gateway, places.tenant, charge_of(Tokens(25, 40)))

    def test_with_a_key_the_joined_answer_is_what_is_kept(self, gateway: Gateway):
        places = add_places(gateway, CUT, WHOLE)
        body = {"model": places.model, "messages": PROMPT, "stream": True}
        answers = [call(gateway.url, CHAT, places.tenant.key, body, {"Idempotency-Key": "k"}) for _ in range(2)]
        assert answers[0].body == answers[1].body
        assert answers[0].text == TEXT
        assert answers[1].headers["idempotent-replayed"] == "true"

    def test_more_is_reserved_while_another_answer_is_read(self, gateway: Gateway, settings: object):
        settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 10
        places = add_places(gateway, CUT, WHOLE)
        assert_joined(places, ask(places), TEXT, 96)


class TestEnded:
    @pytest.mark.parametrize(
        "other",
        [
            Reply(content="Something else entirely, that goes on for a while and never comes back.", frames=5),
            Reply(content=TEXT[:40], frames=4),
            Reply(tool_calls=(ToolCall("weather", "{}"),)),
            Reply(tool_calls=(ToolCall("weather", ""),), finish="tool_calls"),
            Reply(reasoning="Let me think.", content=TEXT),
            Reply(frames=0),
            Reply(status=400, body=b'{"error": {"message": "no"}}'),
        ],
        ids=["another", "shorter", "tools", "tools without arguments", "reasoning", "nothing", "refused"],
    )
    def test_no_other_answer_can_be_joined(self, gateway: Gateway, other: Reply):
        places = add_places(gateway, CUT, other)
        answer = ask(places)
        assert_ended(places, answer, TEXT[:96])
        assert "no other could be joined" in answer.frames[-1]["error"]["message"]
        tokens = counted(places.calls(0)[0], 12, TEXT[:96])
        assert places.row().charge_nano == charge_of(tokens)

    def test_what_the_other_one_wrote_is_ours_to_pay(self, gateway: Gateway):
        other = Reply(content="Something else entirely.", frames=5)
        places = add_places(gateway, CUT, other)
        assert_ended(places, ask(places), TEXT[:96])
        assert places.row().attempt_loss_nano > 0
        assert "diverged" in [attempt.get("error") for attempt in places.row().detail["attempts"]]

    @pytest.mark.parametrize(
        ("reply", "body"),
        [
            (again(CUT, content=None, frames=24), {"n": 2}),
            (Reply(reasoning="First think.", content=TEXT, frames=24, cut=Cut(frames=6)), {}),
            (Reply(tool_calls=(ToolCall("weather", '{"location": "Lund"}'),), cut=Cut(frames=2)), {}),
            (Reply(refusal="I cannot help with that.", cut=Cut(frames=2)), {}),
        ],
        ids=["choices", "reasoning", "tools", "refusal"],
    )
    def test_what_cannot_be_joined_is_not_tried(self, gateway: Gateway, reply: Reply, body: dict):
        places = add_places(gateway, reply, WHOLE)
        answer = ask(places, **body)
        assert places.counts == [1, 0]
        assert answer.frames[-1]["error"]["reason"] == "provider_error"
        assert_in_order(gateway, places.tenant, places.row().charge_nano)

    def test_a_single_offer_writes_the_same_again(self, gateway: Gateway, settings: object):
        settings.TRIES_PER_OFFER = 2
        places = add_places(gateway, again(CUT, turns=(CUT, WHOLE)))
        answer = ask(places)
        assert answer.text == TEXT
        assert places.counts == [2]

    def test_a_caller_who_left_gets_no_second_answer(self, gateway: Gateway):
        gate = Gate(12, CUT)

        async def act(exchange: Exchange) -> None:
            await exchange.send(wire.head(200, STREAM))
            for frame in list(frames.stream(again(CUT, cut=None), exchange.call))[:12]:
                await exchange.send(wire.chunk(frame.data))
            await gate._wait(exchange)
            exchange.finish("cut", Tokens(25, 12))
            exchange.break_off(reset=True)

        places = add_places(gateway, again(CUT, act=act), WHOLE)
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=True) as raw:
            raw.send().read_frames(12)
        with second_server():
            gate.open()  # the departure is noticed long before
        assert places.row().outcome == "provider_cut"
        assert places.counts == [1, 0]

    def test_a_caller_who_leaves_while_another_answer_is_read_pays_what_was_delivered(self, gateway: Gateway):
        gate = Gate(3, again(WHOLE, frames=24))
        places = add_places(gateway, CUT)
        gateway.upstream.script("aligning", gate.script)
        gateway.add_model("aligning", places.model, provider=CANCELLING)
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=True) as raw:
            raw.send().read_frames(12)
            gate.wait_for_call()
        row = only_row(places.tenant)
        assert (row.outcome, row.provider) == ("client_left", places.providers[0])
        assert row.charge_nano == charge_of(counted(places.calls(0)[0], 12, TEXT[:96]))
        wait_until(lambda: gateway.upstream.calls_of("aligning")[0].outcome == "cancelled", what="the cancelling")
        assert_in_order(gateway, places.tenant, row.charge_nano)

    def test_an_answer_that_ends_with_more_than_text(self, gateway: Gateway):
        async def act(exchange: Exchange) -> None:
            reply = Reply(tool_calls=(ToolCall("weather", "{}"),))
            *_, finish_frame, _usage, _done = frames.stream(reply, exchange.call)
            data = finish_frame.data.replace(b'"delta":{}', b'"delta":{"tool_calls":[{"index":0}]}')
            exchange.finish("completed", Tokens(25, 1))
            await exchange.send(wire.head(200, STREAM) + wire.chunk(data) + wire.chunk(b""))

        places = add_places(gateway, CUT, Reply(act=act))
        assert_ended(places, ask(places), TEXT[:96])

    def test_another_answer_without_an_end_is_given_up(self, gateway: Gateway):
        places = add_places(gateway, CUT, Reply(content="something else " * 100, frames=100))
        assert_ended(places, ask(places, max_tokens=13), TEXT[:96])

    def test_the_ledger_goes_away_while_another_answer_is_read(
        self, gateway: Gateway, settings: object, database: Database
    ):
        settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 30
        gate = Gate(2, again(WHOLE, content=TEXT * 3, frames=60))
        places = add_places(gateway, CUT, gate.script)
        with second_server() as server, RawCall(server.url, places.tenant.key, model=places.model, stream=True) as raw:
            raw.send().read_frames(12)
            gate.wait_for_call()
            database.is_away = True
            gate.open()
            received = raw.read_until(b"[DONE]")
            database.is_away = False
            assert b'"reason":"ledger_unavailable"' in received
            row = places.row()
        assert row.outcome == "provider_cut"
        assert_in_order(gateway, places.tenant, row.charge_nano)


class TestTheEnd:
    """A stream whose choices have all ended is whole, whatever becomes of its connection."""

    @pytest.mark.parametrize("cut", ["close", "reset"])
    def test_a_connection_that_breaks_after_the_finish(self, gateway: Gateway, cut: str):
        async def act(exchange: Exchange) -> None:
            *content, finish_frame, _usage, _done = frames.stream(exchange.reply, exchange.call)
            exchange.finish("completed")
            await exchange.send(wire.head(200, STREAM))
            await exchange.send(wire.chunk(b"".join(frame.data for frame in (*content, finish_frame))))
            await exchange.pause(0.05)
            exchange.break_off(reset=cut == "reset")

        places = add_places(gateway, Reply(act=act), WHOLE)
        answer = ask(places)
        assert (answer.text, finish(answer)) == (words(12), "stop")
        assert places.counts == [1, 0]
        assert places.row().usage_source == "estimated"

    def test_a_connection_that_stays_open_after_the_finish(self, gateway: Gateway, settings: object):
        settings.USAGE_WAIT_S = 0.1
        gate = Gate(13)
        places = add_places(gateway, gate.script, WHOLE)
        answer = ask(places)
        gate.open()
        assert (answer.text, finish(answer)) == (words(12), "stop")
        assert places.counts == [1, 0]
        assert places.row().usage_source == "estimated"

    def test_malformed_events_are_left_out_and_counted(self, gateway: Gateway):
        async def act(exchange: Exchange) -> None:
            content = list(frames.stream(exchange.reply, exchange.call))
            bad = [
                b"data: no JSON at all\n\n",
                b'data: {"choices": [{"delta": \n\n',
                b"data: [1, 2]\n\n",
                b"data: {}\n\n",
            ]
            exchange.finish("completed")
            data = [content[0].data, *bad, *(frame.data for frame in content[1:])]
            await exchange.send(wire.head(200, STREAM))
            await exchange.send(wire.chunk(b"".join(data)) + wire.chunk(b""))

        places = add_places(gateway, Reply(act=act))
        answer = ask(places)
        assert answer.text == words(12)
        assert places.row().detail["attempts"][0]["skipped_events"] == 4
