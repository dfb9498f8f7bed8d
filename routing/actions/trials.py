"""Trials of a newer model for a pin: it answers a share of the pin's calls, then all of them, or none again.

Whoever runs trials compares both models and says when; here is what a trial changes. Each step is in force with the
next hold, in every process, as it raises the organization's epoch. A step that was taken already changes nothing, and
one for a pin that somebody has changed meanwhile is not taken.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts.actions.changes import audit, lock_organization, raise_epoch
from routing.selection.models import Pin

ACTOR = "advisor"


@dataclass(frozen=True, slots=True)
class Move:
    """A pin's way from its model to a newer one."""

    organization_id: int
    task: str
    old: str
    new: str


def do_begin_trial(move: Move, basis_points: int) -> bool:
    """Have the newer model answer this share of the pin's calls; whether it does."""
    return _change(move, "pin.trial", trial_model=move.new, trial_basis_points=basis_points)


def do_step_trial(move: Move, basis_points: int) -> bool:
    """Another share, of a trial that runs; whether it does."""
    return _change(move, "pin.trial", is_begun=True, trial_model=move.new, trial_basis_points=basis_points)


def do_end_trial(move: Move, why: str) -> bool:
    """All calls to the pinned model again; whether it was on trial. `why` is for the audit log."""
    return _change(move, "pin.trial_ended", is_begun=True, why=why, trial_model="", trial_basis_points=0)


def do_move_pin(move: Move) -> bool:
    """Pin the newer model in the place of the other, tried or not; its ceiling stays. Whether it is pinned now."""
    return _change(move, "pin.upgrade", model=move.new, trial_model="", trial_basis_points=0)


def _change(move: Move, action: str, *, is_begun: bool = False, why: str = "", **values: Any) -> bool:
    """Write these values where the pin is still what the move is about."""
    with transaction.atomic():
        lock_organization(move.organization_id)
        pin = Pin.objects.filter(organization_id=move.organization_id, task=move.task).first()
        if pin is not None and pin.model == values.get("model") == move.new:
            return True
        allowed = {move.new} if is_begun else {"", move.new}
        if pin is None or pin.model != move.old or pin.trial_model not in allowed:
            return False
        if any(getattr(pin, name) != value for name, value in values.items()):
            Pin.objects.filter(pk=pin.pk).update(**values)
            raise_epoch(move.organization_id)
            told = {"share_basis_points": values["trial_basis_points"]} if values["trial_model"] else {}
            told = {**told, "why": why} if why else told
            audit(move.organization_id, ACTOR, action, move.task, old=move.old, new=move.new, **told)
    return True
