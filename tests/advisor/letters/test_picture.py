"""A letter as it is seen: it fits a narrow window, and everything stands out in light and dark."""

from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from tests.advisor.letters.pictures import LETTERS, WIDTHS, opened
from tests.e2e.browser import SCHEMES
from tests.people import Person

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FAULTS = "rules => axe.run(document, {runOnly: rules}).then(found => found.violations)"


@pytest.mark.parametrize("letter", LETTERS)
def test_it_fits_and_can_be_read(alice: Person, letter: str):
    found: list[Any] = []
    with opened(LETTERS[letter](alice)) as show:
        for width in WIDTHS:
            for scheme in SCHEMES:
                page = show(width, scheme)
                wide = page.evaluate("document.documentElement.scrollWidth")
                found += [f"{width} {scheme}: {wide} px wide"] if wide > width else []
                page.evaluate(AXE_SCRIPT)
                for fault in page.evaluate(FAULTS, RULES):
                    nodes = [node["html"][:100] for node in fault["nodes"]]
                    found.append(f"{width} {scheme}: {fault['id']}: {nodes}")
    assert found == []
