"""An upstream that lies, floods, stalls or spies: no money moves wrongly, nothing of ours gets out."""

import json

import pytest

from tests.fakes import frames, wire
from tests.fakes.client import Answer
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, counted, only_row
from tests.routing.gates import PLAIN, STREAM, words
from tests.stand import UPSTREAM_KEY, Gateway, Tenant

SECRET = UPSTREAM_KEY.encode()
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
LIES = [
    ("negative", {"completion_tokens": -5}),
    ("huge", {"completion_tokens": 10**30}),
    ("beyond 2^31", {"prompt_tokens": 2**31 + 1}),
    ("impossible input", {"prompt_tokens": 2**30}),
    ("impossible output", {"completion_tokens": 2**30}),
    ("float", {"completion_tokens": 12.0}),
    ("string", {"completion_tokens": "12"}),
    ("true", {"completion_tokens": True}),
    ("null", {"completion_tokens": None}),
    ("list", {"prompt_tokens": [25]}),
    ("more cached than sent", {"prompt_tokens_details": {"cached_tokens": 26}}),
    ("negative detail", {"prompt_tokens_details": {"cached_tokens": -26}}),
    ("reasoning above output", {"completion_tokens_details": {"reasoning_tokens": 13}}),
]


def lying(changes: dict) -> Reply:
    """Tells the truth about usage but for these fields."""

    def declared(whole: Tokens) -> dict:
        return {"prompt_tokens": whole.prompt, "completion_tokens": whole.completion, **changes}

    return Reply(declared=declared)


def ask(gateway: Gateway, tenant: Tenant, script: str | Reply, **body: object) -> tuple[Answer, str]:
    """A call to a model of its own; whatever comes back, the upstream's key is not in it."""
    model = gateway.add_model(script)
    answer = gateway.chat(tenant, model, **body)
    seen = repr(answer.headers).encode() + answer.body
    assert SECRET not in seen
    assert b"127.0.0.1" not in seen
    return answer, model


class TestUsage:
    @STREAMED
    @pytest.mark.parametrize("changes", [changes for _, changes in LIES], ids=[name for name, _ in LIES])
    def test_a_figure_that_cannot_be_true_is_not_charged(
        self, gateway: Gateway, caplog: pytest.LogCaptureFixture, changes: dict, stream: bool
    ):
        tenant = gateway.tenant()
        answer, model = ask(gateway, tenant, lying(changes), stream=stream)
        assert answer.text == words(12)
        (call,) = gateway.calls_of(model)
        charge = charge_of(counted(call, 12 if stream else 0, words(12)))
        row = only_row(tenant)
        assert (row.outcome, row.usage_source, row.charge_nano) == ("completed", "estimated", charge)
        shown = answer.frames[-1] if stream else answer.json
        assert shown["usage"]["cost_nano_usd"] == charge
        assert shown["usage"]["completion_tokens"] == row.usage["output"]
        assert_in_order(gateway, tenant, charge)
        assert [record for record in caplog.records if getattr(record, "alarm", "") == "impossible_usage"]

    def test_usage_that_is_no_object(self, gateway: Gateway):
        tenant = gateway.tenant()
        ask(gateway, tenant, Reply(declared=lambda _: [1, 2, 3]))
        row = only_row(tenant)
        assert row.usage_source == "estimated"
        assert_in_order(gateway, tenant, row.charge_nano)

    @STREAMED
    def test_a_free_answer_is_free(self, gateway: Gateway, stream: bool):
        """The provider says that it bills nothing: that is a figure, not the lack of one."""
        tenant = gateway.tenant()
        ask(gateway, tenant, lying({"prompt_tokens": 0, "completion_tokens": 0}), stream=stream)
        assert only_row(tenant).usage_source == "provider"
        assert_in_order(gateway, tenant, 0)

    def test_changing_usage_the_last_word_counts(self, gateway: Gateway):
        tenant = gateway.tenant()
        ask(gateway, tenant, "usage-changing", stream=True)
        row = only_row(tenant)
        assert row.usage == {"input": 25, "output": 12}
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))

    def test_everything_said_twice_is_charged_once(self, gateway: Gateway):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, "twice", stream=True)
        assert answer.events.count("[DONE]") == 1
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))

    def test_an_unpriced_bucket_is_charged_as_plain_tokens(self, gateway: Gateway, caplog: pytest.LogCaptureFixture):
        tenant = gateway.tenant()
        ask(gateway, tenant, lying({"completion_tokens_details": {"audio_tokens": 10}}))
        row = only_row(tenant)
        assert (row.usage_source, row.usage) == ("estimated", {"input": 25, "output": 12})
        assert [record for record in caplog.records if getattr(record, "alarm", "") == "unpriced_usage"]
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))

    def test_more_than_the_wallet_holds_becomes_debt(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.01")
        answer, _ = ask(gateway, tenant, Reply(usage=Tokens(25, 8_000)), max_tokens=100)
        assert answer.json["x_komilion"]["cost_nano_usd"] == charge_of(Tokens(25, 8_000))
        wallet = gateway.wallet(tenant.email)
        assert (wallet["available"], wallet["paid"], wallet["held"]) == ("0.00", "0.00", "0.00")
        assert wallet["debt"] == "0.14009375"
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 8_000)), "0.01")


