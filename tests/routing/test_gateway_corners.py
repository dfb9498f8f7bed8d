"""What happens seldom: a fault after the first byte, a server that stops, news that are lost, readers that stall."""

import asyncio

import pytest

from komilion import settings as komilion_settings
from tests.async_waiting import eventually
from tests.fakes import frames, wire
from tests.fakes.client import RawCall, call
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, nothing_is_held, only_row, usage_rows
from tests.routing.gates import ENDLESS, PLAIN, STREAM, Gate
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway
from tests.unborn import expect_unborn
from tests.waiting import wait_until


def test_a_fault_of_ours_after_the_first_byte_is_logged_and_charged(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("scripted")

    monkeypatch.setattr("routing.gateway.stream.annotate", failing)
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    with RawCall(gateway.url, tenant.key, model=model, stream=True) as raw:
        received = raw.send().rest()
    assert b'"finish_reason":"stop"' not in received
    assert "error after the first byte" in caplog.text
    assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))


def test_a_whole_answer_that_we_fail_to_send_is_charged_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("scripted")

    monkeypatch.setattr("routing.gateway.answer.annotate", failing)
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    assert gateway.chat(tenant, model).status == 500
    assert len(usage_rows(tenant)) == 1
    assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))


def test_a_call_is_settled_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from komilion.common.usage import Usage
    from routing.gateway.stream import Stream

    end = Stream._end

    async def twice(self: Stream, outcome: str, usage: Usage, source: str) -> None:
        await self.settlement.settle(outcome, usage, source)
        await end(self, "provider_cut", Usage(input=1), "estimated")

    monkeypatch.setattr(Stream, "_end", twice)
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    gateway.chat(tenant, model, stream=True)
    assert only_row(tenant).outcome == "completed"
    assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))


def test_the_end_without_a_line_end(gateway: Gateway):
    async def act(exchange: Exchange) -> None:
        *most, done = frames.stream(exchange.reply, exchange.call)
        exchange.finish("completed")
        await exchange.send(wire.head(200, STREAM) + b"".join(wire.chunk(frame.data) for frame in most[:-1]))
        await exchange.send(wire.chunk(done.data.rstrip()) + wire.chunk(b""))

    tenant, model = gateway.tenant(), gateway.add_model(Reply(act=act))
    answer = gateway.chat(tenant, model, stream=True)
    assert answer.frames[-1]["choices"][0]["finish_reason"] == "stop"
    assert only_row(tenant).usage_source == "estimated"


def test_an_error_whose_body_does_not_come(gateway: Gateway, settings: object):
    async def act(exchange: Exchange) -> None:
        await exchange.send(wire.head(429, {**PLAIN, "Content-Length": "100", "Retry-After": "9"}))
        await exchange.pause(30)

    settings.CONNECT_TIMEOUT_S = 0.2
    settings.RETRY_AFTER_MOST_S = 0
    tenant = gateway.tenant()
    answer = gateway.chat(tenant, gateway.add_model(Reply(act=act)))
    assert (answer.status, answer.headers["retry-after"]) == (429, "9")
    assert_in_order(gateway, tenant, 0)


def test_the_cache_of_keys_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("routing.gateway.authenticate.CACHE_KEYS", 0)
    for _ in range(2):
        assert call(gateway.url, "/v1/models", gateway.tenant().key).status == 200


def test_output_that_costs_next_to_nothing_needs_no_larger_hold(gateway: Gateway, settings: object):
    settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 20
    tenant, model = gateway.tenant(), gateway.add_model(Reply(frames=150), output_price="0.00001")
    answer = gateway.chat(tenant, model, stream=True)
    assert len(answer.text.split()) == 150


class TestStalledReaders:
    BIG = Reply(frames=200, words_per_frame=20_000)

    def test_the_whole_time_ends_even_a_write(self, gateway: Gateway, settings: object):
        settings.TOTAL_TIMEOUT_S = 1
        settings.WRITE_STALL_S = 1.5
        settings.COMMENT_FRAME_EVERY_S = 0.2
        tenant, model = gateway.tenant(credit="1000.00"), gateway.add_model(self.BIG, **ENDLESS)
        with RawCall(gateway.url, tenant.key, model=model, stream=True) as raw:
            raw.send().read_frames(1)
            row = only_row(tenant)
            assert (row.outcome, row.usage_source) == ("provider_cut", "estimated")
            wait_until(lambda: gateway.calls_of(model)[0].outcome != "running", what="the provider to be told")
        assert_in_order(gateway, tenant, row.charge_nano, "1000.00")

    def test_one_who_leaves_while_we_write(self, gateway: Gateway, settings: object):
        tenant = gateway.tenant(credit="1000.00")
        model = gateway.add_model(self.BIG, provider=CANCELLING, **ENDLESS)
        with RawCall(gateway.url, tenant.key, model=model, stream=True) as raw:
            raw.send().read_frames(1)
            raw.leave(reset=True)
        assert only_row(tenant).outcome == "client_left"
        wait_until(lambda: nothing_is_held(gateway, tenant))


