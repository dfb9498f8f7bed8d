"""The cases of docs/charging-policy.md, each played against a live server; its test compares the bills."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from komilion import settings as komilion_settings
from komilion.env import free_port
from tests.fakes.client import RawCall, events_in
from tests.fakes.journal import Call, Tokens
from tests.fakes.replies import Cut, Reply
from tests.routing.books import (
    only_row,
    set_caps,
)
from tests.routing.gates import Gate, words
from tests.routing.servers import second_server
from tests.stand import CANCELLING, DRAINING, Gateway, Tenant
from tests.waiting import wait_until

BRIEF_S = 0.1


@dataclass
class Play:
    """One case being played: a tenant, what it pays with, and what the case leaves behind to compare."""

    gateway: Gateway
    settings: object
    monkeypatch: pytest.MonkeyPatch
    credit: str = "10.00"
    frames: int | None = None  # content frames delivered, where our own count is charged; None: any number
    text: str = ""
    model: str = ""
    payee: str = ""  # the script of the offer that is paid, where it is not the last one
    tenant: Tenant = field(init=False)

    def begin(self, script: str | Reply, *, provider: str = DRAINING, credit: str = "10.00") -> None:
        """The tenant and its model."""
        self.credit = credit
        self.tenant = self.gateway.tenant(credit=credit)
        self.model = self.gateway.add_model(script, provider=provider)

    def call(self, script: str | Reply, status: int = 200, **body: object):
        """Play a plain call to its end."""
        self.begin(script)
        answer = self.gateway.chat(self.tenant, self.model, **body)
        assert answer.status == status
        return answer

    def raw(self, **body: object) -> RawCall:
        """A call that the case breaks off itself."""
        return RawCall(self.gateway.url, self.tenant.key, model=self.model, **body)

    def delivered(self, frames: int, text: str | None = None) -> None:
        """So much came before the end."""
        self.frames, self.text = frames, words(frames) if text is None else text

    @property
    def provider_call(self) -> Call:
        """What the provider saw that is paid; of several tries at it the first."""
        return self.gateway.upstream.calls_of(self.payee or self.gateway._upstream_ids[self.model])[0]

    def begin_at_two(self, first: Reply, second: Reply) -> str:
        """A model with two offers, of which the second is the one that answers; the script of the first."""
        self.begin(first)
        script = self.gateway._upstream_ids[self.model]
        self.gateway.add_model(second, self.model, provider=CANCELLING)
        return script


CASES: dict[str, Callable[[Play], None]] = {}


def case(play: Callable[[Play], None]) -> Callable[[Play], None]:
    """Register a scenario under its name in the table."""
    CASES[play.__name__.replace("_", "-")] = play
    return play


@case
def answered(play: Play) -> None:
    play.call(Reply(usage=Tokens(25, 12)))


@case
def answered_streamed(play: Play) -> None:
    play.call(Reply(usage=Tokens(25, 12)), stream=True)


@case
def cached_input(play: Play) -> None:
    def declared(whole: Tokens) -> dict:
        details = {"prompt_tokens_details": {"cached_tokens": 20}}
        return {"prompt_tokens": whole.prompt, "completion_tokens": whole.completion, **details}

    play.call(Reply(usage=Tokens(25, 12), declared=declared))
    assert only_row(play.tenant).usage == {"input": 5, "cache_read": 20, "output": 12}


@case
def beyond_the_limit(play: Play) -> None:
    play.call(Reply(overrun=1_000), max_tokens=10)
    assert only_row(play.tenant).usage["output"] == 1_010


@case
def no_usage(play: Play) -> None:
    play.call(Reply(report="missing"))
    play.delivered(0, words(12))


@case
def no_usage_streamed(play: Play) -> None:
    play.call(Reply(report="null"), stream=True)
    play.delivered(12)


@case
def impossible_usage(play: Play) -> None:
    play.call(Reply(usage=Tokens(2**30, 12)))
    play.delivered(0, words(12))


@case
def impossible_usage_streamed(play: Play) -> None:
    play.call(Reply(usage=Tokens(25, 2**30)), stream=True)
    play.delivered(12)


@case
def refused(play: Play) -> None:
    play.call(Reply(status=500), 502)


@case
def refused_streamed(play: Play) -> None:
    play.call(Reply(status=503), 503, stream=True)


@case
def half_an_answer(play: Play) -> None:
    play.call(Reply(cut=Cut(body_bytes=100)), 502)


def _answer_too_large(play: Play, reply: Reply, **body: object) -> None:
    play.settings.UPSTREAM_BODY_LIMIT_BYTES = 1_000
    reply = replace(reply, content="many words " * 1_000)
    answer = play.call(reply, 502, max_tokens=300, **body)
    assert answer.json["error"]["reason"] == "answer_too_large"


@case
def too_large(play: Play) -> None:
    _answer_too_large(play, Reply(usage=Tokens(25, 280)))


@case
def too_large_no_usage(play: Play) -> None:
    _answer_too_large(play, Reply(report="missing"), logprobs=True)
    play.delivered(300, "")


@case
def too_large_unasked(play: Play) -> None:
    _answer_too_large(play, Reply(report="missing"))


@case
def too_slow(play: Play) -> None:
    play.settings.ANSWER_BASE_S = play.settings.TOTAL_TIMEOUT_S = BRIEF_S
    play.call(Reply(before_head_s=30), 408)


@case
def silent_streamed(play: Play) -> None:
    play.settings.FIRST_CONTENT_TIMEOUT_S = BRIEF_S
    play.call(Reply(before_content_s=30), 408, stream=True)


@case
def cut_before_content(play: Play) -> None:
    play.call(Reply(cut=Cut(frames=0)), 502, stream=True)


@case
def cut_after_content(play: Play) -> None:
    play.call(Reply(cut=Cut(frames=5)), stream=True)
    play.delivered(5)


@case
def failed_after_content(play: Play) -> None:
    play.call(Reply(error_after=4), stream=True)
    play.delivered(4)


@case
def silent_after_content(play: Play) -> None:
    play.settings.FRAME_GAP_TIMEOUT_S = play.settings.COMMENT_FRAME_EVERY_S = BRIEF_S
    play.call(Gate(3).script, stream=True)
    play.delivered(3)


@case
def unreachable(play: Play) -> None:
    name = f"gone-{free_port()}"
    play.gateway.add_provider(name, base_url=f"http://127.0.0.1:{free_port()}/v1")
    play.begin(Reply(), provider=name)
    assert play.gateway.chat(play.tenant, play.model).status == 503


@case
def left_drained(play: Play) -> None:
    gate = Gate()
    play.begin(gate.script)
    with play.raw() as raw:
        raw.send()
        gate.wait_for_call()
    gate.open()


@case
def left_drained_streamed(play: Play) -> None:
    gate = Gate(3)
    play.begin(gate.script)
    with play.raw(stream=True) as raw:
        raw.send().read_frames(3)
    gate.open()


@case
def left_with_a_key(play: Play) -> None:
    gate = Gate(3)
    play.begin(gate.script, provider=CANCELLING)
    with play.raw(stream=True) as raw:
        raw.head = raw.head.replace(b"\r\nHost", b"\r\nIdempotency-Key: k\r\nHost", 1)
        raw.send().read_frames(3)
    gate.open()


@case
def left_cancelled(play: Play) -> None:
    gate = Gate()
    play.begin(gate.script, provider=CANCELLING)
    with play.raw() as raw:
        raw.send()
        gate.wait_for_call()
    wait_until(lambda: play.provider_call.outcome == "cancelled")


@case
def left_cancelled_early(play: Play) -> None:
    gate = Gate(None)
    play.begin(gate.script, provider=CANCELLING)
    with play.raw(stream=True) as raw:
        raw.send()
        gate.wait_for_call()
    wait_until(lambda: play.provider_call.outcome == "cancelled")


@case
def left_cancelled_streamed(play: Play) -> None:
    gate = Gate(3)
    play.begin(gate.script, provider=CANCELLING)
    with play.raw(stream=True) as raw:
        raw.send().read_frames(3)
    wait_until(lambda: play.provider_call.outcome == "cancelled")
    play.delivered(3)


@case
def left_after_the_end(play: Play) -> None:
    play.begin(Reply(), provider=CANCELLING)
    with play.raw(stream=True) as raw:
        raw.send().read_until(b"[DONE]")


@case
def wallet_ran_out(play: Play) -> None:
    play.settings.STREAM_HOLD_OUTPUT_TOKENS = play.settings.START_OUTPUT_TOKENS = 10
    gate, other = Gate(1, Reply(frames=40)), Gate()
    play.begin(gate.script, credit="0.02")
    taking = play.gateway.add_model(other.script, provider=CANCELLING)
    with play.raw(stream=True) as raw, RawCall(play.gateway.url, play.tenant.key, model=taking) as rest:
        raw.send().read_frames(1)
        rest.send()  # it holds all that is left
        other.wait_for_call()
        gate.open()
        assert b'"finish_reason":"length"' in raw.rest()
    text = text_of(raw.payload)
    play.delivered(len(text.split()), text)


@case
def cap_ran_out(play: Play) -> None:
    play.settings.STREAM_HOLD_OUTPUT_TOKENS = play.settings.START_OUTPUT_TOKENS = 10
    gate, other = Gate(1, Reply(frames=40)), Gate()
    play.begin(gate.script)
    set_caps(play.tenant, total=20_000_000)
    taking = play.gateway.add_model(other.script, provider=CANCELLING)
    with play.raw(stream=True) as raw, RawCall(play.gateway.url, play.tenant.key, model=taking) as rest:
        raw.send().read_frames(1)
        rest.send()  # it reserves all that the cap leaves
        other.wait_for_call()
        gate.open()
        assert b'"finish_reason":"length"' in raw.rest()
    text = text_of(raw.payload)
    play.delivered(len(text.split()), text)


@case
def failed_over(play: Play) -> None:
    play.begin_at_two(Reply(status=503), Reply(usage=Tokens(25, 12)))
    assert play.gateway.chat(play.tenant, play.model).status == 200


@case
def failed_over_streamed(play: Play) -> None:
    play.begin_at_two(Reply(cut=Cut(frames=0)), Reply(usage=Tokens(25, 12)))
    assert play.gateway.chat(play.tenant, play.model, stream=True).text == words(12)


@case
def too_slow_failed_over_streamed(play: Play) -> None:
    play.settings.FIRST_CONTENT_FALLBACK_S = BRIEF_S
    play.begin_at_two(Reply(before_content_s=30), Reply(usage=Tokens(25, 12)))
    assert play.gateway.chat(play.tenant, play.model, stream=True).text == words(12)
    assert only_row(play.tenant).attempt_loss_nano > 0, "it goes on writing, and the house pays"


@case
def all_failed(play: Play) -> None:
    play.begin_at_two(Reply(status=503), Reply(status=500))
    assert play.gateway.chat(play.tenant, play.model).status == 502


@case
def joined_streamed(play: Play) -> None:
    play.begin_at_two(Reply(cut=Cut(frames=5)), Reply(usage=Tokens(25, 12)))
    assert play.gateway.chat(play.tenant, play.model, stream=True).text == words(12)
    assert only_row(play.tenant).attempt_loss_nano > 0


@case
def not_joined_streamed(play: Play) -> None:
    play.payee = play.begin_at_two(Reply(cut=Cut(frames=5)), Reply(content="Something else.", frames=3))
    play.gateway.chat(play.tenant, play.model, stream=True)
    play.delivered(5)


def _while_it_stops(play: Play, gate: Gate, **body: object) -> bytes:
    """The call runs on a server that is told to stop, and whose patience ends at once."""
    play.begin(gate.script)
    play.monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", BRIEF_S)
    with (
        second_server() as server,
        RawCall(server.url, play.tenant.key, model=play.model, **body) as raw,
    ):
        raw.send()
        gate.wait_for_call()
        if body:
            raw.read_frames(3)
        server.ask_to_stop()
        return raw.rest()


@case
def server_stopped(play: Play) -> None:
    _while_it_stops(play, Gate())


@case
def server_stopped_streamed(play: Play) -> None:
    assert b'"finish_reason":"error"' in _while_it_stops(play, Gate(3), stream=True)
    play.delivered(3)


@case
def not_covered(play: Play) -> None:
    play.begin(Reply(), credit="0.000001")
    assert play.gateway.chat(play.tenant, play.model).status == 402


def text_of(payload: bytes) -> str:
    """What the model said in a stream."""
    frames = [json.loads(event) for event in events_in(payload) if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])
