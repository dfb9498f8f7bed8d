"""`python -m bench.routing.tasks FILE`: measures the task classification on labelled prompts; nothing is fitted on
them.

Macro-F1 without a hint, with the exact task as hint, with the coarse published values as hints, and with one exact hint
in five wrong; then the confusion table without a hint, rows the labels, in Markdown.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from routing.selection.features import question_of, words_of
from routing.selection.tasks import RELATED, task_posterior
from routing.selection.words import TASKS

WRONG_SHARE = 0.2
COARSE = {task: hint for hint, tasks in RELATED.items() for task in (hint, *tasks)} | {
    "code-generation": "code-generation",
    "vision": "vision",
}

type Hint = Callable[[str], str | None]


def classify(prompts: list[str], labels: list[str], hint: Hint | None = None) -> list[str]:
    """The likeliest task of every prompt; `hint` is given the true label."""
    found = []
    for prompt, label in zip(prompts, labels, strict=True):
        question = question_of(prompt, hint=hint(label) if hint else None)
        shares = task_posterior(question, words_of(question.text))
        found.append(TASKS[shares.index(max(shares))])
    return found


def macro_f1(labels: list[str], found: list[str]) -> float:
    """Over the tasks that occur among the labels."""
    return float(f1_score(labels, found, labels=sorted(set(labels)), average="macro"))


def confusion(labels: list[str], found: list[str]) -> str:
    """Markdown: a row a label, with its F1."""
    tasks = [task for task in TASKS if task in {*labels, *found}]
    counts = confusion_matrix(labels, found, labels=tasks)
    each = f1_score(labels, found, labels=tasks, average=None, zero_division=0)
    rows = [f"| label, found as | {' | '.join(tasks)} | F1 |", "|---" * (len(tasks) + 2) + "|"]
    for task, row, f1 in zip(tasks, counts, each, strict=True):
        if row.sum():
            rows.append(f"| {task} | {' | '.join(map(str, row))} | {f1:.2f} |")
    return "\n".join(rows)


def main() -> int:
    """Print the measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing.tasks", description=__doc__)
    parser.add_argument("file", type=Path, help="JSON lines with `prompt` and `task`")
    rows = [json.loads(line) for line in parser.parse_args().file.read_text().split("\n") if line]
    prompts, labels = [row["prompt"] for row in rows], [row["task"] for row in rows]
    chance = random.Random(0)
    hints: dict[str, Hint | None] = {
        "no hint": None,
        "the exact task as hint": lambda label: label,
        "the exact task, one in five wrong": lambda label: (
            chance.choice(TASKS) if chance.random() < WRONG_SHARE else label
        ),
        "one of the four published hints": COARSE.get,
    }
    for name, hint in hints.items():
        found = classify(prompts, labels, hint)
        accuracy = np.mean([a == b for a, b in zip(labels, found, strict=True)])
        print(f"{name}: macro-F1 {macro_f1(labels, found):.3f}, accuracy {accuracy:.3f}")
    print(confusion(labels, classify(prompts, labels)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
