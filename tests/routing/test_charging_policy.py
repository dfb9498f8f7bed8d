"""docs/charging-policy.md, row by row: each case of the table is played and charged as its row says."""

import re
from pathlib import Path

import pytest

from tests.fakes.journal import Tokens
from tests.routing.books import (
    assert_in_order,
    charge_of,
    counted,
    counted_input,
    only_row,
    usage_rows,
)
from tests.routing.charging_cases import CASES, Play
from tests.stand import Gateway

PAGE = Path(__file__).parents[2] / "docs" / "charging-policy.md"
ROW = re.compile(
    r"^\| `(?P<case>[\w-]+)` \| (?P<streamed>yes|no) \| [^|]+ \| (?P<outcome>`\w+`|none) \| (?P<usage>`\w+`|none)"
    r" \| (?P<charge>\w+) \|$",
    re.MULTILINE,
)
ROWS = {row["case"]: row for row in ROW.finditer(PAGE.read_text())}


def test_every_row_has_a_case_and_every_case_a_row():
    assert set(ROWS) == set(CASES)
    assert PAGE.read_text().count("\n| `") == len(ROWS), "a row that cannot be read"


def test_every_outcome_is_published():
    from routing.gateway.types import Outcome

    published = {row["outcome"].strip("`") for row in ROWS.values()} - {"none"}
    assert published == set(Outcome.__value__.__args__)


@pytest.mark.parametrize("name", ROWS)
def test_the_case_is_charged_as_published(
    gateway: Gateway, settings: object, monkeypatch: pytest.MonkeyPatch, name: str
):
    row = ROWS[name]
    play = Play(gateway, settings, monkeypatch)
    CASES[name](play)
    if row["outcome"] == "none":
        assert_in_order(gateway, play.tenant, 0, play.credit)
        assert usage_rows(play.tenant) == []
        return
    usage = only_row(play.tenant, play.model)
    assert (usage.outcome, usage.usage_source) == (row["outcome"].strip("`"), row["usage"].strip("`"))
    assert usage.streamed == (row["streamed"] == "yes")
    assert usage.charge_nano == _expected(play, row["charge"])
    assert_in_order(gateway, play.tenant, usage.charge_nano, play.credit)


def _expected(play: Play, charge: str) -> int:
    if charge == "nothing":
        return 0
    if charge == "reported":
        return charge_of(play.provider_call.billed)
    assert charge == "counted"
    assert play.frames is not None
    tokens = counted(play.provider_call, play.frames, play.text)
    return charge_of(Tokens(min(counted_input(play.provider_call), tokens.prompt), tokens.completion))
