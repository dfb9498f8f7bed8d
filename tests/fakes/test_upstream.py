"""The scripted upstream does what its scripts say, byte by byte, and its journal tells the truth."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.client import Answer, RawCall, chat
from tests.fakes.journal import Call, Tokens
from tests.fakes.presets import CONTEXT_LENGTH
from tests.fakes.process import UpstreamProcess
from tests.fakes.replies import Cut, Reply
from tests.fakes.upstream import Upstream
from tests.waiting import wait_until

ASKED = {"include_usage": True}


@pytest.fixture(scope="module")
def fake() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def ask(fake: Upstream, model: str, **body: object) -> tuple[Answer, Call]:
    answer = chat(fake.url.removesuffix("/v1"), "sk-upstream", model=model, **body)
    return answer, fake.calls_of(model)[-1]


def ended(fake: Upstream, model: str) -> Call:
    wait_until(lambda: fake.calls_of(model)[-1].outcome != "running", what=f"the end of {model}")
    return fake.calls_of(model)[-1]


def test_plain_answer(fake: Upstream):
    answer, call = ask(fake, "ok,frames=7")
    assert answer.status == 200
    assert answer.json["usage"]["completion_tokens"] == 7
    assert len(answer.text.split()) == 7
    assert (call.outcome, call.billed) == ("completed", Tokens(25, 7))


def test_stream(fake: Upstream):
    answer, call = ask(fake, "ok,frames=5,usage=11+50", stream=True, stream_options=ASKED)
    assert len(answer.frames) == 7
    assert answer.frames[0]["choices"][0]["delta"]["role"] == "assistant"
    assert answer.frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert answer.frames[-1] | {"usage": None} == {**answer.frames[-1], "choices": [], "usage": None}
    assert answer.frames[-1]["usage"]["prompt_tokens"] == 11
    assert answer.events[-1] == "[DONE]"
    assert (call.outcome, call.frames_written, call.billed) == ("completed", 5, Tokens(11, 50))


def test_usage_is_streamed_only_where_it_is_asked_for(fake: Upstream):
    answer, call = ask(fake, "ok", stream=True)
    assert not any("usage" in frame for frame in answer.frames)
    assert call.declared_usage is None


@pytest.mark.parametrize(
    ("report", "reported"), [("missing", 0), ("null", 0), ("frame", 1), ("finish", 1), ("every", 13)]
)
def test_where_usage_is_reported(fake: Upstream, report: str, reported: int):
    answer, _ = ask(fake, f"ok,report={report}", stream=True, stream_options=ASKED)
    assert sum(bool(frame.get("usage")) for frame in answer.frames) == reported


@pytest.mark.parametrize("style", ["spaced", "crlf", "cr", "comments", "rechunk=1", "rechunk=7", "split=3"])
def test_any_style_says_the_same(fake: Upstream, style: str):
    plain, _ = ask(fake, "ok", stream=True, stream_options=ASKED)
    styled, _ = ask(fake, f"ok,{style}", stream=True, stream_options=ASKED)
    assert styled.text == plain.text
    assert styled.frames[-1]["usage"] == plain.frames[-1]["usage"]


@pytest.mark.parametrize(
    ("options", "frames"),
    [("cut=3", 3), ("cut=3,reset", 3), ("cut=3,end", 3), ("cutin=3", 2), ("cutin=3,rechunk=5", 2)],
)
def test_a_cut_stream_bills_what_was_written(fake: Upstream, options: str, frames: int):
    model = f"ok,usage=25+120,{options}"
    with RawCall(fake.url.removesuffix("/v1"), None, model=model, stream=True) as raw:
        raw.send().rest()
    call = ended(fake, model)
    assert raw.payload.count(b'"content":') == call.frames_written == frames
    assert b"[DONE]" not in raw.payload
    assert (call.outcome, call.billed) == ("cut", Tokens(25, frames * 10))


def test_a_cut_at_byte_zero_sends_nothing(fake: Upstream):
    with RawCall(fake.url.removesuffix("/v1"), None, model="ok,cuthead,reset", stream=True) as raw:
        assert raw.send().rest() == b""
    assert ended(fake, "ok,cuthead,reset").billed == Tokens()


def test_a_body_cut_after_some_bytes(fake: Upstream):
    with RawCall(fake.url.removesuffix("/v1"), None, model="ok,cutbyte=100") as raw:
        received = raw.send().rest()
    assert len(received.split(b"\r\n\r\n", 1)[1]) == 100


@pytest.mark.parametrize("reset", [True, False])
def test_leaving_is_noticed_and_billed_by_what_was_written(fake: Upstream, reset: bool):
    model = "ok,frames=50,gap=0.02,usage=25+500"
    seen = len(fake.calls_of(model))
    with RawCall(fake.url.removesuffix("/v1"), None, model=model, stream=True) as raw:
        raw.send().read_frames(4)
        raw.leave(reset=reset)
    call = ended(fake, model)
    assert (len(fake.calls_of(model)), call.outcome) == (seen + 1, "cancelled")
    assert 3 <= call.frames_written < 50
    assert call.billed == Tokens(25, 10 * call.frames_written)


def test_leaving_before_the_answer(fake: Upstream):
    with RawCall(fake.url.removesuffix("/v1"), None, model="ok,wait=20") as raw:
        raw.send()
        wait_until(lambda: fake.calls_of("ok,wait=20"))
    assert ended(fake, "ok,wait=20").billed == Tokens()


def test_a_provider_that_bills_on_when_it_is_left(fake: Upstream):
    model = "drip,nostop,usage=25+400"
    with RawCall(fake.url.removesuffix("/v1"), None, model=model, stream=True) as raw:
        raw.send().read_frames(2)
    assert (ended(fake, model).outcome, ended(fake, model).billed) == ("cancelled", Tokens(25, 400))


def test_calls_are_told_apart_by_what_the_user_says(fake: Upstream):
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "call=c-17 please"}]
    for attempt in (1, 2):
        _, call = ask(fake, "500", messages=messages)
        assert (call.call_id, call.attempt, call.outcome) == ("c-17", attempt, "refused")
    assert fake.journal.attempts("c-17") == 2
    _, call = ask(fake, "ok", user="c-18")
    assert call.call_id == "c-18"


def test_seeded_usage_depends_on_the_call_alone(fake: Upstream):
    drawn = [ask(fake, "ok,seed=5", user=user, max_tokens=900)[1].billed for user in ("a", "b", "a")]
    assert drawn[0] == drawn[2] != drawn[1]
    assert all(1 <= tokens.completion <= 900 for tokens in drawn)


def test_an_overrun_is_declared(fake: Upstream):
    answer, call = ask(fake, "overrun", max_tokens=150)
    assert answer.json["usage"]["completion_tokens"] == call.billed.completion == 1150
    assert call.overrun


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500, 502, 503])
def test_errors(fake: Upstream, status: int):
    answer, call = ask(fake, str(status))
    assert answer.status == status
    assert call.billed == Tokens()


@pytest.mark.parametrize("name", CONTEXT_LENGTH)
def test_context_length_errors(fake: Upstream, name: str):
    answer, _ = ask(fake, name)
    assert answer.status in {400, 422}
    assert b"8192" in answer.body or b"8193" in answer.body


def test_an_error_with_its_retry_after(fake: Upstream):
    answer, _ = ask(fake, "ok,status=429,retry=3")
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")


def test_an_error_frame_in_the_stream(fake: Upstream):
    answer, call = ask(fake, "ok,error=4", stream=True)
    assert "error" in answer.frames[-1]
    assert (len(answer.frames), call.outcome, call.billed) == (5, "failed", Tokens(25, 4))


def test_tools(fake: Upstream):
    tools = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
    whole, _ = ask(fake, "tools", tools=tools)
    calls = whole.json["choices"][0]["message"]["tool_calls"]
    assert [tool["function"]["name"] for tool in calls] == ["weather", "time"]
    streamed, _ = ask(fake, "tools", tools=tools, stream=True)
    joined = ["", ""]
    for frame in streamed.frames:
        for piece in frame["choices"][0]["delta"].get("tool_calls", ()):
            joined[piece["index"]] += piece["function"]["arguments"]
    assert [json.loads(text)["location"] for text in joined] == ["Lund", "Umeå"]
    assert streamed.frames[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices(fake: Upstream):
    whole, call = ask(fake, "ok,frames=3", n=4)
    assert [choice["index"] for choice in whole.json["choices"]] == [0, 1, 2, 3]
    assert call.billed == Tokens(25, 12)
    streamed, call = ask(fake, "ok,frames=3", n=4, stream=True)
    assert {choice["index"] for frame in streamed.frames for choice in frame["choices"]} == {0, 1, 2, 3}
    assert (streamed.text, call.billed) == (whole.text, Tokens(25, 12))


@pytest.mark.parametrize(("model", "field"), [("reasoning", "reasoning_content"), ("refusal", "refusal")])
def test_other_things_a_model_writes(fake: Upstream, model: str, field: str):
    whole, _ = ask(fake, model)
    streamed, _ = ask(fake, model, stream=True)
    deltas = [frame["choices"][0]["delta"].get(field) or "" for frame in streamed.frames]
    assert "".join(deltas) == whole.json["choices"][0]["message"][field] != ""


def test_a_redirect_leads_into_a_trap(fake: Upstream):
    answer, _ = ask(fake, "redirect")
    assert answer.status == 307
    hits = len(fake.trap_hits)
    chat(answer.headers["location"].removesuffix("/v1/chat/completions"), "sk-upstream", model="ok")
    assert len(fake.trap_hits) == hits + 1


def test_lies_are_declared_as_told(fake: Upstream):
    answer, call = ask(fake, "usage-negative")
    assert answer.json["usage"] == call.declared_usage
    assert (call.declared_usage["completion_tokens"], call.billed) == (-5, Tokens(25, 12))


@pytest.mark.parametrize("model", ["endless-line", "endless-header", "endless-headers", "endless-body", "loris"])
def test_endless_things_end_when_the_gateway_leaves(fake: Upstream, model: str):
    with RawCall(fake.url.removesuffix("/v1"), None, model=model, stream=True) as raw:
        raw.send().read_until(b"HTTP/1.1")
    assert ended(fake, model).outcome == "cancelled"


@pytest.mark.parametrize("model", ["frame-not-json", "frame-not-utf8", "frame-nan", "frame-deep", "twice"])
def test_bad_frames_come_between_good_ones(fake: Upstream, model: str):
    with RawCall(fake.url.removesuffix("/v1"), None, model=model, stream=True) as raw:
        received = raw.send().rest()
    assert received.endswith(b"0\r\n\r\n")
    assert ended(fake, model).billed == Tokens(25, 12)


def test_a_script_of_a_test(fake: Upstream):
    fake.script("mine", Reply(content="hello", cut=Cut(body_bytes=3, how="reset")))
    with RawCall(fake.url.removesuffix("/v1"), None, model="vendor/mine") as raw:
        raw.send().rest()
    assert ended(fake, "vendor/mine").outcome == "cut"


def test_an_unknown_script_is_a_404(fake: Upstream):
    answer, _ = ask(fake, "ok,nonsense=1")
    assert answer.status == 404


def test_connections_are_kept_and_chunked_requests_understood(fake: Upstream):
    body = b'{"model": "ok", "messages": []}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with RawCall(fake.url.removesuffix("/v1"), None) as raw:
        raw.send(request * 2)
        raw.send(request)
        assert raw.read_until(b"HTTP/1.1 200 OK", 3).count(b"HTTP/1.1 200 OK") == 3


def test_a_process_of_its_own(tmp_path: Path):
    with UpstreamProcess(tmp_path / "journal.jsonl") as fake:
        assert chat(fake.url.removesuffix("/v1"), None, model="ok", user="c-1").status == 200
        with RawCall(fake.url.removesuffix("/v1"), None, model="drip", stream=True) as raw:
            raw.send().read_frames(2)
            fake.process.kill()
            fake.process.wait()
        done, running = fake.calls
    assert (done.call_id, done.outcome, done.billed) == ("c-1", "completed", Tokens(25, 12))
    assert running.outcome == "running"
