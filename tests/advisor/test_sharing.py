"""Calls that nobody read are shared out like those that were read; nothing is lost and nothing is made."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.evidence import Tally
from advisor.sharing import SUMMED, Group, Sums, apportion, tallies_of

NAMED = ("vendor/model", "named", "")


def sums(weeks: int = 1, week: int = 0, **values: float) -> Sums:
    found = Sums([0] * weeks)
    found.add(week, [values.get(name, 0) for name in SUMMED])
    return found


def by_task(**tasks: Sums) -> dict[str, Tally]:
    """Of one model that was named; `unread` for what nobody read."""
    group = {"" if task == "unread" else task.replace("_", "-"): each for task, each in tasks.items()}
    return {tally.task: tally for tally in tallies_of({NAMED: group})}


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1).filter(any))
def test_parts_are_whole_and_add_up(total, weights):
    parts = apportion(total, weights)
    assert sum(parts) == total
    assert all(part >= 0 and (weight or not part) for part, weight in zip(parts, weights, strict=True))


@given(
    st.dictionaries(
        st.sampled_from(["", "math", "writing", "other"]),
        st.tuples(st.integers(1, 10**9), st.integers(0, 10**15), st.integers(0, 10**12), st.integers(0, 3)),
        min_size=1,
    )
)
def test_totals_stay_exact(tasks):
    group = {
        task: sums(4, week, requests=requests, charge_nano=charge, input=tokens)
        for task, (requests, charge, tokens, week) in tasks.items()
    }
    found = tallies_of({NAMED: group})
    assert sum(tally.requests for tally in found) == sum(each.counts["requests"] for each in group.values())
    assert sum(tally.charge_nano for tally in found) == sum(each.counts["charge_nano"] for each in group.values())
    assert sum(tally.tokens.get("input", 0) for tally in found) == sum(each.counts["input"] for each in group.values())
    for week in range(4):
        assert sum(tally.by_week[week] for tally in found) == sum(each.by_week[week] for each in group.values())


def test_each_sum_is_shared_in_its_own_proportion():
    found = by_task(
        math=sums(requests=3, output=10, charge_nano=100),
        writing=sums(requests=1, output=90, charge_nano=300),
        unread=sums(requests=40, output=1_000, charge_nano=4_000, cache_read=80),
    )
    math_, writing = found["math"], found["writing"]
    assert (math_.requests, writing.requests) == (33, 11)
    assert (math_.tokens["output"], writing.tokens["output"]) == (110, 990)
    assert (math_.charge_nano, writing.charge_nano) == (1_100, 3_300)
    assert (math_.tokens["cache_read"], writing.tokens["cache_read"]) == (60, 20)  # none was read: by calls
    assert (math_.seen, writing.seen) == (3, 1)


def test_weeks_are_shared_out_like_the_charge_of_the_window():
    found = by_task(
        math=sums(2, 0, requests=1, charge_nano=100),
        writing=sums(2, 1, requests=1, charge_nano=300),
        unread=sums(2, 1, requests=10, charge_nano=800),
    )
    assert (found["math"].by_week, found["writing"].by_week) == ((100, 200), (0, 900))


def test_a_day_before_the_first_whole_week_counts_in_no_week():
    (tally,) = by_task(math=sums(4, -1, requests=1, charge_nano=100)).values()
    assert (tally.charge_nano, sum(tally.by_week)) == (100, 0)


def test_of_a_model_that_nobody_read_all_is_other_and_nothing_was_seen():
    (tally,) = by_task(unread=sums(requests=500, charge_nano=7, failed=3, answered=400, log_ms=900.0)).values()
    assert (tally.task, tally.requests, tally.charge_nano) == ("other", 500, 7)
    assert (tally.seen, tally.failed, tally.log_ms_mean) == (0, 0, 0.0)


def test_failures_of_named_calls_are_never_read_and_count_as_in_a_sample():
    (tally,) = by_task(math=sums(requests=10), unread=sums(requests=80, failed=20, passed_on=10)).values()
    assert tally.requests == 90
    assert (tally.failed, tally.seen) == (round(30 * 10 / 90), 10 + round(30 * 10 / 90))


def test_what_was_passed_on_was_seen_and_failed():
    (tally,) = by_task(math=sums(passed_on=4)).values()
    assert (tally.requests, tally.seen, tally.failed) == (0, 4, 4)


def test_votes_without_calls_are_no_tally():
    assert by_task(math=sums(votes=3, score=2.0)) == {}


def test_votes_on_unread_answers_are_shared_out_by_calls():
    found = by_task(
        math=sums(requests=1), writing=sums(requests=3, votes=1, score=1.0), unread=sums(requests=4, votes=4, score=2.0)
    )
    assert (found["math"].votes, found["math"].score) == (1, 0.5)
    assert (found["writing"].votes, found["writing"].score) == (4, 2.5)


def test_figures_are_those_of_what_was_read():
    logs = [math.log(100), math.log(400)]
    (tally,) = by_task(
        math=sums(
            requests=4,
            answered=2,
            log_ms=sum(logs),
            log_ms_square=sum(log * log for log in logs),
            rated=4,
            difficulty=-2.0,
            retried=1,
            cut=2,
        ),
        unread=sums(requests=9, answered=9, log_ms=99.0, log_ms_square=1_000.0, retried=5),
    ).values()
    assert (tally.difficulty, tally.retried, tally.cut) == (-0.5, 1, 2)
    assert tally.log_ms_mean == pytest.approx(sum(logs) / 2)
    assert tally.log_ms_variance == pytest.approx((math.log(4) / 2) ** 2)


def test_ways_and_policies_are_told_apart():
    groups: list[Group] = [("b", "policy", "frugal"), ("a", "pinned", "balanced"), ("a", "named", "")]
    found = tallies_of({group: {"math": sums(requests=1)} for group in groups})
    assert [(tally.model, tally.way, tally.policy) for tally in found] == [
        ("a", "named", ""),
        ("a", "pinned", "balanced"),
        ("b", "policy", "frugal"),
    ]
