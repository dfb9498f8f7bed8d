"""What is known of latency, pace and length, as it ages, is merged and is read."""

import math
import random

import msgspec
import numpy as np
import pytest

from routing.selection.filters import Needs
from routing.selection.guesses import GUESSES
from routing.selection.live import HALF_LIFE_S, LENGTH_HALF_LIFE_S, Live, LiveView
from routing.selection.words import TASKS
from tests.routing.selection.stand_ins import Row, market, reading

OFFER = ("alpha", "a/a")
CELL = ("a/a", "math")


def seen(values: list[float], now_s: float = 0.0, live: Live | None = None) -> Live:
    """Answers whose first content came after so many seconds, and whose pace was the same number."""
    live = live or Live()
    for value in values:
        live.answered(OFFER, value, value, now_s)
    return live


@pytest.mark.parametrize("share", [0.5, 0.75, 0.95, 0.99])
def test_a_percentile_is_right_to_nine_percent(share: float) -> None:
    draw = random.Random(5)
    values = [draw.lognormvariate(0.3, 0.8) for _ in range(4_000)]
    live = seen(values)
    exact = float(np.percentile(values, share * 100))
    for found in (live.first_content_s(*OFFER, share, 0.0), live.tokens_per_s(*OFFER, share, 0.0)):
        assert found == pytest.approx(exact, rel=0.09)


def test_too_few_calls_say_nothing() -> None:
    assert Live().first_content_s(*OFFER, 0.5, 0.0) is None
    assert Live().tokens_per_s(*OFFER, 0.5, 0.0) is None
    assert seen([1.0] * 4).first_content_s(*OFFER, 0.5, 0.0) is None
    assert seen([1.0] * 5).first_content_s(*OFFER, 0.5, 0.0) is not None
    assert seen([1.0] * 29).first_content_p99_s(*OFFER, 0.0) is None
    assert seen([1.0] * 30).first_content_p99_s(*OFFER, 0.0) is not None


def test_old_calls_fade() -> None:
    live = seen([10.0] * 100)
    assert live.first_content_s(*OFFER, 0.5, HALF_LIFE_S) == pytest.approx(10.0, rel=0.2)
    assert live.first_content_s(*OFFER, 0.5, 10 * HALF_LIFE_S) is None
    seen([1.0] * 100, 3 * HALF_LIFE_S, live)
    assert live.first_content_s(*OFFER, 0.5, 3 * HALF_LIFE_S) == pytest.approx(1.0, rel=0.2)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    live = seen([1.0] * 10, 1_000.0)
    seen([1.0] * 10, 500.0, live)
    assert live.first_content_s(*OFFER, 0.5, 400.0) == pytest.approx(1.0, rel=0.2)


def test_extreme_values_are_kept_in_bounds() -> None:
    live = seen([0.0] * 10)
    assert live.first_content_s(*OFFER, 0.5, 0.0) == pytest.approx(1e-3, rel=0.2)
    assert seen([1e12] * 10).first_content_s(*OFFER, 0.5, 0.0) == pytest.approx(1e6, rel=0.2)


def test_what_is_not_known_of_an_answer_is_left_out() -> None:
    live = Live()
    for _ in range(10):
        live.answered(OFFER, None, 30.0, 0.0)
        live.answered(OFFER, 2.0, None, 0.0)
    assert live.first_content_s(*OFFER, 0.5, 0.0) == pytest.approx(2.0, rel=0.2)
    assert live.tokens_per_s(*OFFER, 0.5, 0.0) == pytest.approx(30.0, rel=0.2)


def test_processes_together_know_what_each_saw() -> None:
    slow, fast = seen([8.0] * 60, 0.0), seen([1.0] * 40, 0.0)
    slow.wrote(CELL, "alice", 1.2, 0.0)
    fast.wrote(CELL, "bob", 1.2, 0.0)
    parts = [slow.dumps(), fast.dumps()]
    whole = Live.merged(parts)
    assert whole.first_content_s(*OFFER, 0.25, 0.0) == pytest.approx(1.0, rel=0.2)
    assert whole.first_content_s(*OFFER, 0.75, 0.0) == pytest.approx(8.0, rel=0.2)
    here = market(Row("a/a"))
    alone, both = slow.log_correction(here, 0.0), whole.log_correction(here, 0.0)
    assert 0 < alone[0, TASKS.index("math")] < both[0, TASKS.index("math")]
    assert Live.merged(parts).dumps() == whole.dumps()
    later = Live.merged([seen([1.0] * 64, 0.0).dumps(), seen([4.0] * 64, 2 * HALF_LIFE_S).dumps()])
    assert later.first_content_s(*OFFER, 0.5, 2 * HALF_LIFE_S) == pytest.approx(4.0, rel=0.2)


def test_a_dump_is_read_again_and_anything_else_refused() -> None:
    live = seen([1.0, 2.0, 3.0])
    live.wrote(CELL, "alice", 0.5, 5.0)
    assert Live.loads(live.dumps()).dumps() == live.dumps()
    with pytest.raises(msgspec.DecodeError):
        Live.loads(b"no such thing")


