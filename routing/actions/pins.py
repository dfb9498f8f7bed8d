"""Setting and removing pins, and the switches beside them. In force with the next hold, in every process.

A change raises the organization's epoch: a call that was planned by the old state is planned again. What is set to what
it was raises nothing, so that saying it over and over holds up no call.
"""

from collections.abc import Iterable

from django.db import transaction

from accounts.actions.changes import audit, lock_organization, raise_epoch
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, NotFound
from routing.queries import catalog_rows
from routing.selection.models import Pin, RoutingPreferences
from routing.selection.queries import follows_successors
from routing.selection.words import TASKS, task_named

WORD_CHARACTERS = 100  # of a wrong word, in the message


def do_set_pin(
    organization_id: int, task: str, model_id: str, *, actor: str, source: Pin.Source = Pin.Source.PERSON
) -> Pin:
    """Have requests of this task type (or one of its other names) answered by this model.

    Raises `BadRequest` with the lists of both where one is wrong.
    """
    task, model_id = check_task(task), check_model(model_id)
    with transaction.atomic():
        lock_organization(organization_id)
        before = Pin.objects.filter(organization_id=organization_id, task=task).values_list("model", flat=True).first()
        values = {"model": model_id, "source": source, "set_by": actor[:254], "created_at": utc_now()}
        pin, _ = Pin.objects.update_or_create(organization_id=organization_id, task=task, defaults=values)
        if before != model_id:
            raise_epoch(organization_id)
        audit(organization_id, actor, "pin.set", task, model=model_id, source=source.value)
    return pin


def do_remove_pin(organization_id: int, task: str, *, actor: str) -> Pin:
    """Leave that task type to the policy again; returns what was pinned. Raises `BadRequest`, `NotFound`."""
    task = check_task(task)
    with transaction.atomic():
        lock_organization(organization_id)
        pin = Pin.objects.filter(organization_id=organization_id, task=task).first()
        if pin is None:
            raise NotFound(f"There is no pin for {task}.", param="taskType")
        pin.delete()
        raise_epoch(organization_id)
        audit(organization_id, actor, "pin.remove", task, model=pin.model)
    return pin


def do_follow_successors(organization_id: int, *, follows: bool, actor: str) -> None:
    """Let a retired model move to its successor even where that is dearer, or no longer."""
    with transaction.atomic():
        lock_organization(organization_id)
        before = follows_successors(organization_id)
        RoutingPreferences.objects.update_or_create(
            organization_id=organization_id, defaults={"follows_successors": follows}
        )
        if before != follows:
            raise_epoch(organization_id)
        audit(organization_id, actor, "routing.follow_successors", "on" if follows else "off")


def check_task(word: str) -> str:
    """The task type that goes by this word. Raises `BadRequest` with the list."""
    task = task_named(word)
    if task is None:
        raise BadRequest(
            f"There is no task type {word[:WORD_CHARACTERS]!r}; there are {', '.join(TASKS)}.",
            param="taskType",
            extra=_lists(catalog_rows().models),
        )
    return task


def check_model(name: str) -> str:
    """The id of the model that this name means and that can be called. Raises `BadRequest` with the list."""
    catalog = catalog_rows().catalog
    model_id = catalog.canonical(name)
    if model_id is not None and model_id in catalog.models:
        return model_id
    nearest = catalog.nearest(name[:WORD_CHARACTERS])
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`models` beside this error lists all."
    what = f"There is no model {name[:WORD_CHARACTERS]!r}" if model_id is None else f"{model_id} cannot be called here"
    raise BadRequest(f"{what}; {hint}", param="modelId", extra=_lists(catalog.models))


def _lists(models: Iterable[str]) -> dict[str, list[str]]:
    return {"task_types": list(TASKS), "models": sorted(models)}
