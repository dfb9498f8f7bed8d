"""How much a model writes, measured and not."""

from dataclasses import replace
from math import log

import pytest

from advisor.evidence import Output
from advisor.lengths import HABIT_ERROR, UNKNOWN_ERROR, Lengths
from routing.selection.guesses import median_tokens
from tests.advisor.made_up import candidate, landscape

ONE, TWO = candidate("one/a", 1.0), candidate("two/b", 1.0)


def market(outputs, models=(ONE, TWO)):
    return replace(landscape(models), outputs={key: Output(mean, 0.02, 500) for key, mean in outputs.items()})


def test_what_is_measured_is_taken():
    found = Lengths.of(market({("one/a", "math"): 6.0, ("two/b", "math"): 7.0})).ratio("one/a", "two/b", "math", 0.1)
    assert found.mean == pytest.approx(1.0, abs=0.02)
    assert found.error == pytest.approx(0.104, abs=0.002)
    same = Lengths.of(market({})).ratio("one/a", "one/a", "math", 0.1)
    assert (same.mean, same.error) == (0.0, 0.0)


def test_a_habit_holds_for_task_types_that_nobody_tried():
    outputs = {("one/a", task): 5.0 for task in ("math", "writing", "other")}
    outputs |= {("two/b", task): 6.0 for task in ("math", "writing")}
    found = Lengths.of(market(outputs)).ratio("one/a", "two/b", "other", 0.0)
    assert 0.5 < found.mean < 1.0
    assert HABIT_ERROR < found.error < UNKNOWN_ERROR


def test_without_any_measure_thinking_is_what_tells():
    thinks = replace(TWO, is_reasoning=True)
    found = Lengths.of(market({}, [ONE, thinks])).ratio("one/a", "two/b", "math", 0.0)
    guessed = median_tokens("math", None, thinks=True) / median_tokens("math", None, thinks=False)
    assert found.mean == pytest.approx(log(guessed))
    assert found.error == pytest.approx(2**0.5 * UNKNOWN_ERROR)
