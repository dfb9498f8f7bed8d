"""What everybody's votes do to the strengths of models."""

from dataclasses import replace

from advisor.feedback import LEAST_ORGANIZATIONS, Voted, with_votes
from advisor.statistics import sigmoid
from tests.advisor.made_up import TASK, candidate

ONE, TWO = candidate("one/a", 1.0, error=0.4), candidate("two/b", 1.0, error=0.4)
MODELS = {model.id: model for model in (ONE, TWO)}
EXPECTED = sigmoid(2.5)


def votes(model: str, organizations: int, rate: float, each: float = 200.0, first: int = 0) -> list[Voted]:
    return [Voted(first + i, model, TASK, each, each * rate, 0.0) for i in range(organizations)]


def test_a_model_that_disappoints_everyone_is_moved_down_and_known_better():
    found = with_votes(MODELS, votes("one/a", 30, 0.7) + votes("two/b", 30, EXPECTED))
    assert found["one/a"].strength[TASK] < found["two/b"].strength[TASK] - 0.5
    assert found["one/a"].error[TASK] < ONE.error[TASK]
    assert found["one/a"].strength["math"] < ONE.strength["math"]  # half of what is wrong is so for all task types


def test_stern_voters_move_nothing_as_they_are_stern_to_all():
    found = with_votes(MODELS, votes("one/a", 30, 0.8) + votes("two/b", 30, 0.8))
    assert abs(found["one/a"].strength[TASK] - 2.5) < 1e-9


def test_a_few_organizations_move_nothing_and_one_of_them_little():
    few = with_votes(MODELS, votes("one/a", LEAST_ORGANIZATIONS - 1, 0.1) + votes("two/b", 30, EXPECTED))
    assert few["one/a"] == ONE
    content = votes("one/a", LEAST_ORGANIZATIONS, EXPECTED) + votes("two/b", 30, EXPECTED)
    before = with_votes(MODELS, content)["one/a"].strength[TASK]
    after = with_votes(MODELS, content + votes("one/a", 1, 0.0, each=1e6, first=99))["one/a"].strength[TASK]
    assert before - 0.1 < after < before


def test_nothing_is_made_of_nothing():
    unknown = [Voted(1, "three/c", TASK, 5.0, 1.0, 0.0), Voted(1, "one/a", "juggling", 5.0, 1.0, 0.0)]
    assert with_votes(MODELS, [*unknown, replace(unknown[1], task=TASK, votes=0.0)]) == MODELS
    assert with_votes(MODELS, []) == MODELS


def test_the_order_of_votes_is_nothing():
    voted = votes("one/a", 12, 0.8) + votes("two/b", 9, 0.95)
    assert with_votes(MODELS, voted) == with_votes(MODELS, voted[::-1])
