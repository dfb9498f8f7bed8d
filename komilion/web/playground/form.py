"""What the form of the playground offers, and what a link fills into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from routing.playground.content import MOST_MODELS, SharedRun
from routing.queries import CatalogRows, catalog_rows
from routing.selection.words import TASKS, VIRTUAL_MODELS, task_named

LEAST_MODELS = 2
PROMPT_CHARACTERS = 20_000  # of a link
MODEL_CHARACTERS = 200
IMAGES_LIMIT_BYTES = 2 * 2**20  # of the pictures of one prompt, as they are sent
MOST_IMAGES = 8
EFFORTS = ("none", "minimal", "low", "medium", "high")
FIRST_MODELS = ("neo-mode/frugal", "neo-mode/balanced")
POLICIES = "Policies"
SCRIPTS = tuple(
    f"web/playground/{name}.js"
    for name in ("dom", "markdown", "words", "session", "receipt", "advice", "column", "fields", "playground")
)  # in the order in which they need each other


@dataclass(frozen=True, slots=True)
class Group:
    """Models of one vendor, or the policies."""

    name: str
    models: list[str]


def groups(catalog: CatalogRows, wanted: list[str]) -> list[Group]:
    """What there is to choose from; a model that a link names and nobody knows stands in a group of its own."""
    rows = sorted(catalog.models.values(), key=lambda row: row.id)
    found = [Group(POLICIES, list(VIRTUAL_MODELS))]
    found += [Group(vendor, [row.id for row in of_it]) for vendor, of_it in groupby(rows, key=lambda row: row.vendor)]
    known = {name for group in found for name in group.models}
    unknown = [name for name in dict.fromkeys(wanted) if name not in known]
    return [*found, Group("Not available", unknown)] if unknown else found


def filled_by(query: Mapping[str, str]) -> SharedRun:
    """The form as a link fills it: `models` (with commas), `prompt`, `task`. Nothing else is taken from a link."""
    models = [name.strip()[:MODEL_CHARACTERS] for name in query.get("models", "").split(",")]
    models = [name for name in models if name][:MOST_MODELS]
    return SharedRun(
        models=padded(models),
        prompt=query.get("prompt", "")[:PROMPT_CHARACTERS],
        task=task_named(query.get("task", "")[:MODEL_CHARACTERS]) or "",
    )


def left_out_of(query: Mapping[str, str]) -> list[str]:
    """What such a link says and the form could not take, in sentences."""
    named = [name for name in query.get("models", "").split(",") if name.strip()]
    task, said = query.get("task", "").strip(), []
    if len(named) > MOST_MODELS:
        rest = ", ".join(name.strip()[:MODEL_CHARACTERS] for name in named[MOST_MODELS : 2 * MOST_MODELS])
        said.append(f"At most {MOST_MODELS} models are compared; left out: {rest}.")
    if len(query.get("prompt", "")) > PROMPT_CHARACTERS:
        said.append(f"The prompt was cut after {PROMPT_CHARACTERS:,} characters.")
    if task and task_named(task[:MODEL_CHARACTERS]) is None:
        said.append(f"There is no task type “{task[:MODEL_CHARACTERS]}”; it is found out by itself.")
    return said


def padded(models: list[str]) -> list[str]:
    """At least two: what is missing are policies."""
    return [*models, *(name for name in FIRST_MODELS if name not in models)][: max(LEAST_MODELS, len(models))]


def context_of(run: SharedRun) -> dict[str, Any]:
    """What the template needs for a form that is filled like this run."""
    return {
        "run": run,
        "scripts": SCRIPTS,
        "state": msgspec.to_builtins(run),
        "groups": groups(catalog_rows(), run.models),
        "tasks": TASKS,
        "efforts": EFFORTS,
        "most_models": MOST_MODELS,
        "least_models": LEAST_MODELS,
        "images_limit_bytes": IMAGES_LIMIT_BYTES,
        "most_images": MOST_IMAGES,
    }
