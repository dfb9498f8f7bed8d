"""Models placed by public figures."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.routing import strengths
from bench.routing.ability import fit_abilities
from bench.routing.figures import collect
from routing.selection.market import ModelFacts
from routing.selection.quality import STRENGTHS, Strengths
from routing.selection.words import TASKS
from tests.bench_routing import made_up

ABILITIES = {"maker/top": 3.0, "maker/good": 2.0, "maker/fair": 1.0, "maker/poor": 0.0, "maker/bad": -1.0}


def figure(model: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    source = "arena.example"
    return {"model": model, "task": "coding", "metric": metric, "value": value, "unit": "percent", "source": source} | {
        "as_of": "2026-07",
        **more,
    }


def facts(folder: Path, figures: list[dict[str, Any]]) -> Path:
    """A folder of catalogue facts: the five models, and two without figures."""
    models = [
        {
            "id": model,
            "family": "line",
            "release_date": date,
            "pricing": {"input": price, "output": price},
            "supports": {"reasoning": True},
        }
        for model, date, price in [
            *((model, "2026-01-01", "0.000002") for model in ABILITIES),
            ("maker/unseen", "2026-06-01", "0.000002"),
            ("other/unseen-3b", "2026-06-01", "0.0000002"),
        ]
    ]
    models[-1]["family"] = "other"
    folder.mkdir()
    (folder / "models.json").write_text(json.dumps({"models": models}))
    (folder / "quality.json").write_text(json.dumps({"figures": figures}))
    return folder


@pytest.fixture
def priors(tmp_path: Path) -> Path:
    rows = [
        {
            "model_id": model,
            "pricing": {"input_per_1k": 0.002, "output_per_1k": 0.002},
            "benchmark_scores": {"Chatbot Arena Elo": 1250 + 100 * ability, "GPQA": 100 / (1 + np.exp(-ability))},
        }
        for model, ability in ABILITIES.items()
    ]
    path = tmp_path / "catalog_priors" / "models.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"models": rows}))
    return path


def test_ratings_set_the_scale_and_the_order(priors: Path, tmp_path: Path) -> None:
    abilities = fit_abilities(collect(facts(tmp_path / "facts", []), priors, []))
    general = dict(zip(abilities.models, abilities.mean[:, 0].tolist(), strict=True))
    found = [general[model] for model in ABILITIES]
    assert found == sorted(found, reverse=True)
    assert 1.5 < found[0] - found[-1] < 4  # drawn together, as two figures a model allow
    assert np.mean(found) == pytest.approx(1, abs=0.5)
    deviation = np.sqrt(abilities.covariance[:, 0, 0])
    at = abilities.models.index
    assert deviation[at("maker/unseen")] > 1.5 * deviation[at("maker/good")]


def test_figures_of_unknown_licence_are_not_looked_at(priors: Path, tmp_path: Path) -> None:
    lies = [
        figure(model, "coding rank", 100 * i, source="whatmodel.sh model page") for i, model in enumerate(ABILITIES)
    ]
    collected = collect(facts(tmp_path / "facts", lies), priors, [])
    assert not [f for f in collected.figures if "rank" in f.metric.name]


def test_a_makers_own_claim_weighs_less(priors: Path, tmp_path: Path) -> None:
    claims = [figure(model, "Bench", 50.0, self_reported=model == "maker/bad") for model in ABILITIES]
    collected = collect(facts(tmp_path / "facts", claims), priors, [])
    noise = {f.model: f.noise for f in collected.figures if f.metric.name == "bench"}
    assert noise["maker/bad"] > noise["maker/top"]


def test_metrics_that_few_models_have_are_left_out(priors: Path, tmp_path: Path) -> None:
    rare = [figure("maker/top", "Rare", 90.0), figure("maker/bad", "Rare", 10.0)]
    collected = collect(facts(tmp_path / "facts", rare), priors, [])
    assert not [f for f in collected.figures if f.metric.name == "rare"]


def test_the_command_writes_a_file_that_the_gateway_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], priors: Path, tmp_path: Path
) -> None:
    out = tmp_path / "strengths.json"
    outcomes = made_up.write(priors.parent.parent, {"chat": made_up.rows(1, each=10)})

    def run(*more: str) -> int:
        arguments = ["--facts", str(tmp_path / "facts"), "--outcomes", str(outcomes), "--out", str(out), *more]
        monkeypatch.setattr(sys, "argv", ["strengths", *arguments])
        return strengths.main()

    facts(tmp_path / "facts", [])
    assert run() == 0
    assert run("--check") == 0
    placed = Strengths.load(out)
    code = TASKS.index("code-generation")
    order = [placed.models[model].strength[code] for model in ABILITIES]
    assert order == sorted(order, reverse=True)
    assert placed.models["maker/unseen"].error[code] > placed.models["maker/top"].error[code]
    assert placed.place(ModelFacts("nobody/knows")).strength == placed.unknown.strength
    out.write_text("{}")
    assert run("--check") == 1
    assert "not what" in capsys.readouterr().out


def test_the_shipped_file_places_the_whole_scale() -> None:
    placed = Strengths.load(STRENGTHS)
    assert len(placed.models) > 150
    assert "whatmodel" not in STRENGTHS.read_text()
    values = np.array([place.strength for place in placed.models.values()])
    errors = np.array([place.error for place in placed.models.values()])
    assert np.isfinite(values).all()
    assert (errors > 0.2).all()
    assert (errors < 1.2).all()
