"""What a request may say about the choice of its model, and that none of it is forwarded."""

from typing import Any

import pytest

from routing.gateway.choice.wishes import policy_of
from routing.gateway.forms import parse_flat
from routing.gateway.parameters import NO_EXTRAS
from routing.providers.base import Wishes
from routing.selection.words import TASK_ALIASES, TASKS, VIRTUAL_MODELS
from tests.routing.parsing import dropped, parse, refused_param


def test_all_of_them_are_ours() -> None:
    request = parse(
        model="neo-mode", policy="frugal", taskHint="coding", session_id="s 1", x_komilion={"explain": True}
    )
    assert request.wishes == Wishes("frugal", "code-generation", "s 1", explain=True)
    assert (request.parameters, request.unknown, request.adjusted) == ({}, {}, ())
    assert parse(model="neo-mode").wishes == Wishes()


@pytest.mark.parametrize("hint", [*TASKS, *TASK_ALIASES, "Code Generation", "tool_use"])
@pytest.mark.parametrize("name", ["taskHint", "task_hint"])
def test_every_name_of_a_task_type_is_a_hint(hint: str, name: str) -> None:
    assert parse(**{name: hint}).wishes.task_hint in TASKS


def test_a_hint_has_two_names_that_must_not_differ() -> None:
    assert parse(taskHint="coding", task_hint="code-generation").wishes.task_hint == "code-generation"
    assert refused_param(taskHint="coding", task_hint="writing") == "task_hint"


@pytest.mark.parametrize("explain", [False, None])
def test_nothing_is_explained_unless_it_is_asked_for(explain: bool | None) -> None:
    assert not parse(x_komilion={"explain": explain}).wishes.explain
    assert not parse(x_komilion={}).wishes.explain


def test_what_else_the_object_holds_is_dropped_and_named() -> None:
    request = parse(x_komilion={"explain": True, "cheap": 1})
    assert dropped(request) == ["x_komilion.cheap"]


@pytest.mark.parametrize(
    ("model", "policy", "expected", "is_dropped"),
    [
        ("neo-mode", None, "balanced", False),
        ("auto", None, "balanced", False),
        ("neo-mode", "premium", "premium", False),
        ("auto", "frugal", "frugal", False),
        ("neo-mode/frugal", "premium", "frugal", True),
        ("neo-mode/premium", "premium", "premium", False),
        ("up/ok", "frugal", None, True),
        ("up/ok", None, None, False),
    ],
)
def test_the_suffix_of_the_model_wins_over_the_body(
    model: str, policy: str | None, expected: str | None, is_dropped: bool
) -> None:
    request = parse(model=model, policy=policy)
    assert policy_of(request) == expected
    assert dropped(request) == (["policy"] if is_dropped else [])


@pytest.mark.parametrize("model", VIRTUAL_MODELS)
def test_the_flat_form_takes_them_too(model: str) -> None:
    body: dict[str, Any] = {"model": model, "message": "Hi", "taskHint": "writing", "session_id": "s"}
    request = parse_flat(body, NO_EXTRAS)
    assert (request.model, request.wishes) == (model, Wishes(None, "writing", "s"))
    assert request.adjusted == ()
