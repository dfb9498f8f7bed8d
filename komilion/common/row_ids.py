"""Ids of rows as they come in from outside, in paths (`<id:key_id>`), queries and forms.

They are whole numbers of 64 bits. What is larger names no row: PostgreSQL would find none, SQLite cannot even ask.
"""

from typing import override

from django.urls import register_converter
from django.urls.converters import IntConverter

MOST_ROW_ID = 2**63 - 1
MOST_DIGITS = len(str(MOST_ROW_ID))  # longer texts are not read at all: Python refuses to from some length on


def row_id(text: str) -> int | None:
    """The id that the text is; None where it can be none."""
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        return None
    found = int(text)
    return found if found <= MOST_ROW_ID else None


class RowIdConverter(IntConverter):
    """What is no id is read as the largest one, which no row has: the view answers as for any row that is not there."""

    @override
    def to_python(self, value: str) -> int:
        """The id."""
        found = row_id(value)
        return MOST_ROW_ID if found is None else found


register_converter(RowIdConverter, "id")
