"""What a request says about the choice of its model: policy, task hint, session, and whether it wants the receipt."""

from typing import Any

from komilion.common.errors import BadRequest
from routing.gateway.checks import boolean, mapping, text, wrong
from routing.providers.base import NO_WISHES, ChatRequest, Wishes
from routing.selection.words import DEFAULT_POLICY, TASKS, VIRTUAL_MODELS, task_named

HINT_CHARACTERS = 64
OURS = frozenset({"policy", "taskHint", "task_hint", "session_id", "x_komilion"})
_hint = text(HINT_CHARACTERS)


def check_task_hint(value: Any, name: str) -> None:
    """A task type by any of its names."""
    _hint(value, name)
    if task_named(value) is None:
        raise wrong(name, "a task type: " + ", ".join(TASKS))


def check_x_komilion(value: Any, name: str) -> None:
    """An object; the one field of it that is known is a flag."""
    mapping(value, name)
    if value.get("explain") is not None:
        boolean(value["explain"], f"{name}.explain")


def read_wishes(model: str, read: dict[str, Any], dropped: list[str]) -> Wishes:
    """The wishes to this model among the parameters that were read; what has no effect is added to `dropped`.

    Raises `BadRequest` where two names of one thing differ.
    """
    if OURS.isdisjoint(read):
        return NO_WISHES
    options = read.get("x_komilion", {})
    dropped += [f"x_komilion.{name}" for name in options if name != "explain"]
    policy = read.get("policy")
    if policy is not None and VIRTUAL_MODELS.get(model) != policy and not _leaves_policy(model):
        dropped.append("policy")
    return Wishes(
        policy=policy,
        task_hint=_task_hint(read),
        session_id=read.get("session_id"),
        explain=options.get("explain") is True,
    )


def policy_of(chat: ChatRequest) -> str | None:
    """The policy by which the model is chosen: the model's suffix, then the body's; None where a model is named."""
    if chat.model not in VIRTUAL_MODELS:
        return None
    if _leaves_policy(chat.model):
        return chat.wishes.policy or DEFAULT_POLICY
    return VIRTUAL_MODELS[chat.model]


def _leaves_policy(model: str) -> bool:
    """Whether it stands for a choice without saying by which policy."""
    return model in VIRTUAL_MODELS and "/" not in model


def _task_hint(read: dict[str, Any]) -> str | None:
    """The task type under its name or its other name."""
    tasks = {task_named(read[name]) for name in ("taskHint", "task_hint") if name in read}
    if len(tasks) > 1:
        raise BadRequest("`taskHint` and `task_hint` are two names for one thing and differ.", param="task_hint")
    return next(iter(tasks), None)
