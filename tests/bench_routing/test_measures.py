"""Task classification on labelled prompts, and the embeddings of the baseline that has some."""

import json
import sys
from pathlib import Path

import pytest

from bench.routing import baselines, speed, tasks
from bench.routing.minilm import MiniLM
from bench.routing.outcomes import Outcomes

LABELLED = {"Translate to German: good morning": "translation", "Write a poem": "writing", "zzz qqq": "math"}


def test_task_classification_is_measured_with_and_without_hints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "labelled.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": prompt, "task": task}) for prompt, task in LABELLED.items()))
    monkeypatch.setattr(sys, "argv", ["tasks", str(path)])
    assert tasks.main() == 0
    out = capsys.readouterr().out
    assert "no hint: macro-F1 0.667, accuracy 0.667" in out
    assert "the exact task as hint: macro-F1 1.000" in out
    assert "| writing | 1 |" in out


def test_embeddings_know_what_is_alike(sets: dict[str, Outcomes]) -> None:
    minilm = MiniLM()
    cat, kitten, law = minilm.embed(["A cat sleeps", "A kitten is asleep", "The court dismissed the appeal"])
    assert cat @ cat == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > cat @ law + 0.2
    assert (minilm.microseconds(["A cat sleeps"]) > 0).all()
    few = sets["chat"].take(range(24))
    found = baselines.predict_all(few, few, minilm)
    assert found["minilm_knn"].shape == (24, 3)
    assert "minilm_knn" not in baselines.predict_all(few, few, minilm, frozenset({"minilm_knn"}))


def test_the_time_of_a_reading_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main() == 0
    assert capsys.readouterr().out.count("60 models: P50 ") == 2