def test_state_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.selection.live.OFFERS_KEPT", 3)
    monkeypatch.setattr("routing.selection.live.LENGTHS_KEPT", 3)
    live = Live()
    for number in range(6):
        for _ in range(6):
            live.answered(("alpha", f"a/{number}"), 1.0, 1.0, float(number))
        live.wrote((f"a/{number}", "math"), "alice", 0.5, float(number))
    known = [number for number in range(6) if live.first_content_s("alpha", f"a/{number}", 0.5, 6.0) is not None]
    assert known == [3, 4, 5]
    here = market(*(Row(f"a/{number}") for number in range(6)))
    assert (live.log_correction(here, 6.0).any(axis=1) == [False, False, False, True, True, True]).all()


def wrote(length: float, organizations: int, task: str = "math", calls: int = 50, live: Live | None = None) -> Live:
    """So many calls of each of these organizations, whose answers were so many times as long as was guessed."""
    live = live or Live()
    for number in range(organizations):
        for _ in range(calls):
            live.wrote(("a/a", task), f"organization {number}", length, 0.0)
    return live


def factor(live: Live, task: str = "math") -> float:
    """By which the length is corrected."""
    return math.exp(float(live.log_correction(market(Row("a/a")), 0.0)[0, TASKS.index(task)]))


def test_a_length_is_pulled_towards_the_model_and_that_towards_the_guess() -> None:
    here = market(Row("a/a"), Row("b/b"))
    live = wrote(2.0, 8)
    live.wrote(("gone/away", "math"), "alice", 10.0, 0.0)
    live.wrote(("a/a", "no-such-task"), "alice", 10.0, 0.0)
    correction = live.log_correction(here, 0.0)
    math_task, writing = TASKS.index("math"), TASKS.index("writing")
    assert 0 < correction[0, writing] < correction[0, math_task] < math.log(2)
    assert correction[0, math_task] > 0.9 * math.log(2)
    assert not correction[1].any()
    assert (live.log_correction(here, 5 * LENGTH_HALF_LIFE_S)[0] < correction[0]).all()


def test_a_length_is_corrected_by_a_factor_of_ten_at_most() -> None:
    live = wrote(1e9, 8)
    assert 7 < factor(live) <= 10
    assert 1 / 10 <= factor(wrote(0.0, 8)) < 1 / 7


@pytest.mark.parametrize("organizations", [1, 4])
@pytest.mark.parametrize("calls", [12, 1_000])
def test_few_organizations_move_a_length_by_half_at_most(organizations: int, calls: int) -> None:
    live = wrote(1e6, organizations, calls=calls)
    wrote(1e-6, organizations, "writing", calls, live)
    assert 1 < factor(live) <= 1.5 + 1e-9
    assert 1 / 1.5 - 1e-9 <= factor(live, "writing") < 1


def test_a_length_goes_as_far_as_five_organizations_go() -> None:
    live = wrote(2.0, 5)
    for _ in range(1_000):
        live.wrote(CELL, "mallory", 1e6, 0.0)
    assert 1.5 < factor(live) <= 2 + 1e-9
    assert 1 / 2 - 1e-9 <= factor(wrote(0.5, 5)) < 1 / 1.5


def test_an_organization_weighs_no_more_for_calling_more() -> None:
    few, many = wrote(1.3, 1, calls=8), wrote(1.3, 1, calls=500)
    assert factor(few) == pytest.approx(factor(many))
    parts = [wrote(1.3, 1).dumps() for _ in range(6)]
    assert factor(Live.merged(parts)) == pytest.approx(factor(many))


def test_a_latency_is_the_first_content_and_then_the_tokens_one_after_the_other() -> None:
    here = market(Row("a/a"), Row("b/b", tokens_per_s=80))
    view, tasks = LiveView(here, seen([4.0] * 20), 0.0), reading().tasks
    tokens = view.lengths.expected(None, 50) @ tasks
    expected = view.outlook(Needs(10, max_output_tokens=50)).expect(tasks, 10, None)
    assert expected.latencies.tolist() == [
        pytest.approx(100 * (view.first_content_s[0] + tokens[0] / view.tokens_per_s[0]), abs=1),
        pytest.approx(100 * (GUESSES.latency.first_content_s + tokens[1] / 80), abs=1),
    ]


def test_what_requests_may_expect_is_made_once_and_bounded() -> None:
    view = LiveView(market(Row("a/a")))
    assert view.outlook(Needs(1, 5)) is view.outlook(Needs(2, 5, effort="medium"))
    for limit in range(1, 300):
        view.outlook(Needs(1, limit))
    assert len(view._outlooks) <= 64


def test_a_view_has_what_was_measured_else_what_the_offer_says_else_a_guess() -> None:
    here = market(Row("a/a"), Row("b/b", tokens_per_s=80), Row("c/c"))
    view = LiveView(here, seen([4.0] * 20), 0.0)
    assert view.first_content_s.tolist() == [
        pytest.approx(4.0, rel=0.2),
        GUESSES.latency.first_content_s,
        GUESSES.latency.first_content_s,
    ]
    assert view.tokens_per_s.tolist() == [pytest.approx(4.0, rel=0.2), 80, GUESSES.latency.tokens_per_s]
    assert LiveView(here).first_content_s.tolist() == [1.0] * 3
