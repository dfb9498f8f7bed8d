"""Outcome files: one prompt a line, with what every model scored and cost on it.

Labels (`dataset`, `subject`, `task`) are for the fit and for methods that say that they read them. What a router may
see of a test row is the prompt, the number of tools and the size of the request (`in_tok`, known before any call).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from routing.selection.features import HASH_BITS, Question, figures_of, question_of, table_rows, words_of

COLUMNS = frozenset({"prompt", "score", "cost", "in_tok", "dataset", "subject", "task"})


@dataclass(frozen=True)
class Outcomes:
    """One file as arrays; n prompts, M models.

    `score` and `cost` (US dollars) are [n, M]; `rows` is the sparse [n, 2**15] matrix of words and pairs; `figures` is
    [n, figures].
    """

    name: str
    models: list[str]
    questions: list[Question]
    prompts: list[str]
    score: np.ndarray
    cost: np.ndarray
    dataset: np.ndarray
    subject: np.ndarray
    task: np.ndarray
    rows: sp.csr_matrix
    figures: np.ndarray

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def has_tools(self) -> np.ndarray:
        """Whether each request came with tools."""
        return np.array([question.tools > 0 for question in self.questions])

    def take(self, index: np.ndarray) -> "Outcomes":
        """These rows alone, in this order."""
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        return Outcomes(
            name=self.name,
            models=self.models,
            questions=[self.questions[i] for i in index],
            prompts=[self.prompts[i] for i in index],
            score=self.score[index],
            cost=self.cost[index],
            dataset=self.dataset[index],
            subject=self.subject[index],
            task=self.task[index],
            rows=self.rows[index],
            figures=self.figures[index],
        )

    def for_models(self, models: list[str]) -> "Outcomes":
        """The same rows with the models in this order. Raises `ValueError` where one is missing."""
        columns = [self.models.index(model) for model in models]
        fields = {**self.__dict__, "models": models, "score": self.score[:, columns], "cost": self.cost[:, columns]}
        return Outcomes(**fields)


def load_folder(folder: Path) -> dict[str, Outcomes]:
    """Every outcome file of a folder by its stem; files of another shape are passed over."""
    sets = {path.stem: load_file(path) for path in sorted(folder.glob("*.jsonl"))}
    return {name: outcomes for name, outcomes in sets.items() if outcomes is not None}


def load_file(path: Path) -> Outcomes | None:
    """One file, or None where it is no outcome file."""
    rows = _rows(path)
    if not rows:
        return None
    models = sorted(rows[0]["score"])
    questions = [_question(row) for row in rows]
    matrix, figures = describe(questions)
    return Outcomes(
        name=path.stem,
        models=models,
        questions=questions,
        prompts=[row["prompt"] for row in rows],
        score=np.array([[row["score"][model] for model in models] for row in rows], float),
        cost=np.array([[row["cost"][model] for model in models] for row in rows], float),
        dataset=np.array([row["dataset"] for row in rows]),
        subject=np.array([row["subject"] for row in rows]),
        task=np.array([row["task"] for row in rows]),
        rows=matrix,
        figures=figures,
    )


def describe(questions: list[Question]) -> tuple[sp.csr_matrix, np.ndarray]:
    """Table rows [n, 2**15], sparse and binary, and readable figures [n, figures] of questions."""
    found: list[np.ndarray] = []
    figures: list[tuple[float, ...]] = []
    for question in questions:
        words = words_of(question.text)
        found.append(table_rows(words.hashes))
        figures.append(figures_of(question, words))
    starts = np.cumsum([0, *map(len, found)])
    cells = np.concatenate(found)
    shape = (len(questions), 1 << HASH_BITS)
    return sp.csr_matrix((np.ones(len(cells)), cells, starts), shape=shape), np.array(figures, float)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; none where it has another shape or its lines disagree on the models."""
    try:
        with path.open() as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
    except ValueError:
        return []
    if not all(type(row) is dict and row.keys() >= COLUMNS and type(row["score"]) is dict for row in rows):
        return []
    models = rows[0]["score"].keys() if rows else set()
    return rows if all(row["score"].keys() == models and row["cost"].keys() >= models for row in rows) else []


def _question(row: dict[str, Any]) -> Question:
    tools = row.get("n_tools", 0)
    tokens = row["in_tok"]
    # The files leave the tools' text out and count it: what is beyond the prompt's own tokens is their schema.
    counted = float(np.median(list(tokens.values()) if type(tokens) is dict else tokens))
    schema_tokens = max(counted - len(row["prompt"]) / 4, 0.0) if tools else 0.0
    return question_of(row["prompt"], tools=tools, schema_bytes=round(4 * schema_tokens))
