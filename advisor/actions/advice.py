"""What a member does with advice: accept it, which pins a model, or dismiss it."""

from datetime import datetime

from django.db import transaction

from accounts.access import Viewer
from accounts.actions.changes import audit, lock_organization
from advisor.advice import PINS
from advisor.errors import AdviceClosed
from advisor.models import Advice
from advisor.queries import open_advice
from komilion.common.errors import NotFound
from routing.actions.pins import Pinner, check_model, check_task, do_set_pin
from routing.selection.models import Pin

TOO_OLD = "This advice is too old to rely on. The next letter has newer figures."
WHAT_BECAME = {
    Advice.State.ACCEPTED: "This advice was accepted already.",
    Advice.State.DISMISSED: "This advice was dismissed already.",
    Advice.State.OVER: "This advice was followed by a newer one, or its time is over.",
}


def advisee(viewer: Viewer) -> Pinner:
    """A person who answers advice; whether she may is looked at before."""
    return Pinner(viewer.organization_id, viewer.email, Pin.Source.ADVISOR)


def do_accept(pinner: Pinner, advice_id: int, now: datetime) -> Advice:
    """Pin the model that was recommended, for the task type that it was recommended for.

    Raises `AdviceClosed`, `NotFound`, `ModelNotAllowed`, and `BadRequest` where the model cannot be called any more.
    """
    with transaction.atomic():
        lock_organization(pinner.organization_id)  # first, as whoever says something new does
        advice = _lock(pinner, advice_id, now)
        if advice.kind not in PINS or not advice.model:
            raise AdviceClosed("This is nothing that can be done by a click.")
        do_set_pin(pinner, advice.task, advice.model)
        return _accepted(pinner, advice, now)


def do_accept_pair(pinner: Pinner, task: str, model: str, now: datetime) -> Pin:
    """Pin this model for this task type. Where just that is advised, the advice is accepted; it need not be.

    Raises what `do_set_pin` raises.
    """
    task, model_id = check_task(task), check_model(model)
    with transaction.atomic():
        lock_organization(pinner.organization_id)  # first, as whoever says something new does
        advised = open_advice(pinner.organization_id, now).filter(task=task, model=model_id, kind__in=PINS)
        newest = advised.select_for_update(no_key=True).order_by("pk").last()
        pin = do_set_pin(pinner, task, model_id)
        if newest is not None:
            _accepted(pinner, newest, now)
    return pin


def do_dismiss(pinner: Pinner, advice_id: int, now: datetime) -> Advice:
    """Hear no more of it for a while. Raises `AdviceClosed`, `NotFound`."""
    with transaction.atomic():
        advice = _lock(pinner, advice_id, now)
        audit(pinner.organization_id, pinner.name, "advice.dismiss", advice.subject, **_detail(advice))
        return _answer(advice, pinner, Advice.State.DISMISSED, now)


def _lock(pinner: Pinner, advice_id: int, now: datetime) -> Advice:
    """The open advice, locked: of two members who answer it at once one is too late."""
    rows = Advice.objects.select_for_update(no_key=True).filter(organization_id=pinner.organization_id)
    advice = rows.filter(pk=advice_id).first()
    if advice is None:
        raise NotFound("There is no such advice.", param="id")
    if reason := why_closed(advice, now):
        raise AdviceClosed(reason)
    return advice


def why_closed(advice: Advice, now: datetime) -> str:
    """Why nothing can be done about it any more; empty while something can."""
    if advice.state != Advice.State.OPEN:
        return WHAT_BECAME[Advice.State(advice.state)]
    return TOO_OLD if advice.expires_on < now.date() else ""


def _accepted(pinner: Pinner, advice: Advice, now: datetime) -> Advice:
    """Note it; what else says the same needs no answer any more."""
    same = Advice.objects.filter(
        organization_id=advice.organization_id, task=advice.task, model=advice.model, state=Advice.State.OPEN
    )
    same.exclude(pk=advice.pk).update(state=Advice.State.OVER, state_at=now)
    audit(pinner.organization_id, pinner.name, "advice.accept", advice.subject, **_detail(advice))
    return _answer(advice, pinner, Advice.State.ACCEPTED, now)


def _answer(advice: Advice, pinner: Pinner, state: Advice.State, now: datetime) -> Advice:
    advice.state, advice.state_at, advice.state_by = state, now, pinner.name[:254]
    advice.save(update_fields=["state", "state_at", "state_by"])
    return advice


def _detail(advice: Advice) -> dict[str, str]:
    """What the advice was; nothing is named that it has not."""
    found = {"kind": advice.kind.replace("_", " "), "task": advice.task, "model": advice.model, "week": advice.week}
    return {name: value for name, value in found.items() if value}
