"""`python -m bench.routing --train DIR [--test DIR] [--json]`: fits on the first folder's files, scores on the
second's.

Without --test, or where both folders are the same, a seeded 70/30 split of the first is used, and the report says so.
Files of another shape are passed over. Labels of test rows are read by the methods that say so (`per_task`,
`label_table`, `oracle`), never by `ours`. Every method chooses by the same predicted cost.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.routing.fit import fit
from bench.routing.leave_out import leave_one_out
from bench.routing.minilm import MiniLM
from bench.routing.outcomes import Outcomes, load_folder
from bench.routing.report import METHODS, Setup, judge
from bench.routing.table import render

TRAIN_SHARE = 0.7


def evaluate(train: Path, test: Path | None, setup: Setup, leave_out: bool = True) -> dict[str, Any]:
    """The whole report. Raises `ValueError` where the folders have no file in common."""
    sets = load_folder(train)
    is_split = test is None or test.resolve() == train.resolve()
    if is_split:
        fitted, tested = split(sets, setup.seed)
    else:
        assert test is not None
        fitted, tested = sets, matching(sets, load_folder(test))
    if not tested:
        raise ValueError(f"no outcome file of {train} is in {test}")
    router = fit(fitted)
    report: dict[str, Any] = {
        "split": f"{TRAIN_SHARE:.0%} of each file of {train}, seed {setup.seed}" if is_split else f"{train}, {test}",
        "sets": {name: judge(router, fitted[name], outcomes, setup) for name, outcomes in tested.items()},
    }
    if leave_out:
        report["leave_one_out"] = leave_one_out(sets, setup)
    return report


def split(sets: dict[str, Outcomes], seed: int) -> tuple[dict[str, Outcomes], dict[str, Outcomes]]:
    """Training and test rows of every file."""
    orders = {name: np.random.default_rng(seed).permutation(len(outcomes)) for name, outcomes in sets.items()}
    cuts = {name: int(len(outcomes) * TRAIN_SHARE) for name, outcomes in sets.items()}
    first = {name: outcomes.take(orders[name][: cuts[name]]) for name, outcomes in sets.items()}
    return first, {name: outcomes.take(orders[name][cuts[name] :]) for name, outcomes in sets.items()}


def matching(train: dict[str, Outcomes], test: dict[str, Outcomes]) -> dict[str, Outcomes]:
    """Test files with a training file of the same stem and models, their models in its order."""
    found = {}
    for name, outcomes in test.items():
        if name in train and set(train[name].models) <= set(outcomes.models):
            found[name] = outcomes.for_models(train[name].models)
        else:
            print(f"passed over: {name} has no training file with its name and models", file=sys.stderr)
    return found


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--json", action="store_true", help="the report as one JSON object, nothing else on stdout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=[], choices=METHODS, help="methods to leave out")
    parser.add_argument("--no-leave-one-out", dest="leave_out", action="store_false")
    chosen = parser.parse_args()
    without = frozenset(chosen.without)
    minilm = None if "minilm_knn" in without else MiniLM()
    started = time.monotonic()
    try:
        with threadpool_limits(1):  # times are those of one core, and sums are the same every time
            report = evaluate(chosen.train, chosen.test, Setup(without, minilm, chosen.seed), chosen.leave_out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    report["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(report, indent=1) if chosen.json else render(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