class TestFloods:
    @pytest.fixture(autouse=True)
    def _small_limits(self, settings: object) -> None:
        settings.UPSTREAM_BODY_LIMIT_BYTES = 2**20
        settings.UPSTREAM_DRAIN_LIMIT_BYTES = 2**21

    @pytest.mark.parametrize("script", ["endless-header", "endless-headers", "gzip-bomb"])
    @STREAMED
    def test_a_head_or_an_encoding_nobody_asked_for(self, gateway: Gateway, script: str, stream: bool):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, script, stream=stream)
        assert (answer.status, answer.json["error"]["reason"]) == (502, "provider_error")
        assert_in_order(gateway, tenant, 0)

    def test_an_endless_body(self, gateway: Gateway):
        tenant = gateway.tenant()
        answer, model = ask(gateway, tenant, "endless-body", max_tokens=500)
        assert (answer.status, answer.json["error"]["reason"]) == (502, "answer_too_large")
        assert answer.headers["x-should-retry"] == "false"
        assert len(gateway.calls_of(model)) == 1, "another one would be no smaller"
        assert_in_order(gateway, tenant, 0)
        assert only_row(tenant).attempt_loss_nano >= 500 * 15_000, "all that it can have written"

    def test_a_body_that_declares_too_much(self, gateway: Gateway):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, Reply(body=b" " * (2**20 + 1), headers=PLAIN))
        assert answer.status == 502
        assert_in_order(gateway, tenant, 0)

    def test_an_endless_line_after_content(self, gateway: Gateway):
        tenant = gateway.tenant()
        answer, model = ask(gateway, tenant, "endless-line", stream=True)
        assert answer.frames[-1]["choices"][0]["finish_reason"] == "error"
        assert answer.text == words(2)
        call = gateway.calls_of(model)[0]
        assert_in_order(gateway, tenant, charge_of(counted(call, 2, words(2))))

    def test_one_byte_at_a_time_for_ever(self, gateway: Gateway, settings: object):
        settings.ANSWER_BASE_S = settings.FIRST_CONTENT_TIMEOUT_S = 0.2
        settings.TOTAL_TIMEOUT_S = 0.2
        tenant = gateway.tenant()
        for stream in (False, True):
            answer, _ = ask(gateway, tenant, "loris", stream=stream)
            assert (answer.status, answer.json["error"]["reason"]) == (408, "request_timeout")
        assert_in_order(gateway, tenant, 0)


