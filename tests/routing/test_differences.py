"""The figures of how far answers differ: what they mean, and that no answer makes them slow."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.gateway.differences import (
    CHARACTERS_READ,
    WORDS_COMPARED,
    common_subsequence,
    differences,
    overlap,
    similarity,
)

WORDS = st.lists(st.sampled_from("abcdef"), max_size=24)


def reference(one: list[str], other: list[str]) -> int:
    """The textbook's table."""
    above = [0] * (len(other) + 1)
    for mine in one:
        row = [0]
        for at, theirs in enumerate(other):
            row.append(above[at] + 1 if mine == theirs else max(above[at + 1], row[at]))
        above = row
    return above[-1]


@given(WORDS, WORDS)
def test_the_common_subsequence_is_the_textbooks(one: list[str], other: list[str]):
    assert common_subsequence(one, other) == reference(one, other) == common_subsequence(other, one)


@given(WORDS, WORDS)
def test_shares_are_shares_and_symmetric(one: list[str], other: list[str]):
    for share in (similarity, overlap):
        assert share(one, other) == share(other, one)
        assert 0 <= share(one, other) <= 1
        assert share(one, one) == 1
    assert overlap(one, list(reversed(one))) == 1


@pytest.mark.parametrize(
    ("one", "other", "alike", "common"),
    [
        ("the cat sat", "the cat sat", 1.0, 1.0),
        ("the cat sat", "sat cat the", 0.3333, 1.0),
        ("the cat", "a dog", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        ("", "word", 0.0, 0.0),
        ("x = 1;", "x = 2;", 0.75, 0.6),
    ],
)
def test_examples(one: str, other: str, alike: float, common: float):
    found = differences([(0, one, len(one)), (1, other, len(other))])
    (pair,) = found["pairs"]
    assert (pair["similarity"], pair["overlap"]) == (alike, common)
    assert pair["same"] == (one == other)


def test_pairs_are_those_of_the_answers_that_there_are():
    found = differences([(index, f"answer {index}", 8) for index in (0, 2, 5)])
    assert [pair["of"] for pair in found["pairs"]] == [[0, 2], [0, 5], [2, 5]]
    assert [row["index"] for row in found["answers"]] == [0, 2, 5]
    assert differences([]) == {"answers": [], "pairs": []}


def test_long_answers_are_compared_as_far_as_it_goes():
    text = "word " * CHARACTERS_READ
    (row, _) = differences([(0, text, len(text)), (1, text, len(text) + 1)])["answers"]
    assert row == {"index": 0, "characters": len(text), "words_compared": WORDS_COMPARED}


@pytest.mark.parametrize("letters", ["a", "ab", "abcdefghijklmnopqrstuvwxyz"])
def test_the_worst_answers_take_no_time_worth_mentioning(letters: str):
    """Six answers of the longest kind: fifteen pairs. The limit is generous; it takes about 10 ms."""
    chance = random.Random(4)
    texts = [" ".join(chance.choices(letters, k=WORDS_COMPARED * 2)) for _ in range(6)]
    started = time.process_time()
    differences([(index, text, len(text)) for index, text in enumerate(texts)])
    assert time.process_time() - started < 0.5
