"""OpenAI's dialect: what is sent, how answers are read, and that a stream comes out the same however it was cut."""

import json
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.errors import ContentFiltered, KomilionError, ProviderError, ProviderUnavailable, RateLimited
from komilion.common.usage import Usage
from routing.providers.base import ChatRequest, Closing, Ended, Failed, Frames, Identity, StreamEvent, Target
from routing.providers.openai_compat import OpenAICompatible
from routing.providers.openai_stream import ChatStream, decoded_size
from routing.providers.registry import DIALECTS, dialect

IDENTITY = Identity("gen-0123456789", "openai/gpt-4o")
TARGET = Target("http://provider/v1", "sk-upstream", "ok", frozenset({"tools"}))
DIALECT = OpenAICompatible()
BASE = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1739000000, "model": "ok"}
USAGE = {"prompt_tokens": 25, "completion_tokens": 150, "total_tokens": 175}
OUTPUT_KEYS = ("content", "reasoning_content", "reasoning", "refusal")


def test_the_registry_knows_the_dialect_by_name() -> None:
    assert dialect("openai") is DIALECTS["openai"]
    with pytest.raises(KeyError):
        dialect("smoke signals")


# What is sent.


def sent(request: ChatRequest, target: Target = TARGET, bound: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(DIALECT.chat_request(request, target, bound).body)
    return body


def a_request(**more: Any) -> ChatRequest:
    return ChatRequest("openai/gpt-4o", [{"role": "user", "content": "Hi"}], {"temperature": 0.5}, **more)


def test_the_body_holds_the_providers_model_and_the_parameters() -> None:
    call = DIALECT.chat_request(a_request(), TARGET, None)

    assert call.url == "http://provider/v1/chat/completions"
    assert orjson.loads(call.body) == {
        "model": "ok",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
    }
    assert call.headers["Authorization"] == "Bearer sk-upstream"
    assert call.headers["Accept-Encoding"] == "identity"
    assert call.headers["Accept"] == "application/json"


def test_a_provider_without_a_key_gets_no_authorization() -> None:
    assert "Authorization" not in DIALECT.chat_request(a_request(), Target("u", "", "ok", frozenset()), None).headers


def test_the_output_bound_goes_under_the_name_that_the_offer_knows() -> None:
    modern = Target("u", "k", "ok", frozenset({"max_completion_tokens"}))

    assert sent(a_request(max_output_tokens=500), bound=100)["max_tokens"] == 100
    assert sent(a_request(), modern, 100)["max_completion_tokens"] == 100
    assert "max_tokens" not in sent(a_request(), modern, 100)
    assert "max_tokens" not in sent(a_request(max_output_tokens=500))


def test_a_stream_always_asks_for_usage() -> None:
    request = a_request(stream=True)
    kept = ChatRequest("m", [], {"stream_options": {"include_obfuscation": False}}, stream=True)

    assert sent(request)["stream"] is True
    assert sent(request)["stream_options"] == {"include_usage": True}
    assert sent(kept)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert DIALECT.chat_request(request, TARGET, None).headers["Accept"] == "text/event-stream"
    assert not {"stream", "stream_options"} & set(sent(a_request()))


def test_more_choices_than_one_are_asked_for() -> None:
    assert sent(a_request(choices=3))["n"] == 3
    assert "n" not in sent(a_request())


def test_unknown_parameters_go_only_where_the_operator_lets_them_and_overrule_nothing() -> None:
    request = a_request(unknown={"top_k": 5, "temperature": 9, "model": "dearer", "messages": []})
    open_minded = Target("u", "k", "ok", frozenset(), pass_unknown=True)

    assert "top_k" not in sent(request)
    assert sent(request, open_minded) == {**sent(request), "top_k": 5}


# Whole answers.


def an_answer(message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    message = message or {"role": "assistant", "content": "Hé"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**BASE, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def read(payload: Any) -> Any:
    return DIALECT.chat_answer(payload if isinstance(payload, bytes) else orjson.dumps(payload), IDENTITY)


def test_an_answer_keeps_everything_but_id_and_model() -> None:
    answer = read(an_answer(citations=["x"], system_fingerprint="fp"))

    assert answer.payload == {
        **an_answer(citations=["x"], system_fingerprint="fp"),
        "id": "gen-0123456789",
        "model": "openai/gpt-4o",
    }
    assert answer.report.usage == Usage(input=25, output=150)
    assert answer.output_bytes == 3


def test_an_answer_without_usage_has_no_report() -> None:
    assert read(an_answer(usage=None)).report is None


def test_everything_the_model_wrote_is_measured() -> None:
    message = {
        "content": None,
        "reasoning_content": "ab",
        "refusal": "é",
        "tool_calls": [
            {"id": "call_1", "function": {"name": "f", "arguments": "{}"}},
            {"id": "call_2", "custom": {"name": "g", "input": "xyz"}},
            "odd",
        ],
        "function_call": {"name": "h", "arguments": ""},
    }
    answer = an_answer(message)
    answer["choices"] += [{"index": 1, "message": {"content": "four"}}, {"index": 2, "message": None}, "odd"]

    assert read(answer).output_bytes == 2 + 2 + 3 + 4 + 1 + 4


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ProviderError),
        (b"<html>", ProviderError),
        (b"7", ProviderError),
        (b"[]", ProviderError),
        (b"[{}]", ProviderError),
        (b'{"choices": []}', ProviderError),
        (b'{"choices": ["x"]}', ProviderError),
        (b'{"choices": null}', ProviderError),
        (b"[" * 100_000, ProviderError),
        (b'{"choices": [{"a": %b}]}' % (b"[" * 300 + b"]" * 300), ProviderError),
        (b'{"error": {"message": "slow", "type": "rate_limit_error"}}', RateLimited),
        (b'[{"error": {"message": "slow", "code": 429}}]', RateLimited),
        (b'{"object": "error", "message": "x", "code": 503}', ProviderUnavailable),
        (b'{"base_resp": {"status_code": 1026, "status_msg": "sensitive"}, "choices": null}', ContentFiltered),
        (b'{"choices": [{"finish_reason": "network_error"}]}', ProviderError),
    ],
    ids=range(15),
)
def test_a_200_that_is_no_completion_is_an_error(body: bytes, kind: type[KomilionError]) -> None:
    with pytest.raises(kind):
        read(body)


