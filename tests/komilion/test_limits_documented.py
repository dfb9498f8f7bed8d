"""docs/limits.md shows the tiers that are in force, and what is estimated."""

import re
from dataclasses import astuple
from pathlib import Path

from routing.gateway.exchange import rate_headers
from routing.limits.admission import read_verdict
from routing.limits.tiers import LIMIT_NAMES, TIERS

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", re.MULTILINE)


def test_the_documented_tiers_are_those_in_force():
    documented = {
        name: tuple(int(number.replace(",", "")) for number in numbers) for name, *numbers in ROW.findall(PAGE)
    }
    assert documented == {name: astuple(limits) for name, limits in TIERS.items()}


def test_the_names_of_the_limits_are_documented():
    assert {name for name in LIMIT_NAMES if f"`{name}`" in PAGE} == LIMIT_NAMES


def test_every_header_is_documented():
    admission = read_verdict([0] * 8, second=0, catalog_version=0, degraded=False)
    sent = {name.decode() for name, _ in rate_headers(admission)} | {"retry-after"}
    assert {name for name in sent if f"`{name}`" in PAGE.lower()} == sent
