"""Cutting a byte stream into events, wherever an upstream cuts it and however it ends its lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.errors import ProviderError
from routing.providers.sse import EventBuffer, events

STREAM = b"data: one\n\n: note\nevent: ping\ndata: two\ndata: three\n\ndata: four\n\n"
EXPECTED = [(b"", b"one"), (b"ping", b"two\nthree"), (b"", b"four")]


def read(pieces: list[bytes], limit_bytes: int = 1_000) -> list[tuple[bytes, bytes]]:
    buffer = EventBuffer(limit_bytes)
    blocks = [buffer.feed(piece) for piece in pieces]
    return [event for block in [*blocks, buffer.finish()] for event in events(block)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_the_same_at_every_split_point(line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)

    for at in range(len(stream) + 1):
        assert read([stream[:at], stream[at:]]) == EXPECTED


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_the_same_byte_by_byte(line_end: bytes) -> None:
    stream = STREAM.replace(b"\n", line_end)

    assert read([stream[i : i + 1] for i in range(len(stream))]) == EXPECTED


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_give_the_same_events_however_they_are_cut(pieces: list[bytes]) -> None:
    assert read(pieces) == read([b"".join(pieces)])


def test_a_block_ends_with_an_empty_line_and_the_rest_is_held_back() -> None:
    buffer = EventBuffer()

    assert buffer.feed(b"data: a\n\ndata: b\n\ndata: c") == b"data: a\n\ndata: b\n\n"
    assert buffer.feed(b"\n") == b""
    assert buffer.feed(b"\n") == b"data: c\n\n"
    assert buffer.finish() == b""


def test_a_byte_order_mark_and_fields_that_mean_nothing_are_passed_over() -> None:
    block = b"\xef\xbb\xbfdata:no space\n\nid: 7\nretry: 10\n\n\n\nnonsense\n\ndata\n\n"

    assert list(events(block)) == [(b"", b"no space"), (b"", b"")]


def test_an_event_without_an_end_is_refused_at_the_limit() -> None:
    buffer = EventBuffer(limit_bytes=100)
    buffer.feed(b"data: " + b"x" * 94)

    with pytest.raises(ProviderError, match="too large"):
        buffer.feed(b"y")


def test_a_whole_event_over_the_limit_is_refused_and_many_small_ones_are_not() -> None:
    assert len(EventBuffer(limit_bytes=100).feed(b"data: x\n\n" * 100)) == 900

    with pytest.raises(ProviderError, match="too large"):
        EventBuffer(limit_bytes=100).feed(b"data: x\n\ndata: " + b"x" * 100 + b"\n\n")