def test_an_error_that_is_null_and_a_good_base_resp_are_none() -> None:
    assert read(an_answer(error=None, base_resp={"status_code": 0})).output_bytes == 3


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("eos", "stop"),
        ("model_length", "length"),
        ("sensitive", "content_filter"),
        ("tool_calls", "tool_calls"),
        (5, 5),
    ],
)
def test_vendors_finish_reasons_become_openais(theirs: Any, ours: Any) -> None:
    answer = an_answer()
    answer["choices"][0]["finish_reason"] = theirs

    assert read(answer).payload["choices"][0]["finish_reason"] == ours


def test_half_an_emoji_does_not_lose_an_answer() -> None:
    body = json.dumps(an_answer({"content": "cut \ud83d"})).encode()

    assert read(body).payload["choices"][0]["message"]["content"] == "cut ?"
    with pytest.raises(ProviderError):
        read(b'{"a": "\\ud83d", "b": NaN}')


# Streams.


@dataclass
class Outcome:
    """What a stream came to: the bytes for the client, and the sums of its events."""

    data: bytes
    count: int
    output_bytes: int
    closings: list[Closing]
    failures: list[KomilionError]
    ended: int


def total(events: list[StreamEvent]) -> Outcome:
    out = Outcome(b"", 0, 0, [], [], 0)
    for event in events:
        match event:
            case Frames():
                out.data += event.data
                out.count += event.count
                out.output_bytes += event.output_bytes
            case Closing():
                out.data += b"data: " + orjson.dumps(event.chunk) + b"\n\n"
                out.count += event.count
                out.output_bytes += event.output_bytes
                out.closings.append(event)
            case Failed():
                out.failures.append(event.error)
            case Ended():
                out.ended += 1
    return out


