"""Moving pins whose model ends, a week before it does: to the successor, or back to the policy. Never into errors."""

from datetime import datetime

from django.db import transaction

from accounts.actions.changes import audit, lock_organization
from advisor.actions.upgrades import OVERTAKEN, State, chunks, end, new_upgrade
from advisor.landscape import read_models
from advisor.models import Upgrade
from advisor.retirement import Move as Target
from advisor.retirement import move_of as target_of
from advisor.terms import terms_of
from advisor.upgrades import Terms
from routing.actions.pins import Pinner, do_remove_pin
from routing.actions.trials import ACTOR, Move
from routing.selection.models import Pin


def do_move_ending_pins(now: datetime) -> int:
    """Move every pin whose model ends within the week or has ended; how many.

    To the successor where its price is within the pin's ceiling and the pin's setting is not `off`; else the policy
    chooses again. The upgrade that says so is the notice: its reason names the date.
    """
    landscape = read_models(now.date())
    anybody = Terms({})
    ending = [model for model in (*landscape.models, *landscape.retired) if target_of(model, landscape, anybody)]
    moved = 0
    for pins in chunks(Pin.objects.filter(model__in=ending).order_by("pk")):
        terms = terms_of(pins, now.date())
        for pin in pins:
            target = target_of(pin.model, landscape, terms[pin.pk])
            assert target is not None
            if pin.upgrades == Pin.Upgrades.OFF and target.model is not None:
                target = Target(None, f"{target.reason}, but this pin takes no upgrades")
            moved += _do_move(pin, target, now)
    return moved


def _do_move(seen: Pin, target: Target, now: datetime) -> bool:
    organization_id = seen.organization_id
    move = Move(organization_id, seen.task, seen.model, target.model or "")
    with transaction.atomic():
        lock_organization(organization_id)
        if not Pin.objects.filter(pk=seen.pk, model=seen.model).exists():
            return False
        upgrade = Upgrade.objects.filter(organization_id=organization_id, task=seen.task, ended_at=None).first()
        if upgrade is not None and upgrade.new_model != move.new:
            end(upgrade, State.ROLLED_BACK, target.reason, now, ended_by=OVERTAKEN)
            upgrade = None
        upgrade = upgrade or new_upgrade(move, State.JUDGED, now)
        if target.model is not None:
            end(upgrade, State.DONE, target.reason, now)
            return True
        reason = f"{target.reason}: the policy chooses again"
        do_remove_pin(Pinner(organization_id, ACTOR, Pin.Source.ADVISOR), seen.task)
        end(upgrade, State.REFUSED, reason, now)
        audit(organization_id, ACTOR, "upgrade.refuse", seen.task, old=move.old, why=reason)
    return True
