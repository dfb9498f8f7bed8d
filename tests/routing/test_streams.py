"""Streams as a client sees them: whole frames of ours, in order, with the bill on the last and never a false end."""

import json

import pytest

from komilion.env import free_port
from tests.fakes import frames, wire
from tests.fakes.client import Answer, RawCall, chat
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Tokens
from tests.fakes.replies import Cut, Reply, ToolCall
from tests.routing.books import charge_of, only_row
from tests.routing.gates import ENDLESS, STREAM, Gate, words
from tests.routing.servers import second_server
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

WITH_USAGE = {"include_usage": True}
ASKED = {"stream": True, "stream_options": WITH_USAGE}


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


def stream(gateway: Gateway, tenant: Tenant, script: str | Reply, **body: object) -> Answer:
    """A streamed call to a model of its own that the upstream answers by `script`."""
    return gateway.chat(tenant, gateway.add_model(script), stream=True, **body)


def finishes(answer: Answer) -> list[str]:
    """Every finish reason, in order."""
    choices = [choice for frame in answer.frames for choice in frame["choices"]]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


def charged(answer: Answer) -> int:
    """What the answer says it cost."""
    return answer.frames[-1]["x_komilion"]["cost_nano_usd"]


class TestFrames:
    def test_id_and_model_are_ours_in_every_frame(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model()
        answer = gateway.chat(alice, model, stream=True)
        assert {frame["id"] for frame in answer.frames} == {answer.headers["x-request-id"]}
        assert {frame["model"] for frame in answer.frames} == {model}
        assert answer.headers["x-generation-id"] == answer.headers["x-request-id"]
        assert answer.events[-1] == "[DONE]"
        assert answer.text == words(12)

    def test_headers(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model()
        headers = gateway.chat(alice, model, stream=True).headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["x-accel-buffering"] == "no"
        assert headers["cache-control"] == "no-cache"
        assert (headers["x-komilion-model"], headers["x-komilion-provider"]) == (model, "up")
        assert headers["x-kairosroute-provider"] == "up"
        assert not [name for name in headers if name.endswith(("-cost", "-savings"))]

    def test_headers_of_a_whole_answer_tell_the_cost(self, gateway: Gateway, alice: Tenant):
        headers = gateway.chat(alice, gateway.add_model(Reply(usage=Tokens(25, 12)))).headers
        assert headers["x-komilion-cost"] == headers["x-kairosroute-cost"] == "0.00031875"
        assert headers["x-komilion-savings"] == headers["x-kairosroute-savings"] == "0.00"

    @pytest.mark.parametrize(("prefix", "has_names"), [("/v1", True), ("/api", False), ("/api/v1", False)])
    @pytest.mark.parametrize("options", [{}, {"stream": True}], ids=["whole", "streamed"])
    def test_compatible_names_are_under_v1_only(
        self, gateway: Gateway, alice: Tenant, prefix: str, has_names: bool, options: dict
    ):
        answer = gateway.chat(alice, gateway.add_model(), path=f"{prefix}/chat/completions", **options)
        last = answer.frames[-1] if options else answer.json
        assert ("x_kairosroute" in last) == has_names
        assert ("x-kairosroute-provider" in answer.headers) == has_names
        if has_names:
            assert last["x_kairosroute"]["cost_usd"] == last["x_komilion"]["cost_usd"]

    def test_compatible_names_can_be_turned_off(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.COMPAT_NAMES = False
        answer = gateway.chat(alice, gateway.add_model())
        assert "x_kairosroute" not in answer.json
        assert not [name for name in answer.headers if name.startswith("x-kairosroute")]

    def test_amounts_are_exact_decimals(self, gateway: Gateway, alice: Tenant):
        body = stream(gateway, alice, Reply(usage=Tokens(1, 0))).body
        assert b'"cost_usd":0.00000375,"cost_nano_usd":3750,' in body


class TestUsage:
    def test_rides_on_the_finish_frame(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(usage=Tokens(25, 12)))
        *others, last = answer.frames
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["usage"]["completion_tokens"] == 12
        assert last["usage"]["cost_nano_usd"] == charged(answer) == charge_of(Tokens(25, 12))
        assert not any(frame.get("usage") or "x_komilion" in frame for frame in others)

    def test_has_a_frame_of_its_own_where_asked_for(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(usage=Tokens(25, 12)), stream_options=WITH_USAGE)
        *others, finish, last = answer.frames
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == 37
        assert charged(answer) == charge_of(Tokens(25, 12))
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert not any(frame.get("usage") or "x_komilion" in frame for frame in [*others, finish])

    @pytest.mark.parametrize("options", [{}, {"stream_options": WITH_USAGE}], ids=["plain", "asked"])
    @pytest.mark.parametrize("report", ["frame", "missing", "null", "every", "finish"])
    def test_wherever_the_provider_reports_it(self, gateway: Gateway, alice: Tenant, report: str, options: dict):
        answer = stream(gateway, alice, Reply(report=report, usage=Tokens(25, 12)), **options)
        *others, last = answer.frames
        assert answer.text == words(12)
        assert finishes(answer) == ["stop"]
        assert not any(frame.get("usage") for frame in others)
        is_reported = report in {"frame", "every", "finish"}
        assert (charged(answer) == charge_of(Tokens(25, 12))) == is_reported
        assert last["usage"]["completion_tokens"] == (12 if is_reported else -(-len(words(12)) // 4))

    @pytest.mark.parametrize("report", ["frame", "every", "finish"])
    def test_without_done(self, gateway: Gateway, alice: Tenant, report: str):
        answer = stream(gateway, alice, Reply(done=False, report=report, usage=Tokens(25, 12)))
        assert finishes(answer) == ["stop"]
        assert charged(answer) == charge_of(Tokens(25, 12))
        assert answer.events[-1] == "[DONE]"

    def test_an_early_report_is_not_the_last_word(self, gateway: Gateway):
        """Some report the input in the first frame and the whole after the finish."""
        early, late = {"prompt_tokens": 25, "completion_tokens": 0}, {"prompt_tokens": 25, "completion_tokens": 12}

        async def act(exchange: Exchange) -> None:
            *content, finish, usage, done = frames.stream(exchange.reply, exchange.call)
            first = content[0].data.replace(b'"usage":null', b'"usage":' + json.dumps(early).encode())
            last = usage.data.partition(b'"usage":')[0] + b'"usage":' + json.dumps(late).encode() + b"}\n\n"
            await exchange.send(wire.head(200, STREAM) + wire.chunk(first))
            for frame in [*content[1:], finish]:
                await exchange.send(wire.chunk(frame.data))
            await exchange.pause(0.02)
            await exchange.send(wire.chunk(last + done.data) + wire.chunk(b""))

        tenant = gateway.tenant()
        answer = stream(gateway, tenant, Reply(act=act))
        assert answer.text == words(12)
        assert charged(answer) == charge_of(Tokens(25, 12))

    def test_a_content_frame_that_reports_usage_is_not_kept_waiting(self, gateway: Gateway, alice: Tenant):
        gate = Gate(1, Reply(report="every", report_always=True))
        model = gateway.add_model(gate.script)
        with RawCall(gateway.url, alice.key, model=model, stream=True) as raw:
            assert b"Quantum" in raw.send().read_frames(1)
            gate.open()
            assert raw.rest().count(b'"usage"') == 1

    def test_usage_before_any_frame_of_content(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(frames=0, usage=Tokens(25, 0)))
        assert finishes(answer) == ["stop"]
        assert charged(answer) == charge_of(Tokens(25, 0))


class TestContent:
    @pytest.mark.parametrize("report", ["frame", "every", "finish"])
    @pytest.mark.parametrize("options", [{}, {"stream_options": WITH_USAGE}], ids=["plain", "asked"])
    def test_several_choices(self, gateway: Gateway, alice: Tenant, report: str, options: dict):
        reply = Reply(frames=4, report=report, usage=Tokens(25, 12))
        answer = stream(gateway, alice, reply, n=3, max_tokens=50, **options)
        texts = ["", "", ""]
        for frame in answer.frames:
            for choice in frame["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
        assert texts == [words(4)] * 3
        assert finishes(answer) == ["stop"] * 3
        assert charged(answer) == charge_of(Tokens(25, 12))

    def test_a_choice_that_ends_before_the_others(self, gateway: Gateway, alice: Tenant):
        async def act(exchange: Exchange) -> None:
            planned = list(frames.stream(exchange.reply, exchange.call))
            content, (first, second, usage, done) = planned[:-4], planned[-4:]
            exchange.finish("completed")
            order = [*content[:-1], first, content[-1], second, usage, done]
            data = b"".join(wire.chunk(frame.data) for frame in order)
            await exchange.send(wire.head(200, STREAM) + data + wire.chunk(b""))

        answer = stream(gateway, alice, Reply(frames=4, act=act, usage=Tokens(25, 8)), n=2, max_tokens=50)
        assert [c["finish_reason"] for f in answer.frames for c in f["choices"]] == [None] * 7 + ["stop", None, "stop"]
        assert charged(answer) == charge_of(Tokens(25, 8))

    def test_a_model_that_reasons_has_paid_for_all_it_may_write(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply(frames=9), capabilities="reasoning")
        answer = gateway.chat(alice, model, stream=True, max_tokens=10)
        assert answer.text == words(9)

    def test_tools(self, gateway: Gateway, alice: Tenant):
        reply = Reply(tool_calls=(ToolCall("weather", '{"location": "Lund"}'),))
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        answer = stream(gateway, alice, reply, tools=tools)
        calls = [
            call["function"]
            for frame in answer.frames
            for choice in frame["choices"]
            for call in choice["delta"].get("tool_calls") or ()
        ]
        assert "".join(call["arguments"] for call in calls) == '{"location": "Lund"}'
        assert calls[0]["name"] == "weather"
        assert finishes(answer) == ["tool_calls"]

    def test_reasoning(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(reasoning="First think, then write."))
        thoughts = [choice["delta"].get("reasoning_content") for f in answer.frames for choice in f["choices"]]
        assert "".join(filter(None, thoughts)) == "First think, then write."
        assert answer.text == words(12)

    def test_a_reasoning_model_has_more_time(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.FIRST_CONTENT_TIMEOUT_S = settings.FRAME_GAP_TIMEOUT_S = 0.05
        settings.COMMENT_FRAME_EVERY_S = 0.05
        model = gateway.add_model("ok,first=0.3", capabilities="reasoning")
        answer = gateway.chat(alice, model, stream=True)
        assert finishes(answer) == ["stop"]

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_the_reason_of_the_provider_is_kept(self, gateway: Gateway, alice: Tenant, reason: str):
        assert finishes(stream(gateway, alice, Reply(finish=reason))) == [reason]

    def test_what_is_not_text_survives(self, gateway: Gateway, alice: Tenant):
        text = 'Umeå 🎉 "quoted" \\ back\nline "id":"x" "model":"y" finish_reason [DONE]'
        assert stream(gateway, alice, Reply(content=text, frames=5)).text == text


class TestSigns:
    def test_comments_while_nothing_comes(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        gate = Gate(2)
        model = gateway.add_model(gate.script)
        with RawCall(gateway.url, alice.key, model=model, stream=True) as raw:
            raw.send().read_until(b": keep-alive\n\n", 3)
            gate.open()
            raw.rest()
        assert raw.received.startswith(b"HTTP/1.1 200")
        assert b'"finish_reason":"stop"' in raw.payload

    def test_comments_before_the_first_frame_start_the_stream(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        gate = Gate(0)
        model = gateway.add_model(gate.script)
        with RawCall(gateway.url, alice.key, model=model, stream=True) as raw:
            assert b"200 OK" in raw.send().read_until(b": keep-alive\n\n")
            gate.open()
            assert b'"finish_reason":"stop"' in raw.rest()

    def test_no_comment_while_the_provider_talks(self, gateway: Gateway, alice: Tenant):
        assert b": keep-alive" not in stream(gateway, alice, "ok,comments").body


class TestTrouble:
    def broken(self, answer: Answer) -> dict:
        """The last frame of an answer that broke off; checks that it cannot be taken for a good end."""
        assert answer.status == 200
        assert finishes(answer) == ["error"]
        last = answer.frames[-1]
        assert last["error"]["message"]
        assert last["choices"][0]["finish_reason"] == "error"
        assert last["x_komilion"]["cost_nano_usd"] > 0
        assert answer.events[-1] == "[DONE]"
        return last["error"]

    @pytest.mark.parametrize("how", ["close", "reset", "end"])
    def test_a_cut_after_content_is_an_error_event(self, gateway: Gateway, how: str):
        tenant = gateway.tenant()
        answer = stream(gateway, tenant, Reply(cut=Cut(frames=5, how=how), between_frames_s=0.01))
        assert self.broken(answer)["reason"] == "provider_error"
        # A reset throws away what the gateway's system had received but not handed over.
        assert words(5).startswith(answer.text) if how == "reset" else answer.text == words(5)
        assert only_row(tenant).charge_nano == charged(answer)

    @pytest.mark.parametrize("inside", [2, 7])
    def test_half_a_frame_never_reaches_the_client(self, gateway: Gateway, alice: Tenant, inside: int):
        answer = stream(gateway, alice, Reply(cut=Cut(inside=inside)))
        self.broken(answer)
        assert answer.text == words(inside - 1)

    def test_an_error_event_of_the_provider(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(error_after=4))
        assert self.broken(answer)["type"] == "provider_error"
        assert answer.text == words(4)

    def test_the_error_speaks_the_dialect_of_the_path(self, gateway: Gateway, alice: Tenant):
        answer = stream(gateway, alice, Reply(error_after=4), path="/api/chat/completions")
        assert self.broken(answer)["code"] == 502

    def test_silence_after_content(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.FRAME_GAP_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.1
        gate = Gate(3)
        answer = stream(gateway, alice, gate.script)
        assert self.broken(answer)["reason"] == "request_timeout"
        assert answer.text == words(3)

    def test_the_whole_time_is_limited(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.TOTAL_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.3
        answer = stream(gateway, alice, Reply(frames=1_000, between_frames_s=0.02))
        assert self.broken(answer)["reason"] == "request_timeout"

    @pytest.mark.parametrize(("path", "status"), [("/v1", 408), ("/api", 503)])
    def test_no_content_in_time_is_a_status(
        self, gateway: Gateway, alice: Tenant, settings: object, path: str, status: int
    ):
        settings.FIRST_CONTENT_TIMEOUT_S = 0.1
        answer = stream(gateway, alice, Reply(before_head_s=30), path=f"{path}/chat/completions")
        assert answer.status == status

    def test_a_role_alone_is_no_content(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.FIRST_CONTENT_TIMEOUT_S = 0.2
        gate = Gate(1, Reply(role_alone=True))
        answer = stream(gateway, alice, gate.script)
        assert (answer.status, answer.json["error"]["reason"]) == (408, "request_timeout")

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (Reply(cut=Cut(frames=0)), 502),
            (Reply(cut=Cut(before_head=True)), 502),
            (Reply(error_after=0), 502),
            (Reply(status=429, headers={"Retry-After": "7"}), 429),
            (Reply(body=b'{"error": {"message": "overloaded", "type": "overloaded"}}', status=200), 503),
            (Reply(body=b"", status=200), 502),
        ],
        ids=["cut", "no head", "error frame", "429", "error as JSON", "empty"],
    )
    def test_an_error_before_content_is_a_status(
        self, gateway: Gateway, alice: Tenant, settings: object, reply: Reply, status: int
    ):
        settings.RETRY_AFTER_MOST_S = 0
        answer = stream(gateway, alice, reply)
        assert answer.status == status
        assert answer.json["error"]["message"]
        assert answer.headers["content-type"] == "application/json"

    def test_a_provider_that_hangs_up_while_asked_is_no_mystery(self, gateway: Gateway, alice: Tenant):
        name = gateway.add_provider(f"gone-{free_port()}", base_url=f"http://127.0.0.1:{free_port()}/v1")
        answer = gateway.chat(alice, gateway.add_model(Reply(), provider=name), stream=True)
        assert (answer.status, answer.json["error"]["reason"]) == (503, "provider_unavailable")
        assert name in answer.json["error"]["message"]

    def test_a_connection_that_is_never_accepted(self, gateway: Gateway, alice: Tenant, settings: object):
        import socket

        settings.CONNECT_TIMEOUT_S = 0.2
        with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
            port = deaf.getsockname()[1]
            crowd = [socket.socket() for _ in range(3)]
            for one in crowd:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            name = gateway.add_provider(f"deaf-{port}", base_url=f"http://127.0.0.1:{port}/v1")
            model = gateway.add_model(Reply(), provider=name)
            with second_server() as impatient:
                answer = chat(impatient.url, alice.key, model=model, stream=True)
            for one in crowd:
                one.close()
        assert (answer.status, answer.json["error"]["reason"]) == (503, "provider_unavailable")

    def test_a_client_that_reads_slowly_gets_everything(self, gateway: Gateway, alice: Tenant, settings: object):
        """Time that a write takes is not the provider's silence."""
        settings.FRAME_GAP_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.2
        model = gateway.add_model(Reply(frames=60, words_per_frame=20_000), **ENDLESS)
        with RawCall(gateway.url, alice.key, model=model, stream=True) as raw:
            raw.send().read_frames(1)
            started = wait_until(lambda: gateway.calls_of(model))[0].arrived_at
            import time

            wait_until(lambda: time.time() - started > 0.6, what="the client to read on")
            assert b'"finish_reason":"stop"' in raw.rest()