def stream(*pieces: bytes, limit: int = 100_000) -> Outcome:
    decoder = OpenAICompatible(limit).chat_stream(IDENTITY)
    return total([event for piece in pieces for event in decoder.feed(piece)] + decoder.close())


def chunk(delta: dict[str, Any] | None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {**BASE, "choices": choices, **more}


def frame(document: Any, separators: tuple[str, str] = (",", ":"), *, ascii_only: bool = False) -> bytes:
    text = (
        document
        if isinstance(document, bytes)
        else json.dumps(document, separators=separators, ensure_ascii=ascii_only).encode()
    )
    return b"data: " + text + b"\n\n"


USUAL = [
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": "Hel"}, usage=None),
    chunk({"content": 'lo "you" \\ \U0001f600\n'}, usage=None),
    chunk({"reasoning_content": "hm"}),
    chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"id":"chatcmpl-up"}'}}]}),
    chunk({"content": '"usage":{"error":{},"finish_reason":"stop"} data: {'}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
]
WRITTEN_BYTES = len('Hello "you" \\ \U0001f600\nhmf{"id":"chatcmpl-up"}'.encode()) + len(
    USUAL[6]["choices"][0]["delta"]["content"]
)


def usual(separators: tuple[str, str] = (",", ":"), *, ascii_only: bool = False) -> bytes:
    return b"".join(frame(c, separators, ascii_only=ascii_only) for c in USUAL) + b"data: [DONE]\n\n"


def documents(data: bytes) -> list[Any]:
    """The frames that a client reads, parsed; each is exactly one line."""
    assert data.endswith(b"\n\n")
    lines = data[:-2].split(b"\n\n")
    assert all(line.startswith(b"data: {") and b"\n" not in line for line in lines)
    return [orjson.loads(line[6:]) for line in lines]


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "id": IDENTITY.request_id, "model": IDENTITY.model}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "utf-8"])
def test_a_stream_is_the_same_at_every_split_point(
    line_end: bytes, separators: tuple[str, str], ascii_only: bool
) -> None:
    data = usual(separators, ascii_only=ascii_only).replace(b"\n", line_end)
    whole = stream(data)

    assert documents(whole.data) == [renamed(c) for c in USUAL]
    assert (whole.count, whole.output_bytes, whole.ended) == (6, WRITTEN_BYTES, 1)
    assert [c.finished for c in whole.closings] == [True, False]
    assert whole.closings[1].report is not None
    assert whole.closings[1].report.usage == Usage(input=25, output=150)
    for at in range(1, len(data)):
        assert stream(data[:at], data[at:]) == whole
    assert stream(*(data[i : i + 1] for i in range(len(data)))) == whole


def test_content_frames_keep_every_byte_but_id_and_model() -> None:
    odd = b'{"id" : "chatcmpl-up", "x":1.50, "model": "ok" ,"choices":[{"delta":{"content":"\\u0041\\/"}}]}'

    out = stream(frame(odd), frame(odd))

    line = odd.replace(b'"id" : "chatcmpl-up"', b'"id":"gen-0123456789"').replace(
        b'"model": "ok"', b'"model":"openai/gpt-4o"'
    )
    assert out.data == frame(line) * 2
    assert out.output_bytes == 4


def test_a_block_of_content_frames_is_one_event() -> None:
    decoder = ChatStream(IDENTITY)
    decoder.feed(frame(USUAL[0]))

    assert len(decoder.feed(frame(USUAL[1]) * 50)) == 1


texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(['"', "\\", '\\"', "\n\n", "data: {", '"usage":{', '"finish_reason":"stop"', "chatcmpl-up", "ok"]),
)
deltas = st.one_of(
    st.builds(lambda text: {"content": text}, texts),
    st.builds(lambda text: {"role": "assistant", "content": text, "refusal": None}, texts),
    st.builds(lambda a, b: {"reasoning_content": a, "content": b}, texts, texts),
    st.builds(
        lambda a: {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": a}}]}, texts
    ),
    st.just({}),
)
chunks = st.one_of(
    st.builds(chunk, deltas, more := st.sampled_from([None, None, None, "", "stop", "eos"])),
    st.builds(lambda delta: chunk(delta, usage=USAGE), deltas),
    st.builds(lambda delta, new: {**chunk(delta), "id": new}, deltas, st.sampled_from(["a", "b", "chatcmpl-up"])),
    st.builds(lambda delta: {**chunk(delta), "created": 5}, deltas),
    st.builds(lambda delta: {k: v for k, v in chunk(delta).items() if k != "model"}, deltas),
)
noise = st.sampled_from(
    [
        b"",
        b"",
        b": keep-alive\n\n",
        b"\n",
        b"event: ping\n",
        b"data: not json\n\n",
        b"data: {broken\n\n",
        b"data: 7\n\n",
    ]
)


def reference(documents_in: list[dict[str, Any]]) -> tuple[list[Any], int, int]:
    """A naive decoder: (frames for the client, frames with output, bytes of output), each frame parsed."""
    frames, count, size = [], 0, 0
    for document in documents_in:
        pieces = []
        copy = renamed(json.loads(json.dumps(document)))
        for choice in copy["choices"]:
            delta = choice["delta"]
            pieces += [delta.get(key) for key in OUTPUT_KEYS]
            for call in delta.get("tool_calls", ()):
                pieces += [call["function"]["name"], call["function"]["arguments"]]
            if choice["finish_reason"] == "eos":
                choice["finish_reason"] = "stop"
        written = sum(len(piece.encode()) for piece in pieces if piece)
        frames.append(copy)
        count += written > 0
        size += written
    return frames, count, size


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(chunks, noise, st.sampled_from([(",", ":"), (", ", ": ")]), st.booleans()), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(1, 400), min_size=1, max_size=30),
)
def test_any_stream_equals_a_naive_decoder_however_it_is_cut(
    parts: list[Any], line_end: bytes, cuts: list[int]
) -> None:
    parts = parts * 2  # so that what was learnt from the first half is used
    data = b"".join(note + frame(c, style, ascii_only=escaped) for c, note, style, escaped in parts)
    data = data.replace(b"\n", line_end)
    pieces, at = [], 0
    while at < len(data):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(data[at : at + size])
        at += size

    cut = stream(*pieces)

    frames, count, size = reference([part[0] for part in parts])
    assert (documents(cut.data) if cut.data else []) == frames
    assert (cut.count, cut.output_bytes) == (count, size)
    assert stream(data) == cut
    assert cut.failures == []


def test_a_provider_with_ever_new_ids_comes_out_right() -> None:
    frames = [{**chunk({"content": "x"}), "id": f"id-{i}"} for i in range(40)]

    out = stream(b"".join(map(frame, frames)), *map(frame, frames))

    assert documents(out.data) == [renamed(f) for f in frames * 2]
    assert out.count == 80


def test_a_provider_whose_frames_differ_in_their_heads_comes_out_right() -> None:
    frames = [{**chunk({"content": "x"}), "created": i} for i in range(20)]

    out = stream(*map(frame, frames), b"".join(map(frame, frames)))

    assert documents(out.data) == [renamed(f) for f in frames * 2]
    assert (out.count, out.output_bytes) == (40, 40)


def test_blocks_of_any_size_come_out_right_once_the_head_is_known() -> None:
    warm = [frame(USUAL[1])] * 3
    other = frame({**USUAL[1], "created": 5})

    for block, expected in (
        (frame(USUAL[2]), [USUAL[2]]),
        (frame(USUAL[2]) + frame(USUAL[3]), [USUAL[2], USUAL[3]]),
        (frame(USUAL[2]) + frame(USUAL[7]), [USUAL[2], USUAL[7]]),
        (frame(USUAL[2]) + other, [USUAL[2], {**USUAL[1], "created": 5}]),
    ):
        out = stream(*warm, block)
        assert documents(out.data) == [renamed(USUAL[1])] * 3 + [renamed(c) for c in expected]


def test_keys_spelled_with_escapes_are_renamed() -> None:
    data = frame(USUAL[1]).replace(b'"id"', b'"\\u0069d"').replace(b'"model"', b'"mode\\u006c"')

    assert documents(stream(data, data * 2).data) == [renamed(USUAL[1])] * 3


