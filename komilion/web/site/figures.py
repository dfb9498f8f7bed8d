"""Figures that pages and documents name, from where they are decided."""

import re
from dataclasses import dataclass
from functools import cache

from django.conf import settings

from komilion.common import errors
from komilion.common.money import format_percent
from routing.gateway.checks import refusal
from routing.gateway.parameters import TABLE

ERROR_ROW = re.compile(r"^\| `(?P<name>\w+)` \| \d+ \| `\w+` \| `\w+` \| (?P<meaning>.+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """An error as a caller sees it; `meaning` is Markdown."""

    status: int
    type: str
    reason: str
    meaning: str


@cache
def error_rows() -> list[ErrorRow]:
    """Each reason once, by status: from the error tree, with the meanings that docs/errors.md gives its classes."""
    text = (settings.BASE_DIR / "docs" / "errors.md").read_text()
    meanings = {row["name"]: row["meaning"] for row in ERROR_ROW.finditer(text)}
    rows: dict[str, ErrorRow] = {}
    for error in _classes(errors.KomilionError):
        meaning = meanings.get(error.__name__, error.default_message)
        rows.setdefault(error.reason, ErrorRow(error.status, error.type, error.reason, meaning))
    return sorted(rows.values(), key=lambda row: row.status)


@cache
def parameter_names() -> dict[str, list[str]]:
    """Names of the parameters of a chat request: `taken`, `extensions`, `dropped` and `refused`."""
    names: dict[str, list[str]] = {"taken": [], "extensions": [], "dropped": [], "refused": []}
    for name, row in TABLE.items():
        if row.check.__qualname__.startswith(refusal.__name__):  # made by it: whatever is given, or all but one value
            names["refused"].append(name)
        else:
            names[{"extend": "extensions", "drop": "dropped"}.get(row.then, "taken")].append(name)
    return names


def _classes(error: type[errors.KomilionError]) -> list[type[errors.KomilionError]]:
    """The class and everything below it, in the order of the source."""
    return [error, *(found for below in error.__subclasses__() for found in _classes(below))]


def fee_percent() -> str:
    """Our fee on the provider's list price."""
    return format_percent(settings.FEE_BASIS_POINTS)
