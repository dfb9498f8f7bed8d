"""docs/errors.md lists every error of the tree with what a program sees of it."""

import re
from pathlib import Path

import orjson
import pytest

from komilion.common import errors
from komilion.common.errors import KomilionError, UnknownModel, render

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| (?P<status>\d+) \| `(?P<type>\w+)` \| `(?P<reason>\w+)` \| (?P<meaning>.+) \|$",
    re.MULTILINE,
)
ROWS = {row["name"]: row for row in ROW.finditer(PAGE.read_text())}
CLASSES = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, KomilionError)
}


def test_every_error_is_documented_and_nothing_else():
    assert set(ROWS) == set(CLASSES)
    assert PAGE.read_text().count("\n| `") == len(ROWS), "a row that cannot be read, or a class twice"


@pytest.mark.parametrize("name", CLASSES)
def test_the_documented_error_is_the_one_that_is_sent(name: str):
    row, error = ROWS[name], CLASSES[name]
    assert (int(row["status"]), row["type"], row["reason"]) == (error.status, error.type, error.reason)


@pytest.mark.parametrize("name", CLASSES)
def test_the_tree_in_the_source_shows_it(name: str):
    error = CLASSES[name]
    drawn = re.search(rf"\b{name}\s+(\d+)\s+(?:\w+\s+)?(\w+)$", errors.__doc__ or "", re.MULTILINE)
    if error is errors.InternalError:  # it is what its parent is
        drawn = re.search(r"KomilionError\s+(\d+)\s+\w+\s+(\w+)$", errors.__doc__ or "", re.MULTILINE)
    assert drawn is not None
    assert (int(drawn[1]), drawn[2]) == (error.status, error.reason)


def test_a_reason_belongs_to_one_status():
    statuses: dict[str, set[int]] = {}
    for error in CLASSES.values():
        statuses.setdefault(error.reason, set()).add(error.status)
    assert all(len(found) == 1 for found in statuses.values())


def test_codes_that_openai_clients_expect_are_documented():
    for reason, code in errors.OPENAI_CODES.items():
        assert f"`{code}` for\n`{reason}`" in PAGE.read_text() or f"`{code}` for `{reason}`" in PAGE.read_text()


def test_both_dialects():
    error = UnknownModel("There is no such model.", param="model", extra={"hint": 1})
    openai, ours = (orjson.loads(render(error, path)) for path in ("/v1/chat/completions", "/api/chat/completions"))
    assert openai["error"]["code"] == "model_not_found"
    assert ours["error"]["code"] == 400
    assert openai["error"]["reason"] == ours["error"]["reason"] == "unknown_model"
    assert openai["hint"] == ours["hint"] == 1