def test_an_empty_first_id_does_not_spoil_the_rest() -> None:
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}

    out = stream(frame(first), *(frame(c) for c in USUAL[:4]))

    assert documents(out.data) == [renamed(first), *map(renamed, USUAL[:4])]


def test_an_id_also_inside_the_frame_leaks_nothing() -> None:
    document = {"choices": [{"delta": {"tool_calls": [{"id": "other"}]}}], **BASE, "nested": {"id": "chatcmpl-up"}}

    out = stream(frame(document), frame(document))

    assert documents(out.data) == [{**renamed(document), "nested": document["nested"]}] * 2


def test_an_id_that_is_no_string_is_replaced_too() -> None:
    document = {**chunk({"content": "x"}), "id": 7}

    assert documents(stream(frame(document)).data) == [renamed(document)]


def test_usage_in_every_frame_is_reported_in_every_frame() -> None:
    frames = [chunk({"content": "x"}, usage={**USAGE, "completion_tokens": n}) for n in (1, 2, 3)]

    out = stream(b"".join(map(frame, frames)))

    assert [c.report.usage.output for c in out.closings if c.report and c.report.usage] == [1, 2, 3]
    assert not any(c.finished for c in out.closings)
    assert (out.count, out.output_bytes) == (3, 3)


def test_unreadable_usage_is_a_report_without_usage() -> None:
    out = stream(frame(chunk(None, usage=[1])))

    assert out.closings[0].report is not None
    assert out.closings[0].report.usage is None


def test_usage_without_choices_gets_empty_ones_and_a_frame_with_neither_is_dropped() -> None:
    out = stream(frame({**BASE, "usage": USAGE}), frame({"type": "ping"}), frame({**BASE, "usage": {}}))

    assert documents(out.data) == [renamed({**BASE, "usage": USAGE, "choices": []})]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (frame({"error": {"message": "x", "code": 503}}), 503),
        (frame({**chunk({}, "error"), "error": {"message": "x", "code": 429}}), 429),
        (b'event: error\ndata: {"message":"x"}\n\n', 502),
        (b"event: error\ndata: oops\n\n", 502),
        (frame([{"error": {"message": "x", "code": 400}}]), 400),
        (frame({"object": "error", "message": "x", "code": 500}), 502),
        (frame({**chunk({}), "base_resp": {"status_code": 1002}}), 429),
        (frame(chunk({}, "network_error")), 502),
        (b'{"error": {"message": "x", "code": 429}}', 429),
        (b'[{"error":\n{"message": "x", "code": 503}}]', 503),
    ],
    ids=range(10),
)
def test_errors_inside_a_stream(data: bytes, status: int) -> None:
    out = stream(frame(USUAL[1]), data)

    assert [error.status for error in out.failures] == [status]
    assert documents(out.data) == [renamed(USUAL[1])]


def test_content_before_an_error_in_one_block_comes_before_it() -> None:
    decoder = ChatStream(IDENTITY)

    events = decoder.feed(frame(USUAL[1]) + frame({"error": {"message": "x"}}) + frame(USUAL[1]))
    assert [type(e) for e in events] == [Frames, Failed, Frames]
    events = decoder.feed(frame(USUAL[1]) + b"event: error\ndata: {}\n\n" + frame(USUAL[1]))
    assert [type(e) for e in events] == [Frames, Failed, Frames]


def test_words_that_are_values_are_no_markers() -> None:
    frames = [chunk({"content": word}) for word in ("error", "usage", "finish_reason", "base_resp", "content")]
    frames.append({**chunk({"content": "x"}), "error": None, "nested": {"error": "an inner one"}})
    frames.append({**chunk({"content": "x"}), "base_resp": {"status_code": 0}})

    out = stream(b"".join(map(frame, frames)))

    assert documents(out.data) == [renamed(f) for f in frames]
    assert out.failures == []


def test_nothing_is_read_after_the_end() -> None:
    decoder = ChatStream(IDENTITY)

    assert [type(e) for e in decoder.feed(usual() + frame(USUAL[1]) + b"data: {")][-1] is Ended
    assert decoder.feed(frame(USUAL[1])) == []
    assert decoder.close() == []


