"""Setting and removing pins, and the switches beside them. In force with the next hold, in every process.

A change raises the organization's epoch: a call that was planned by the old state is planned again. What is set to what
it was raises nothing, so that saying it over and over holds up no call.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction

from accounts.actions.changes import audit, lock_organization, raise_epoch
from billing.prices import amounts
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, ModelNotAllowed, NotFound
from komilion.common.usage import PRICED_BUCKETS
from routing.catalog.snapshot import Catalog
from routing.queries import catalog_rows, charged_prices
from routing.selection.models import Pin, RoutingPreferences
from routing.selection.queries import follows_successors
from routing.selection.words import TASKS, task_named

WORD_CHARACTERS = 100  # of a wrong word, in the message
NO_TRIAL = {"trial_model": "", "trial_basis_points": 0}


@dataclass(frozen=True, slots=True)
class Pinner:
    """Who sets and removes pins. A key that is limited to `models_allowed` touches no pin of another model."""

    organization_id: int
    name: str  # for the audit log
    source: Pin.Source = Pin.Source.PERSON
    models_allowed: frozenset[str] | None = None

    def must_call(self, model_id: str) -> None:
        """Raises `ModelNotAllowed`: a key sends nobody's requests to, or away from, what it may not call itself."""
        if not catalog_rows().catalog.allows(self.models_allowed, model_id):
            raise ModelNotAllowed(f"This key may not call {model_id}.", param="modelId")


def do_set_pin(pinner: Pinner, task: str, model_id: str) -> Pin:
    """Have requests of this task type (or one of its other names) answered by this model.

    What is pinned so already stays as it is; otherwise the ceiling of its upgrades is what this model costs now, and a
    trial of another ends. Raises `BadRequest` with the lists of both where one is wrong,
    `ModelNotAllowed` where the key may not call the model or the one that is pinned.
    """
    task, model_id = check_task(task), check_model(model_id)
    pinner.must_call(model_id)
    organization_id, actor, source = pinner.organization_id, pinner.name, pinner.source
    with transaction.atomic():
        lock_organization(organization_id)
        before = Pin.objects.filter(organization_id=organization_id, task=task).first()
        if before is not None:
            if before.model == model_id:
                return before
            pinner.must_call(before.model)
        values = {
            "model": model_id,
            "source": source,
            "set_by": actor[:254],
            "created_at": utc_now(),
            "ceiling": charged_prices(model_id),
            **NO_TRIAL,
        }
        pin, _ = Pin.objects.update_or_create(organization_id=organization_id, task=task, defaults=values)
        raise_epoch(organization_id)
        audit(organization_id, actor, "pin.set", task, model=model_id, source=source.value)
    return pin


def do_set_upgrades(pinner: Pinner, task: str, upgrades: Pin.Upgrades) -> Pin:
    """Say what becomes of a pin when a newer model of its line appears; `off` ends a trial at once.

    Raises what `do_remove_pin` does.
    """
    with transaction.atomic():
        pin = _locked(pinner, task)
        if pin.upgrades == upgrades:
            return pin
        pin.upgrades = upgrades
        if upgrades == Pin.Upgrades.OFF and pin.trial_model:
            pin.trial_model, pin.trial_basis_points = "", 0
            raise_epoch(pinner.organization_id)
        pin.save(update_fields=["upgrades", *NO_TRIAL])
        audit(pinner.organization_id, pinner.name, "pin.upgrades", pin.task, upgrades=upgrades.value)
    return pin


def do_set_ceiling(pinner: Pinner, task: str, ceiling: Mapping[str, int]) -> Pin:
    """What a newer model may cost at most, in nano-USD per million units with the fee.

    A bucket that is not named keeps the price of the pinned model. Raises `BadRequest` for a bucket that is none, and
    what `do_remove_pin` does.
    """
    unknown = sorted(set(ceiling) - set(PRICED_BUCKETS))
    if unknown:
        message = f"There is no price of {unknown[0][:WORD_CHARACTERS]!r}; there are {', '.join(PRICED_BUCKETS)}."
        raise BadRequest(message, param="ceiling")
    with transaction.atomic():
        pin = _locked(pinner, task)
        wanted = {**charged_prices(pin.model), **ceiling}
        if pin.ceiling != wanted:
            pin.ceiling = wanted
            pin.save(update_fields=["ceiling"])
            audit(pinner.organization_id, pinner.name, "pin.ceiling", pin.task, ceiling=amounts(wanted))
    return pin


def do_remove_pin(pinner: Pinner, task: str) -> Pin:
    """Leave that task type to the policy again; returns what was pinned.

    Raises `BadRequest`, `NotFound`, and `ModelNotAllowed` where the key may not call what is pinned.
    """
    with transaction.atomic():
        pin = _locked(pinner, task)
        pin.delete()
        raise_epoch(pinner.organization_id)
        audit(pinner.organization_id, pinner.name, "pin.remove", pin.task, model=pin.model)
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


def _locked(pinner: Pinner, task: str) -> Pin:
    """The pin of this task type, which nobody else changes until the transaction ends."""
    task = check_task(task)
    lock_organization(pinner.organization_id)
    pin = Pin.objects.filter(organization_id=pinner.organization_id, task=task).first()
    if pin is None:
        raise NotFound(f"There is no pin for {task}.", param="taskType")
    pinner.must_call(pin.model)
    return pin


def check_task(word: str) -> str:
    """The task type that goes by this word. Raises `BadRequest` with the list."""
    task = task_named(word)
    if task is None:
        what = f"There is no task type {word[:WORD_CHARACTERS]!r}" if word else "`taskType` is missing"
        raise BadRequest(
            f"{what}; there are {', '.join(TASKS)}.",
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
    raise BadRequest(_what_is_wrong(catalog, name, model_id), param="modelId", extra=_lists(catalog.models))


def _what_is_wrong(catalog: Catalog, name: str, model_id: str | None) -> str:
    """With a name that means nothing, or this model, which cannot be called."""
    if not name:
        return "`modelId` is missing; `models` beside this error lists all."
    retired = None if model_id is None else catalog.retired.get(model_id)
    if retired is not None:
        successor = f" Its successor is {retired.successor}." if retired.successor else ""
        return f"{model_id} was retired on {retired.sunset_on}.{successor}"
    nearest = catalog.nearest(name[:WORD_CHARACTERS])
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`models` beside this error lists all."
    what = f"There is no model {name[:WORD_CHARACTERS]!r}" if model_id is None else f"{model_id} cannot be called here"
    return f"{what}; {hint}"


def _lists(models: Iterable[str]) -> dict[str, list[str]]:
    return {"task_types": list(TASKS), "models": sorted(models)}
