"""Charts as figures for templates/components/chart_*.html: bars that are drawn by the server, with a table behind.

The SVG is stretched to the width of the page, so it has no text in it; labels stand around it as HTML. Amounts are
integers of any unit, positions integers of the SVG's own units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 1_000
HEIGHT = 200
MOST_SERIES = 6  # as many colours as the design has; the last one is for the rest
REST = "everything else"
STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Rect:
    """One piece of a bar; `title` is what hovering says."""

    x: int
    y: int
    width: int
    height: int
    series: int  # from 1
    label: str
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class StackedBars:
    """Bars beside each other, each stacked by series."""

    labels: list[str]
    names: list[str]  # of the series, dearest first
    rows: list[tuple[str, list[int], int]]  # label, value of each series, total
    rects: list[Rect]
    top: int  # the value at the upper edge
    totals: list[int]  # of each series
    gridlines: list[int] = field(default_factory=lambda: [0, HEIGHT // 2, HEIGHT])

    @property
    def middle(self) -> int:
        """The value half-way up."""
        return self.top // 2

    @property
    def total(self) -> int:
        """Of all bars."""
        return sum(self.totals)


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> StackedBars:
    """Bars named `labels`; `series` has a value for each label. What is beyond the design's colours is one series."""
    ordered = sorted(series.items(), key=lambda item: (-sum(item[1]), item[0]))
    if len(ordered) > MOST_SERIES:
        kept, rest = ordered[: MOST_SERIES - 1], ordered[MOST_SERIES - 1 :]
        ordered = [*kept, (REST, [sum(values) for values in zip(*(one for _, one in rest), strict=True)])]
    names = [name for name, _ in ordered]
    columns = [[values[at] for _, values in ordered] for at in range(len(labels))]
    top = ceiling(max((sum(column) for column in columns), default=0))
    rects = []
    slot = WIDTH // max(1, len(labels))
    gap = max(1, slot // 5)
    for at, (label, column) in enumerate(zip(labels, columns, strict=True)):
        below = 0
        for number, (name, value) in enumerate(zip(names, column, strict=True), start=1):
            lower, upper = _up(below, top), _up(below + value, top)
            below += value
            if value:
                height = max(1, upper - lower)
                rects.append(
                    Rect(at * slot + gap // 2, HEIGHT - lower - height, slot - gap, height, number, label, name, value)
                )
    rows = [(label, column, sum(column)) for label, column in zip(labels, columns, strict=True)]
    return StackedBars(list(labels), names, rows, rects, top, [sum(values) for _, values in ordered])


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart."""

    name: str
    value: int
    width: int  # of WIDTH
    share: int  # percent of all rows
    href: str = ""


def bars(values: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """Rows of (name, value, address), in their order; the longest bar takes the whole width."""
    most = max((value for _, value, _ in values), default=0) or 1
    shares = shares_of([value for _, value, _ in values])
    return [
        Bar(name, value, value * WIDTH // most, share, href)
        for (name, value, href), share in zip(values, shares, strict=True)
    ]


def shares_of(values: Sequence[int]) -> list[int]:
    """Whole percents that add up to 100: what is cut off goes to those that lost most by it."""
    total = sum(values)
    if not total:
        return [0] * len(values)
    shares = [value * 100 // total for value in values]
    dearest_loss = sorted(range(len(values)), key=lambda at: values[at] * 100 % total, reverse=True)
    for at in dearest_loss[: 100 - sum(shares)]:
        shares[at] += 1
    return shares


def ceiling(value: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100 ... at or above the value: a round number with a round half."""
    scale = 1
    while True:
        for step in STEPS:
            if 2 * step * scale >= value:
                return 2 * step * scale
        scale *= 10


def _up(value: int, top: int) -> int:
    return value * HEIGHT // top
