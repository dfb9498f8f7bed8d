"""The names of policies and task types that callers send."""

import pytest

from routing.selection.words import DEFAULT_POLICY, POLICIES, TASK_ALIASES, TASKS, VIRTUAL_MODELS, task_named


def test_every_virtual_model_means_a_policy_that_exists() -> None:
    assert set(VIRTUAL_MODELS.values()) <= set(POLICIES)
    assert VIRTUAL_MODELS["neo-mode"] == VIRTUAL_MODELS["auto"] == DEFAULT_POLICY


def test_every_alias_leads_to_a_task_type_and_hides_none() -> None:
    assert set(TASK_ALIASES.values()) <= set(TASKS)
    assert not set(TASK_ALIASES) & set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_type_is_known_by_its_own_name(task: str) -> None:
    assert task_named(task) == task


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ("coding", "code-generation"),
        ("code-generation", "code-generation"),
        ("Code Generation", "code-generation"),
        ("code_generation", "code-generation"),
        (" Reasoning ", "reasoning"),
        ("reasoning_math", "math"),
        ("vision", "vision"),
        ("writing", "writing"),
    ],
)
def test_published_names_are_accepted_in_any_case_and_with_any_separator(sent: str, means: str) -> None:
    assert task_named(sent) == means


@pytest.mark.parametrize("sent", ["", "cooking", "-", "neo-mode"])
def test_another_name_is_none(sent: str) -> None:
    assert task_named(sent) is None
