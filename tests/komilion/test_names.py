"""What a name may be made of."""

import pytest

from komilion.common.names import hidden_characters


@pytest.mark.parametrize(
    "name",
    [
        "checkout, production",
        "Ünïcode & Søns",
        "日本語の名前",
        "نمی\u200cشود",  # a joiner that belongs to the word
        "👩\u200d👩\u200d👧 \N{HEAVY BLACK HEART}\ufe0f",
        "Bob's (3rd) <key>",
        "no\u00a0break",
    ],
)
def test_names_of_all_scripts_are_fine(name: str):
    assert hidden_characters(name) == ""


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("\u200b", "\u200b"),
        ("live\u202eyek", "\u202e"),
        ("a\u2066b\u2069", "\u2066\u2069"),
        ("two\r\nlines", "\r\n"),
        ("\u3164", "\u3164"),
        ("pay\u200dpal", "\u200d"),
        ("\ufeffkey\x00", "\ufeff\x00"),
        ("line\u2028break", "\u2028"),
        ("tag\U000e0041", "\U000e0041"),
    ],
)
def test_what_nobody_sees_is_found(name: str, hidden: str):
    assert hidden_characters(name) == hidden
