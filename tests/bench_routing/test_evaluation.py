"""`python -m bench.routing`: what it prints, and what it looks at."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.routing import __main__ as command
from bench.routing.report import METHODS
from tests.bench_routing import made_up

pytestmark = pytest.mark.slow


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["bench.routing", *map(str, arguments)])
    code = command.main()
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Path, test_folder: Path
) -> dict[str, Any]:
    arguments = ("--train", train, "--test", test_folder, "--json", "--without", "minilm_knn", "--no-leave-one-out")
    code, out, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0
    return json.loads(out)


def test_the_report_has_every_file_and_method(report: dict[str, Any]) -> None:
    assert set(report["sets"]) == {"chat", "calls"}
    for found in report["sets"].values():
        assert set(found["aiq"]) == set(found["cost_for_equal"]) == set(METHODS) - {"minilm_knn"}
        assert found["us_p99"] >= found["us_p50"] > 0
        assert set(found["promises"]) == {"frugal", "balanced", "premium"}
        for kept in found["promises"].values():
            low, high = kept["interval"]
            assert low <= kept["quality"] <= high
            assert kept["kept"] == (kept["quality"] >= kept["promise"])
        assert all(0 <= share <= 1 for share in found["unchanged_choices"].values())
        assert 0 <= found["calibration_error"] < 0.3


def test_ours_finds_what_there_is_to_find(report: dict[str, Any]) -> None:
    chat = report["sets"]["chat"]
    aiq = chat["aiq"]
    assert aiq["ours"] > aiq["random_mixing"] + 0.05
    assert aiq["oracle"] > aiq["ours"] > aiq["always_cheapest"]
    assert aiq["ours"] > chat["label_table"]["aiq"] - 0.03
    assert chat["cost_for_equal"]["ours"] < 0.7
    assert chat["cost_for_equal"]["always_best"] == pytest.approx(1)
    assert chat["cost_for_equal"]["always_cheapest"] is None
    assert 0 < chat["oracle_gap_share"] < 1


def test_labels_of_test_rows_change_nothing_for_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Path, tmp_path: Path
) -> None:
    plain = {"chat": made_up.rows(2), "calls": made_up.tool_rows(2)}
    chance = random.Random(0)
    shuffled = {}
    for name, rows in plain.items():
        columns = ("dataset", "subject", "task")
        mixed = {column: chance.sample([row[column] for row in rows], len(rows)) for column in columns}
        scenarios = {"scenario": [str(chance.random()) for _ in rows]}
        shuffled[name] = [
            {**row, **{key: values[i] for key, values in {**mixed, **scenarios}.items()}} for i, row in enumerate(rows)
        ]
    found = []
    for name, files in (("plain", plain), ("shuffled", shuffled)):
        folder = made_up.write(tmp_path / name, files)
        arguments = ("--train", train, "--test", folder, "--json", "--without", "minilm_knn", "--no-leave-one-out")
        _, out, _ = run(monkeypatch, capsys, *arguments)
        sets = json.loads(out)["sets"]
        found.append(
            {
                stem: {
                    "aiq": of["aiq"]["ours"],
                    "equal": of["cost_for_equal"]["ours"],
                    **{key: of[key] for key in ("promises", "calibration_error", "unchanged_choices", "log_loss")},
                }
                for stem, of in sets.items()
            }
        )
        tables = [of["label_table"]["aiq"] for of in sets.values()]
        found[-1]["tables"] = tables
    assert found[0].pop("tables") != found[1].pop("tables")  # who reads labels does notice
    assert found[0] == found[1]


def test_one_folder_is_split(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Path) -> None:
    code, out, _ = run(monkeypatch, capsys, "--train", train, "--without", "minilm_knn")
    assert code == 0
    assert "split: 70% of each file" in out
    assert "chat: 55 rows" in out
    assert "chat, leaving out each of 3 data sets" in out
    assert "calls, leaving out each of 2 data sets or subjects: 80 rows" in out
    _, same, _ = run(
        monkeypatch, capsys, "--train", train, "--test", train, "--without", "minilm_knn", "--no-leave-one-out"
    )
    assert "split: 70% of each file" in same


def test_a_file_that_was_not_fitted_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train: Path, tmp_path: Path
) -> None:
    folder = made_up.write(tmp_path, {"strange": made_up.rows(3)})
    code, out, err = run(monkeypatch, capsys, "--train", train, "--test", folder, "--without", "minilm_knn")
    assert (code, out) == (2, "")
    assert "strange" in err


def test_models_in_another_order_are_the_same_models(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    train: Path,
    report: dict[str, Any],
    tmp_path: Path,
) -> None:
    rows = made_up.rows(2)
    for row in rows:
        row["score"] = {"zebra": 1.0, **dict(reversed(row["score"].items()))}
        row["cost"] = {"zebra": 9.0, **row["cost"]}
    folder = made_up.write(tmp_path, {"chat": rows})
    arguments = ("--train", train, "--test", folder, "--json", "--without", "minilm_knn", "--no-leave-one-out")
    _, out, _ = run(monkeypatch, capsys, *arguments)
    assert json.loads(out)["sets"]["chat"]["aiq"] == report["sets"]["chat"]["aiq"]
