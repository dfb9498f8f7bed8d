"""What organizations tell each other of a newer model: enough to find what is bad, too little to steer anybody."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pytest

from advisor.canary import STEPS, Arm, Pair, Stage, Verdict, judge
from advisor.rules import Rules
from advisor.trial_pooling import Pool

RULES = Rules()
FIRST, SECOND = STEPS[:2]
ALICE, OTHERS = 1, (2, 3, 4, 5)
NONE_WORSE = [Pair(FIRST, Arm(calls=95), Arm(calls=5))]
MADE_UP = [Pair(FIRST, Arm(calls=57), Arm(calls=3, cut=3))]  # who leaves where the older model answers
WORSE = [Pair(FIRST, Arm(calls=950, failed=9), Arm(calls=50, failed=10))]
FAR_WORSE = [Pair(FIRST, Arm(calls=95_000), Arm(calls=5_000, failed=5_000, cut=5_000, disliked=5_000))]
GOOD = [Pair(FIRST, Arm(calls=190_000, failed=9_000), Arm(calls=10_000))]


def look(
    shown: Mapping[int, Sequence[Pair]], paying: Collection[int] = (ALICE, *OTHERS), hours: float = 1.0
) -> Verdict:
    """At Alice's trial."""
    own = shown.get(ALICE, [])
    pool = Pool(shown, paying, RULES)
    stage = Stage(FIRST, sum(pair.new.calls for pair in own), hours, pool.calls_without(ALICE, FIRST))
    return judge(own, stage, RULES, pool.evidence_without(ALICE))


def of(*pairs: Sequence[Pair], alice: Sequence[Pair] = NONE_WORSE) -> dict[int, Sequence[Pair]]:
    return {ALICE: alice, **dict(zip(OTHERS, pairs, strict=False))}


@pytest.mark.parametrize("others", [[MADE_UP], [FAR_WORSE], [MADE_UP, MADE_UP], [FAR_WORSE, FAR_WORSE]])
def test_one_or_two_others_end_nobodys_trial(others: list[Sequence[Pair]]):
    assert judge(others[0], Stage(FIRST, 3, 1.0), RULES).step == "worse"
    assert look(of(*others)).step == "go_on"
    assert not Pool(of(*others), (ALICE, *OTHERS), RULES).worse_in()


def test_three_that_pay_end_everybodys_and_nothing_of_theirs_is_told():
    shown = of(WORSE, WORSE, WORSE)
    assert look(shown) == Verdict(
        "worse", "the newer model was found worse here of late: it fails more often", signal="failed"
    )
    assert Pool(shown, OTHERS, RULES).worse_in() == "failed"


def test_who_never_paid_is_not_heard_by_others():
    shown = of(WORSE, WORSE, WORSE, WORSE)
    assert look(shown, paying=(ALICE, 2, 3)).step == "go_on"
    assert not Pool(shown, (2, 3), RULES).worse_in()


def test_what_others_show_makes_up_for_nothing_that_the_own_calls_show():
    shown = of(GOOD, GOOD, GOOD, alice=[Pair(FIRST, Arm(calls=380, failed=3), Arm(calls=20, failed=4))])
    verdict = look(shown, hours=100)
    assert (verdict.step, "20.0% (4 of 20)" in verdict.reason) == ("worse", True)
    assert not Pool(shown, (ALICE, *OTHERS), RULES).worse_in()


def test_what_one_has_nearly_shown_others_confirm_without_figures():
    nearly = [Pair(FIRST, Arm(calls=380, failed=3), Arm(calls=20, failed=3))]
    assert look(of(alice=nearly)).step == "go_on"
    verdict = look(of(WORSE, WORSE, alice=nearly))
    assert (verdict.step, any(map(str.isdigit, verdict.reason))) == ("worse", False)


def test_the_calls_of_one_stranger_fill_nobodys_least_number():
    busy = [Pair(FIRST, Arm(calls=190_000), Arm(calls=10_000))]
    assert look(of(busy), hours=6).step == "go_on"
    assert look(of(busy, busy), hours=6).step == "next_step"
    assert look(of(busy, busy), paying=(ALICE, 2), hours=6).step == "go_on"
    assert Pool(of(busy, busy, busy), OTHERS, RULES).calls_without(ALICE, FIRST) == 400
    assert Pool(of(busy, busy, busy), OTHERS, RULES).calls_without(ALICE, SECOND) == 0


def test_where_nobody_else_tries_it_the_own_calls_decide_as_ever():
    for own in (WORSE, NONE_WORSE, GOOD):
        stage = Stage(FIRST, own[0].new.calls, 1.0)
        assert look({ALICE: own}) == judge(own, stage, RULES)


def test_a_reason_to_go_on_tells_the_own_calls_alone():
    busy = [Pair(FIRST, Arm(calls=190_000), Arm(calls=10_000))]
    assert look(of(busy, busy), hours=5).reason == "5 of 200 calls, 5 of 6 hours"
    assert look(of(busy, busy), hours=6).reason == "nothing speaks against it after 6 hours and 5 calls"


def trials(rng: np.random.Generator, natures: tuple[float, float], count: int, looks: int) -> int | None:
    """At which look the first of so many organizations' trials ended; each had one call of the newer model a look."""
    old_rate, new_rate = natures
    arms = np.zeros((4, count), dtype=int)  # calls and failures of the older model, then of the newer one
    for number in range(looks):
        calls = rng.poisson(20, count)
        of_new = rng.binomial(calls, FIRST / 10_000)
        of_old = calls - of_new
        arms += [of_old, rng.binomial(of_old, old_rate), of_new, rng.binomial(of_new, new_rate)]
        shown = {key: [Pair(FIRST, Arm(*arms[:2, key]), Arm(*arms[2:, key]))] for key in range(count)}
        pool = Pool(shown, range(count), RULES)
        if judge(shown[0], Stage(FIRST, 0, 0.0), RULES, pool.evidence_without(0)).step == "worse":
            return number
    return None


def test_many_small_trials_find_together_what_none_shows_alone():
    rng = np.random.default_rng(3)
    found = [trials(rng, (0.02, 0.12), count=30, looks=30) for _ in range(10)]
    assert None not in found
    assert np.median([each or 0 for each in found]) <= 10  # some ten calls of the newer model each


def test_many_trials_of_an_equal_model_are_rarely_ended_however_often_one_looks():
    rng = np.random.default_rng(4)
    assert sum(trials(rng, (0.03, 0.03), count=10, looks=25) is not None for _ in range(20)) <= 1
