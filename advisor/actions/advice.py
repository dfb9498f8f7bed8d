"""What a member does with advice: accept it, which pins a model, or dismiss it."""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.access import Right, Viewer
from accounts.actions.changes import audit
from advisor.access import USED, Opened
from advisor.advice import PINS
from advisor.errors import AdviceClosed, LinkUsed
from advisor.links import Act
from advisor.models import Advice, UsedLink
from routing.actions.pins import Pinner, do_set_pin
from routing.selection.models import Pin

TOO_OLD = "This advice is too old to rely on. The next letter has newer figures."
WHAT_BECAME = {
    Advice.State.ACCEPTED: "This advice was accepted already.",
    Advice.State.DISMISSED: "This advice was dismissed already.",
    Advice.State.OVER: "This advice was followed by a newer one, or its time is over.",
}


def do_follow(opened: Opened, now: datetime) -> Advice:
    """Do what a link of a letter is for, once. Raises `LinkUsed` and what the act raises; then nothing has happened."""
    assert opened.advice is not None
    with transaction.atomic():
        _use(opened, now)
        act = do_accept if opened.link.act is Act.ACCEPT else do_dismiss
        return act(opened.viewer, opened.advice.pk, now)


def _use(opened: Opened, now: datetime) -> None:
    try:
        with transaction.atomic():
            UsedLink.objects.create(nonce=opened.link.nonce, used_at=now)
    except IntegrityError as error:
        raise LinkUsed(USED) from error


def do_accept(viewer: Viewer, advice_id: int, now: datetime) -> Advice:
    """Pin the model that was recommended, for the task type that it was recommended for.

    Raises `AdviceClosed`, `Forbidden`, `Suspended`, and `BadRequest` where the model cannot be called any more.
    """
    viewer.must(Right.KEYS)
    with transaction.atomic():
        advice = _lock(viewer, advice_id, now)
        if advice.kind not in PINS or not advice.model:
            raise AdviceClosed("This is nothing that can be done by a click.")
        pinner = Pinner(viewer.organization_id, viewer.email, Pin.Source.ADVISOR)
        do_set_pin(pinner, advice.task, advice.model)
        audit(viewer.organization_id, viewer.email, "advice.accept", advice.subject, **_detail(advice))
        return _answer(advice, viewer, Advice.State.ACCEPTED, now)


def do_dismiss(viewer: Viewer, advice_id: int, now: datetime) -> Advice:
    """Hear no more of it for a while. Raises `AdviceClosed`, `Forbidden`, `Suspended`."""
    viewer.must(Right.KEYS)
    with transaction.atomic():
        advice = _lock(viewer, advice_id, now)
        audit(viewer.organization_id, viewer.email, "advice.dismiss", advice.subject, **_detail(advice))
        return _answer(advice, viewer, Advice.State.DISMISSED, now)


def _lock(viewer: Viewer, advice_id: int, now: datetime) -> Advice:
    """The open advice, locked: of two members who answer it at once one is too late. Raises `AdviceClosed`."""
    rows = Advice.objects.select_for_update(no_key=True).filter(organization_id=viewer.organization_id)
    advice = rows.filter(pk=advice_id).first()
    if advice is None:
        raise AdviceClosed("There is no such advice.")
    if reason := why_closed(advice, now):
        raise AdviceClosed(reason)
    return advice


def why_closed(advice: Advice, now: datetime) -> str:
    """Why nothing can be done about it any more; empty while something can."""
    if advice.state != Advice.State.OPEN:
        return WHAT_BECAME[Advice.State(advice.state)]
    return TOO_OLD if advice.expires_on < now.date() else ""


def _answer(advice: Advice, viewer: Viewer, state: Advice.State, now: datetime) -> Advice:
    advice.state, advice.state_at, advice.state_by = state, now, viewer.email[:254]
    advice.save(update_fields=["state", "state_at", "state_by"])
    return advice


def _detail(advice: Advice) -> dict[str, str]:
    """What the advice was; nothing is named that it has not."""
    found = {"kind": advice.kind.replace("_", " "), "task": advice.task, "model": advice.model, "week": advice.week}
    return {name: value for name, value in found.items() if value}
