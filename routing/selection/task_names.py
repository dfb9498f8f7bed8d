"""One task type, many names: hints of requests and pins are read alike."""

from routing.selection.words import TASK_ALIASES, TASKS

_BY_NAME = {**TASK_ALIASES, **{task: task for task in TASKS}}


def task_named(word: str) -> str | None:
    """The task type of this name, in any case and with `_` or a space for `-`; None where there is none."""
    word = word.strip().lower().replace("_", "-").replace(" ", "-")
    return _BY_NAME.get(word)
