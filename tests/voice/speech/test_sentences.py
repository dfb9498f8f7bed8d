"""Long texts are cut where a reader would pause, and nothing of them is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.speech.sentences import pieces_of


@pytest.mark.parametrize(
    ("text", "most", "pieces"),
    [
        ("Short.", 100, ["Short."]),
        ("  ", 100, []),
        ("One here. Two here. Three here.", 20, ["One here. Two here.", "Three here."]),
        ("A paragraph here.\n\nAnother. One more.", 30, ["A paragraph here.", "Another. One more."]),
        ('He said "stop." She did.', 16, ['He said "stop."', "She did."]),
        ("first part, second part of it", 20, ["first part,", "second part of it"]),
        ("no marks in these words at all", 14, ["no marks in", "these words at", "all"]),
        ("x" * 25, 10, ["x" * 10, "x" * 10, "x" * 5]),
        (
            "\u4eca\u65e5\u306f\u3002\u660e\u65e5\u306f\u3002",
            5,
            ["\u4eca\u65e5\u306f\u3002", "\u660e\u65e5\u306f\u3002"],
        ),
        ("It costs 3.14 in all. Yes.", 22, ["It costs 3.14 in all.", "Yes."]),
    ],
)
def test_the_best_place_in_reach_is_taken(text: str, most: int, pieces: list[str]) -> None:
    assert pieces_of(text, most) == pieces


@given(st.text(), st.integers(1, 40))
def test_every_character_is_said_once_and_no_piece_is_too_long_or_empty(text: str, most: int) -> None:
    pieces = pieces_of(text, most)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece.strip() and len(piece) <= most for piece in pieces)
