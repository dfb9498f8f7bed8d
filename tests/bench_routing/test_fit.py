"""The fit, what is packed of it, and that the code of the gateway reads it alike."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.routing import ship
from bench.routing.fit import Recipe, Router, fit, kinds_of
from bench.routing.outcomes import Outcomes, load_folder
from bench.routing.pack import pack
from bench.routing.speed import chooser
from routing.selection.weights import Weights, version_of
from routing.selection.words import TASKS
from tests.bench_routing import made_up

pytestmark = pytest.mark.slow


def test_predictions_are_of_the_right_size(router: Router, sets: dict[str, Outcomes]) -> None:
    prediction = router.predict(sets["chat"])
    assert prediction.quality.shape == prediction.cost.shape == (180, 3)
    assert ((prediction.quality > 0) & (prediction.quality < 1)).all()
    assert (prediction.error > 0).all()
    assert prediction.cost.mean(0) == pytest.approx(sets["chat"].cost.mean(0), rel=0.1)


def test_the_same_rows_make_the_same_fit(router: Router, sets: dict[str, Outcomes]) -> None:
    again = fit(sets)
    assert version_of(pack(router, {}, {})) == version_of(pack(again, {}, {}))
    other = fit(sets, Recipe(seed=1))
    assert version_of(pack(router, {}, {})) != version_of(pack(other, {}, {}))


def test_the_gateway_reads_a_question_as_the_fit_describes_it(router: Router, sets: dict[str, Outcomes]) -> None:
    weights = Weights.of(pack(router, {}, {}))
    for name, regime in (("chat", "plain"), ("calls", "tools")):
        outcomes, described = sets[name].take(np.arange(30)), router.regimes[regime]
        wanted = described.describe(outcomes.rows, outcomes.figures)
        shared = wanted @ described.shared
        for question, row, level in zip(outcomes.questions, wanted, shared, strict=True):
            reading = weights.read(question)
            assert reading.regime == regime
            assert reading.known[len(TASKS) :] == pytest.approx(row, abs=0.06)  # axes in 8 bits
            assert reading.difficulty == pytest.approx(described.shared_mean - level, abs=0.06)


def test_one_choice_at_a_time_is_the_choice_of_the_batch(router: Router, sets: dict[str, Outcomes]) -> None:
    from bench.routing.promises import choose

    for name, outcomes in sets.items():
        batch = choose(router.predict(outcomes), "balanced")
        single = [chooser(router, name)(question) for question in outcomes.questions]
        assert np.mean(batch == single) > 0.95


def test_own_effects_of_known_models_are_packed(router: Router) -> None:
    arrays = pack(router, {"large": "maker/large"}, {"plain": 0.5})
    assert arrays["plain/models"].tolist() == ["maker/large"]
    assert arrays["plain/own"].shape == (len(router.regimes["plain"].shared), 1)
    assert float(arrays["plain/trust"]) == 0.5
    assert float(arrays["tools/trust"]) == 1.0


def test_a_data_set_with_one_subject_goes_by_its_own_name(sets: dict[str, Outcomes]) -> None:
    assert set(kinds_of(sets["chat"])) == {"sums", "poems", "law"}
    assert set(kinds_of(sets["calls"])) == {"calls:one", "calls:many"}
    few = sets["calls"].take(np.flatnonzero(sets["calls"].subject == "one")[:5])
    both = sets["calls"].take(np.r_[np.flatnonzero(sets["calls"].subject == "many"), 0])
    assert set(kinds_of(few)) == {"calls"}
    assert "calls:many" in set(kinds_of(both))


def test_too_few_rows_are_refused(sets: dict[str, Outcomes]) -> None:
    with pytest.raises(ValueError, match="30 rows"):
        fit({"chat": sets["chat"].take(np.arange(20))})


def test_a_file_of_one_regime_predicts_requests_of_the_other(sets: dict[str, Outcomes]) -> None:
    alone = fit({"chat": sets["chat"]})
    calls = sets["calls"]
    renamed = Outcomes(**{**calls.__dict__, "name": "chat"})
    assert np.isfinite(alone.predict(renamed).logit).all()


def test_files_of_other_shapes_are_passed_over(train: Path) -> None:
    assert set(load_folder(train)) == {"chat", "calls"}


def test_rows_that_disagree_on_models_are_no_outcome_file(tmp_path: Path) -> None:
    rows = made_up.rows(1, each=2)
    rows[1]["score"] = {"other": 1.0}
    assert load_folder(made_up.write(tmp_path, {"chat": rows})) == {}


def test_ship_writes_what_it_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Path, test_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "weights.npz"

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["ship", "--out", str(out), *map(str, arguments)])
        return ship.main()

    assert run("--from", train) == 0
    written = out.read_bytes()
    version = Weights.load(out).version
    assert version in capsys.readouterr().out
    assert run("--from", train, "--check") == 0
    assert run("--from", train) == 0
    assert out.read_bytes() == written
    assert run("--from", test_folder, "--check") == 1
    assert "differs by up to" in capsys.readouterr().out
    assert Weights.load(out).version == version