class TestNonsense:
    @pytest.mark.parametrize("script", ["html", "empty", "not-json", "not-an-answer", "not-http", "promises-more"])
    def test_a_200_that_is_no_answer(self, gateway: Gateway, script: str):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, script)
        assert (answer.status, answer.json["error"]["type"]) == (502, "provider_error")
        assert "<" not in answer.json["error"]["message"]
        assert_in_order(gateway, tenant, 0)

    @pytest.mark.parametrize("script", ["html", "empty", "not-http"])
    def test_a_200_that_is_no_stream(self, gateway: Gateway, script: str):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, script, stream=True)
        assert answer.status == 502
        assert_in_order(gateway, tenant, 0)

    @pytest.mark.parametrize("script", ["frame-not-json", "frame-not-object", "frame-deep", "frame-nan"])
    def test_a_bad_frame_between_good_ones(self, gateway: Gateway, script: str):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, script, stream=True)
        assert answer.frames[-1]["choices"][0]["finish_reason"] == "stop"
        row = only_row(tenant)
        assert_in_order(gateway, tenant, row.charge_nano)

    def test_bytes_that_are_no_text_break_the_stream_or_are_dropped(self, gateway: Gateway):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, "frame-not-utf8", stream=True)
        answer.body.decode()
        assert_in_order(gateway, tenant, only_row(tenant).charge_nano)

    def test_broken_chunks(self, gateway: Gateway, settings: object):
        settings.FRAME_GAP_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.3
        tenant = gateway.tenant()
        answer, model = ask(gateway, tenant, "bad-chunks", stream=True)
        call = gateway.calls_of(model)[0]
        if answer.status == 200:
            assert answer.frames[-1]["choices"][0]["finish_reason"] == "error"
            delivered = len(answer.text.split())
            assert_in_order(gateway, tenant, charge_of(counted(call, delivered, words(delivered))))
        else:  # the good frames came together with the bad chunk, and were thrown away with it
            assert_in_order(gateway, tenant, 0)

    def test_an_answer_smuggled_behind_another_reaches_nobody(self, gateway: Gateway):
        tenant = gateway.tenant()
        model = gateway.add_model("promises-less")
        for _ in range(3):
            answer = gateway.chat(tenant, model)
            assert b"smuggled" not in answer.body


class TestSpies:
    @STREAMED
    def test_a_redirect_is_not_followed(self, gateway: Gateway, stream: bool):
        tenant = gateway.tenant()
        answer, _ = ask(gateway, tenant, "redirect", stream=stream)
        assert answer.status == 502
        assert gateway.upstream.trap_hits == []
        assert_in_order(gateway, tenant, 0)

    @pytest.mark.parametrize("script", ["echo-key", "echo-key-error", "echo-key-frame"])
    @STREAMED
    def test_an_echoed_key_stays_here(
        self, gateway: Gateway, caplog: pytest.LogCaptureFixture, script: str, stream: bool
    ):
        tenant = gateway.tenant()
        ask(gateway, tenant, script, stream=stream)
        assert UPSTREAM_KEY not in caplog.text

    def test_a_key_in_what_the_model_says_is_masked(self, gateway: Gateway):
        async def act(exchange: Exchange) -> None:
            planned = list(frames.stream(exchange.reply, exchange.call))
            exchange.finish("completed")
            said = planned[1].data.replace(b"computing", SECRET)
            await exchange.send(wire.head(200, STREAM) + wire.chunk(planned[0].data) + wire.chunk(said))
            await exchange.send(b"".join(wire.chunk(frame.data) for frame in planned[2:]) + wire.chunk(b""))

        answer, _ = ask(gateway, gateway.tenant(), Reply(act=act), stream=True)
        assert "***" in answer.text

    def test_an_internal_address_in_an_error_stays_here(self, gateway: Gateway):
        message = "cannot reach http://10.0.0.7:9000/internal with sk-abcdefghijklmnop for org-1234567890abc"
        body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
        answer, _ = ask(gateway, gateway.tenant(), Reply(status=400, body=body, headers=PLAIN))
        shown = answer.json["error"]["message"]
        assert answer.status == 400
        assert "10.0.0.7" not in shown
        assert "sk-abc" not in shown

    def test_headers_of_the_upstream_do_not_travel(self, gateway: Gateway):
        reply = Reply(headers={"Set-Cookie": "a=b", "X-Internal": "1", "Content-Type": "application/json"})
        answer, _ = ask(gateway, gateway.tenant(), reply)
        assert not {"set-cookie", "x-internal"} & set(answer.headers)

    def test_a_cookie_of_the_upstream_is_not_kept(self, gateway: Gateway):
        tenant = gateway.tenant()
        ask(gateway, tenant, Reply(headers={"Set-Cookie": "a=b; Path=/"}))
        _, model = ask(gateway, tenant, Reply())
        assert "cookie" not in gateway.calls_of(model)[0].headers

    def test_nothing_of_the_caller_but_the_request_travels(self, gateway: Gateway):
        tenant = gateway.tenant()
        _, model = ask(gateway, tenant, Reply())
        (call,) = gateway.calls_of(model)
        assert call.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert tenant.key not in repr(call.headers)
        assert call.headers["accept-encoding"] == "identity"
        assert "user-agent" not in call.headers