@pytest.mark.parametrize("spelling", [b"data:[DONE]", b"data: [DONE]", b"data:  [DONE] ", b": bye\ndata: [DONE]"])
def test_the_end_in_any_spelling_even_without_an_empty_line(spelling: bytes) -> None:
    assert stream(spelling + b"\n\n").ended == 1
    assert stream(spelling).ended == 1


def test_json_over_several_data_lines_is_one_frame() -> None:
    pretty = json.dumps(USUAL[1], indent=1).encode()
    data = b"".join(b"data: " + line + b"\n" for line in pretty.split(b"\n")) + b"\n"

    assert documents(stream(data, data).data) == [renamed(USUAL[1])] * 2


def test_a_last_frame_without_an_empty_line_counts_if_it_is_whole() -> None:
    whole = frame(USUAL[1])

    assert documents(stream(whole, whole[:-2]).data) == [renamed(USUAL[1])] * 2
    for end in range(len(whole) - 3):
        assert documents(stream(whole, whole[:end]).data) == [renamed(USUAL[1])]


def test_a_broken_first_frame_is_skipped() -> None:
    out = stream(b'data: {"id":"chatcmpl-up","model":"ok",\n\n', frame(b'{"id" broken}'), frame(USUAL[1]))

    assert documents(out.data) == [renamed(USUAL[1])]


def test_junk_on_lines_of_its_own_does_not_reach_the_client() -> None:
    good = frame(USUAL[1])

    noted = good[:-2] + b"\n: a note }\n\n"
    out = stream(good, good, good + b"}\n\n" + good, b"data: {x\n}\n\n", good[:-2] + b"junk\n\n", noted, good)

    assert documents(out.data) == [renamed(USUAL[1])] * 6


def test_a_finish_reason_that_is_empty_is_none() -> None:
    frames = [frame(chunk({"content": "x"}, ""))] * 5
    decoder = ChatStream(IDENTITY)
    decoder.feed(frames[0])

    assert [type(e) for e in decoder.feed(b"".join(frames))] == [Frames]
    assert [type(e) for e in decoder.feed(b"".join(frames))] == [Frames]


def test_counting_does_not_depend_on_what_stands_before_the_choices() -> None:
    data = frame({**BASE, "name": "a word in front", "choices": [{"delta": {"content": "x"}}]})

    assert stream(data * 4) == stream(data, data, data, data) == stream(data, data * 3)


def test_names_of_choices_counted_once_a_frame() -> None:
    two = {**BASE, "choices": [{"index": i, "delta": {"content": "ab"}, "finish_reason": None} for i in (0, 1)]}

    out = stream(frame(two), frame(two) + frame(USUAL[0]))

    assert (out.count, out.output_bytes) == (2, 8)


def test_frames_whose_model_comes_last_are_renamed() -> None:
    last = {"choices": [{"delta": {"content": "x"}}], **BASE}

    assert documents(stream(frame(last), frame(last) * 3).data) == [renamed(last)] * 4


def test_a_finish_frame_with_half_an_emoji_still_finishes() -> None:
    data = frame(USUAL[1]) + frame(chunk({"content": "\ud83d"}, "stop"), ascii_only=True)

    assert stream(data).closings[0].finished


@pytest.mark.parametrize(
    "text", ["", "plain", 'q" \\ / \n\t\b', "é", "\u0001", "ÿĀ\u07ff\u0800\uffff", "\U0001f600 \U0001f600", "\\u0041"]
)
def test_the_size_of_escaped_text_is_that_of_the_text(text: str) -> None:
    assert decoded_size(json.dumps(text).encode()[1:-1]) == len(text.encode())


def test_the_halves_of_a_pair_sum_up() -> None:
    assert decoded_size(b"\\ud83d") + decoded_size(b"\\ude00") == decoded_size(b"\\ud83d\\ude00") == 4


def test_an_endless_line_ends_the_stream() -> None:
    with pytest.raises(ProviderError, match="too large"):
        stream(b"data: {", *[b"x" * 100] * 20, limit=1_000)
