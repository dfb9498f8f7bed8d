"""A long text in pieces that a model of speech takes, cut where a reader would pause."""

import re

# Where to cut, the best first: after a paragraph, after a sentence, after a clause, between two words. Full stops and
# their like in Chinese and Japanese need no blank behind them.
CUTS = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+|(?<=[\u3002\uff01\uff1f])\s*"),
    re.compile(r"(?<=[,;:\u2014])\s+|(?<=[\uff0c\uff1b\u3001])\s*"),
    re.compile(r"\s+"),
)
LEAST_SHARE = 0.25  # of the longest piece; a paragraph that ends earlier is no reason to cut there


def pieces_of(text: str, most_characters: int) -> list[str]:
    """The text in order, in pieces of at most so many characters, without blanks at their ends; none is empty."""
    pieces = []
    rest = text.strip()
    while len(rest) > most_characters:
        end = _cut(rest, most_characters)
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        pieces.append(rest)
    return pieces


def _cut(text: str, most: int) -> int:
    """Where the first piece ends: at the last good place in its reach."""
    least = max(1, int(most * LEAST_SHARE))
    for pattern in CUTS:
        found = (match.end() for match in pattern.finditer(text, 0, most + 1))
        places = [end for end in found if end >= least and len(text[:end].rstrip()) <= most]
        if places:
            return places[-1]
    return most
