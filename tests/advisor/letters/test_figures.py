"""Where the money went, from evidence."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as some

from advisor.evidence import Evidence, Tally
from advisor.figures import LINES_MOST, figures_of
from routing.selection.words import TASKS

SUNDAY = date(2026, 11, 29)


def tally(task: str, model: str, by_week: list[float]) -> Tally:
    return Tally(
        task=task,
        model=model,
        way="named",
        policy="",
        requests=1,
        seen=1,
        tokens={},
        charge_nano=sum(by_week),
        by_week=by_week,
    )


def evidence(*tallies: Tally) -> Evidence:
    return Evidence(1, SUNDAY, 28, tallies)


def test_the_last_week_is_set_against_the_one_before():
    found = figures_of(
        evidence(
            tally("math", "acme/one", [1, 2, 30, 40]),
            tally("math", "acme/two", [0, 0, 5, 0]),
            tally("writing", "acme/one", [9, 9, 0, 7]),
        ),
        [1] * 21 + [2] * 7,
    )
    assert (found.nano, found.before_nano, len(found.days)) == (14, 7, 28)
    assert [(line.name, line.nano, line.before_nano) for line in found.tasks] == [("math", 40, 35), ("writing", 7, 0)]
    assert [(line.name, line.nano) for line in found.models] == [("acme/one", 47), ("acme/two", 0)]
    assert found.first_day == date(2026, 11, 23)


def test_fewer_days_than_are_drawn_begin_with_nothing():
    assert figures_of(evidence(), [3, 4]).days == [0] * 26 + [3, 4]


def test_what_took_nothing_in_two_weeks_is_not_named():
    assert figures_of(evidence(tally("math", "acme/one", [9, 9, 0, 0])), []).tasks == []


@given(some.lists(some.tuples(some.sampled_from(TASKS), some.integers(0, 10**12), some.integers(0, 10**12))))
def test_no_money_is_lost_in_the_lines(rows: list[tuple[str, int, int]]):
    found = figures_of(evidence(*(tally(task, "m", [0, 0, before, now]) for task, before, now in rows)), [])
    assert sum(line.nano for line in found.tasks) == sum(now for _, _, now in rows)
    assert sum(line.before_nano for line in found.tasks) == sum(before for _, before, _ in rows)
    assert len(found.tasks) <= LINES_MOST + 1
