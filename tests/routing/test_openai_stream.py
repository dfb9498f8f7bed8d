"""OpenAI's streams: they come out the same however they were cut, and every oddity of a vendor is understood."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.errors import ProviderError
from komilion.common.usage import Usage
from routing.providers.base import Ended, Failed, Frames
from routing.providers.openai_stream import ChatStream, decoded_size
from tests.routing.openai_frames import (
    BASE,
    IDENTITY,
    USAGE,
    USUAL,
    WRITTEN_BYTES,
    chunk,
    documents,
    frame,
    renamed,
    stream,
    usual,
)

OUTPUT_KEYS = ("content", "reasoning_content", "reasoning", "refusal")


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


@settings(deadline=None)
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