class TestWatch:
    """The guard alone, where the server offers no way to bring it about."""

    class Quiet:
        """An exchange whose caller first says something more, then leaves."""

        def __init__(self) -> None:
            self.is_gone = False
            self.messages = ["http.request", "http.disconnect"]

        async def receive(self) -> dict[str, str]:
            return {"type": self.messages.pop(0)}

    def test_after_a_stall_of_this_process_what_came_meanwhile_counts(self):
        from routing.gateway.watch import SECOND_LOOK_S, Watch

        async def play() -> None:
            loop = asyncio.get_running_loop()
            async with Watch(self.Quiet()) as watch:
                watch.begin_stream(first_content_s=0.01, gap_s=30, ends_with_client=False)
                stalled_until = loop.time() + 0.05
                while loop.time() < stalled_until:
                    continue
                for _ in range(2):  # the timer runs before any socket is read
                    await asyncio.sleep(0)
                watch.content_came()
                await eventually(lambda: loop.time() > stalled_until + 3 * SECOND_LOOK_S)

        asyncio.run(play())

    def test_only_a_departure_ends_the_call_and_only_once(self):
        from routing.gateway.watch import Interrupted, Watch

        async def play() -> None:
            async with Watch(self.Quiet()) as watch:
                watch.begin_whole(ends_with_client=True)
                await asyncio.sleep(30)

        async def play_both() -> None:
            async with Watch(self.Quiet()) as watch:
                watch._interrupt("client_left")
                watch._interrupt("total")
                await asyncio.sleep(30)

        for one in (play, play_both):
            with pytest.raises(Interrupted) as caught:
                asyncio.run(one())
            assert caught.value.reason == "client_left"

    def test_a_comment_that_is_late_is_not_sent(self):
        from routing.gateway.watch import Watch

        async def play() -> None:
            watch = Watch(self.Quiet())
            await watch._comment(asyncio.Event().wait)  # would never return

        asyncio.run(play())

    @pytest.mark.parametrize("ends", [True, False])
    def test_a_comment_whose_turn_comes_when_the_answer_is_being_closed_is_not_sent(self, settings: object, ends: bool):
        from routing.gateway.watch import COMMENT_FRAME, Watch

        settings.COMMENT_FRAME_EVERY_S = 0
        sent: list[bytes] = []

        async def send(frame: bytes) -> None:
            sent.append(frame)

        async def play() -> None:
            async with Watch(self.Quiet()) as watch:
                watch.send_comments(send)
                watch.begin_stream(first_content_s=30, gap_s=30, ends_with_client=False)
                # Its first look has found that a comment is due, and leaves it to a task.
                if ends:
                    watch.wind_up()
                await asyncio.sleep(0)

        asyncio.run(play())
        assert sent == ([] if ends else [COMMENT_FRAME])


class TestServer:
    def test_a_stop_while_a_body_is_awaited(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", 0.1)
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        with second_server() as server, RawCall(server.url, tenant.key, model=model) as raw:
            raw.send(raw.head)
            wait_until(lambda: server.gateway.services.active, what="the request to be seen")
            server.ask_to_stop()
            raw.rest()
        assert usage_rows(tenant) == []

    def test_a_stop_waits_for_what_is_being_settled(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", 0.1)
        monkeypatch.setattr(komilion_settings, "SETTLEMENT_WAIT_S", 0)
        gate = Gate(2)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with second_server() as server, RawCall(server.url, tenant.key, model=model, stream=True) as raw:
            raw.send().read_frames(2)
            server.ask_to_stop()
            raw.rest()
        assert only_row(tenant).outcome == "server_stopped"

    def test_a_start_goes_on_when_nothing_can_be_reaped(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        from billing.errors import StoreBusy

        def busy() -> None:
            raise StoreBusy

        monkeypatch.setattr("routing.gateway.services.reap", busy)
        with second_server() as server:
            assert call(server.url, "/health").status == 200
        assert "nothing reaped at start" in caplog.text

    def test_a_start_that_fails_says_so(self, caplog: pytest.LogCaptureFixture):
        from komilion.asgi import endpoints
        from komilion.envelope import Envelope
        from routing.gateway.app import Gateway as App
        from voice.realtime.sockets import serve_socket

        def failing() -> None:
            raise RuntimeError("scripted")

        sent = []

        async def receive() -> dict[str, str]:
            return {"type": "lifespan.startup"}

        async def send(message: dict) -> None:
            sent.append(message)

        asyncio.run(Envelope(App(failing), None, endpoints, serve_socket)({"type": "lifespan"}, receive, send))
        assert sent == [{"type": "lifespan.startup.failed", "message": "scripted"}]

    def test_any_asgi_server_can_run_it(self, gateway: Gateway):
        """Without our own server's extensions and without a lifespan, and with connections that we do not serve."""
        from komilion.asgi import endpoints
        from komilion.envelope import Envelope
        from routing.gateway.app import Gateway as App
        from voice.realtime.sockets import serve_socket

        sent = []

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            sent.append(message)

        async def run() -> None:
            app = App()
            application = Envelope(app, None, endpoints, serve_socket)
            await application({"type": "unknown"}, receive, send)
            assert (sent, app.is_started) == ([], False)
            scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": []}
            await asyncio.gather(*(application(scope, receive, send) for _ in range(3)))
            await app.stop()

        asyncio.run(run())
        expect_unborn()
        assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [200] * 3


def test_an_attempt_says_where_it_went_and_how_long_it_took(gateway: Gateway):
    tenant = gateway.tenant()
    model = gateway.add_model("ok")
    assert gateway.chat(tenant, model).status == 200
    row = only_row(tenant)
    (attempt,) = row.detail["attempts"]
    assert (attempt["provider"], attempt["model"], attempt["status"]) == ("up", model, 200)
    assert 0 <= attempt["ms"] <= row.duration_ms
