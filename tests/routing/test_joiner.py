"""Where another answer goes on with one that broke off: the seam, found by text alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.gateway.joining import SEAM_CHARACTERS, Delivered, Diverged, Joiner
from tests.routing.failing import TEXT


def read(joiner: Joiner, *pieces: str) -> str | None:
    """What the joiner lets through of an answer that comes in these pieces."""
    for place, piece in enumerate(pieces, start=1):
        rest = joiner.feed(piece)
        if rest is not None:
            return rest + "".join(pieces[place:])
    joiner.finish()
    return ""


class TestPlace:
    """Where a new answer goes on with what was delivered."""

    @pytest.mark.parametrize(
        ("delivered", "answer", "rest"),
        [
            ("One two", "One two three", " three"),
            ("One two ", "One two three", "three"),
            ("One tw", "One two three", "o three"),
            ("One two\n\n", "One two\n\nthree", "three"),
            ("One two ", "One two\n\nthree", "\nthree"),
            ("One two\n", "One two\n\nthree", "\nthree"),
            ("\n\nOne  two", "One two three", " three"),
            ("One two", "  One\ntwo three", " three"),
            ("One two", "One two", ""),
            ("One two ", "One two", ""),
            (" \n", "One two", "One two"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 2, 100])
    def test_the_same_beginning(self, delivered: str, answer: str, rest: str, size: int):
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        assert read(Joiner(delivered), *pieces) == rest

    @pytest.mark.parametrize(
        ("delivered", "answer"),
        [
            ("One two", "One three"),
            ("One two three", "One two"),
            ("One two three", ""),
            (TEXT, TEXT.replace("fox", "cat")),
            (TEXT, TEXT[:60]),
            (TEXT, "x" * 10_000),
        ],
        ids=["another", "shorter", "empty", "similar", "the beginning", "long"],
    )
    def test_another_answer(self, delivered: str, answer: str):
        with pytest.raises(Diverged):
            read(Joiner(delivered), answer)

    @pytest.mark.parametrize("size", [1, 7, 1_000])
    def test_another_way_to_the_same_words(self, size: int):
        answer = "A slow red cat sleeps; " + TEXT[20:] + " Or a third."
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        assert read(Joiner(TEXT), *pieces) == " Or a third."

    def test_words_that_occur_more_than_once_count(self):
        line = "def test_the_same_line_that_is_written_again_and_again_in_a_file(): pass\n"
        delivered = "one\n" + line + "two\n" + line
        assert read(Joiner(delivered), "uno\n" + line, "due\n" + line, "three\n") == "three\n"

    def test_a_space_at_the_end_of_the_same_words(self):
        assert read(Joiner(TEXT + " "), "But then: " + TEXT[20:], " ", "Fin.") == "Fin."
        assert read(Joiner(TEXT + " "), "But then: " + TEXT[20:] + " ") == ""

    @given(st.text(), st.text(), st.integers(1, 20))
    def test_nothing_is_lost_or_said_twice(self, delivered: str, rest: str, size: int):
        """White space aside, what was delivered and what is let through are the new answer."""
        answer = delivered + rest
        pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
        joined = delivered + (read(Joiner(delivered), *pieces) or "")
        assert "".join(joined.split()) == "".join(answer.split())


class TestDelivered:
    """The text that is kept of a stream."""

    @staticmethod
    def frame(**delta: object) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    def test_of_many_frames(self):
        delivered = Delivered()
        for _ in range(2_000):
            delivered.add(self.frame(role="assistant", content="word ") + self.frame(content=None))
        delivered.add(b'data: {"choices": []}\n\n')
        assert delivered.text == "word " * 2_000

    @pytest.mark.parametrize(
        "frame",
        [
            b"data: no JSON\n\n",
            b'data: {"choices": 5}\n\n',
            b'data: {"choices": [5]}\n\n',
            b"data: {}\n\n",
            b'data: {"choices": [{"delta": {"content": [{"type": "text", "text": "x"}]}}]}\n\n',
            b'data: {"choices": [{"delta": {"content": "x"}, "logprobs": {"content": []}}]}\n\n',
            b'data: {"choices": [{"delta": {}}, {"delta": {}}]}\n\n',
            b'data: {"choices": [{"delta": {"reasoning_content": "x"}}]}\n\n',
            b'data: {"choices": [{"delta": {"refusal": "x"}}]}\n\n',
            b'data: {"choices": [{"delta": {"tool_calls": [{}]}}]}\n\n',
        ],
        ids=str,
    )
    def test_what_is_more_than_text_is_not_kept(self, frame: bytes):
        delivered = Delivered()
        delivered.add(self.frame(content="x"))
        delivered.add(frame)
        assert delivered.text is None
        delivered.add(self.frame(content="x"))
        assert delivered.text is None

    def test_too_much_is_not_kept(self, settings: object):
        settings.JOIN_LIMIT_BYTES = 5_000
        delivered = Delivered()
        for _ in range(1_000):
            delivered.add(self.frame(content="words "))
        assert delivered.text is None


def test_the_seam_is_long_enough_to_be_no_accident():
    assert SEAM_CHARACTERS >= 40
