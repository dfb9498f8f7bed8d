"""How far answers to one question differ, as figures: pure, and in bounded time however long the answers are.

Of each answer the first `WORDS_COMPARED` words are compared. For two answers of n and m words:

    similarity = 2 x L / (n + m), L the length of the longest common subsequence of words: same words in the same order
    overlap    = words that both have / words that either has, each as often as it stands there: the order is no matter
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

WORDS_COMPARED = 1_000
CHARACTERS_READ = 16_000  # of an answer, to find its words
WORD = re.compile(r"\w+|[^\w\s]")
SHARE_DIGITS = 4


def differences(texts: Sequence[tuple[int, str, int]]) -> dict[str, Any]:
    """Of each answer (index, its text or how it begins, characters of all of it): its length; of each two how alike."""
    words = {index: WORD.findall(text[:CHARACTERS_READ])[:WORDS_COMPARED] for index, text, _ in texts}
    whole = {index: (text, length) for index, text, length in texts}
    return {
        "answers": [
            {"index": index, "characters": length, "words_compared": len(words[index])} for index, _, length in texts
        ],
        "pairs": [
            {
                "of": [one, other],
                "same": whole[one] == whole[other],  # as far as they were kept
                "similarity": similarity(words[one], words[other]),
                "overlap": overlap(words[one], words[other]),
            }
            for one, other in combinations(words, 2)
        ],
    }


def similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """0 (nothing in common) to 1 (the same words in the same order); two empty answers are alike."""
    total = len(one) + len(other)
    return round(2 * common_subsequence(one, other) / total, SHARE_DIGITS) if total else 1.0


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """0 (no word in common) to 1 (the same words, in whatever order)."""
    mine, theirs = Counter(one), Counter(other)
    either = (mine | theirs).total()
    return round((mine & theirs).total() / either, SHARE_DIGITS) if either else 1.0


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, a bit for each word of `one`: one step for each word of `other`.

    H. Hyyro, "Bit-parallel LCS-length computation revisited" (2004): the bits of `rows` that became 0 are the length.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(one)) - 1
    rows = everything
    for word in other:
        matches = rows & places.get(word, 0)
        rows = ((rows + matches) | (rows - matches)) & everything
    return len(one) - rows.bit_count()
