"""The shipped weights: what they read in a question."""

from pathlib import Path

import numpy as np
import pytest

from routing.selection.features import FIGURES, question_of
from routing.selection.weights import WEIGHTS, Weights, version_of
from routing.selection.words import TASKS

EASY = "Tom buys 5 apples for $2 each and pays with a $20 bill. How much change does he get?"
HARD = (
    "Find the number of ordered pairs $(a,b)$ of positive integers with $\\operatorname{lcm}(a,b)=2^3 3^5 7^{11}$ such "
    "that $\\gcd(a,b)$ is a perfect square. Give the answer modulo 1000."
)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights.load()


def test_a_reading_has_the_shapes_it_promises(weights: Weights) -> None:
    reading = weights.read(question_of(HARD))
    regime = weights.regimes["plain"]
    assert reading.vector.shape == (len(FIGURES) + regime.table.shape[1],)
    assert reading.mix.shape == (len(regime.kinds),)
    assert reading.tasks.shape == (len(TASKS),)
    assert {array.dtype for array in (reading.vector, reading.mix, reading.tasks)} == {np.dtype(np.float32)}
    assert reading.mix.sum() == pytest.approx(1, abs=1e-5)
    assert reading.task == "math"


def test_a_competition_problem_is_harder_than_shopping(weights: Weights) -> None:
    assert weights.read(question_of(HARD)).difficulty > weights.read(question_of(EASY)).difficulty + 0.5


def test_difficulty_gives_its_three_strongest_reasons(weights: Weights) -> None:
    reasons = weights.read(question_of(HARD)).reasons
    assert len(reasons) == 3
    sizes = [abs(share) for _, share in reasons]
    assert sizes == sorted(sizes, reverse=True)
    names = {name for name, _ in weights.read(question_of("hello there")).reasons}
    assert not names & {"code", "formula", "answer_choices", "quotes"}  # what is not there is no reason


def test_requests_with_tools_are_read_as_such(weights: Weights) -> None:
    assert weights.read(question_of("Book a table", tools=2, schema_bytes=900)).regime == "tools"
    assert weights.read(question_of("Book a table")).regime == "plain"


def test_a_question_without_a_known_word_is_read_too(weights: Weights) -> None:
    for text in ("", "ξψζ", "\ud800"):
        reading = weights.read(question_of(text))
        assert np.isfinite(reading.vector).all()
        assert np.isfinite(reading.difficulty)


def test_the_same_question_is_read_the_same(weights: Weights) -> None:
    one, other = weights.read(question_of(HARD)), Weights.load().read(question_of(HARD))
    assert one.difficulty == other.difficulty
    assert (one.vector == other.vector).all()


def test_the_version_is_the_content() -> None:
    with np.load(WEIGHTS) as archive:
        arrays = {name: archive[name] for name in archive.files}
    assert Weights.of(arrays).version == Weights.load().version == version_of(arrays)
    arrays["plain/trust"] = arrays["plain/trust"] + np.float32(0.1)
    assert version_of(arrays) != Weights.load().version


def test_weights_of_one_regime_read_everything(weights: Weights) -> None:
    with np.load(WEIGHTS) as archive:
        arrays = {name: archive[name] for name in archive.files if name.startswith("plain/")}
    assert Weights.of(arrays).read(question_of("Book a table", tools=2)).regime == "plain"


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(OSError, match="nowhere"):
        Weights.load(Path("nowhere.npz"))
