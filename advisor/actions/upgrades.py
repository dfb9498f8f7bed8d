"""Upgrades of pins on their way: found, asked about, put on trial, ended. advisor.actions.trials has them grow.

Each change of an upgrade locks its organization and reads the row again, in one transaction with what it changes of the
pin: so two workers take turns, and one that is killed leaves nothing half done.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Model, QuerySet

from accounts.actions.changes import audit, lock_organization
from advisor.canary import SIGNALS, STEPS
from advisor.evidence import Candidate
from advisor.landscape import read_models
from advisor.models import EvaluationCase, Upgrade
from advisor.terms import terms_of
from advisor.upgrade_report import why_answered
from advisor.upgrades import candidate_for, closed_gate
from billing.payments.queries import paying
from komilion.common.errors import Conflict, NotFound
from routing.actions.pins import Pinner
from routing.actions.trials import ACTOR, Move, do_begin_trial, do_end_trial, do_move_pin
from routing.selection.models import Pin

ROWS_AT_ONCE = 500
RULED_OUT_FOR = timedelta(days=30)  # a model that a trial found worse
# What `report["ended_by"]` may say. `PIN` is a member's change of the pin, `OVERTAKEN` another move that came between.
GATE, WORSE, UNAVAILABLE, PIN, DECLINED, OVERTAKEN = "gate", "worse", "unavailable", "pin", "declined", "overtaken"
AGAIN = frozenset({GATE, PIN, OVERTAKEN})
"""What was refused for one of these begins once nothing stands against it any more."""
OWN, ALL = "own", "all"  # what `report["found_by"]` may say of one that was worse: whose calls show it
SEEN_BY_LEAST = 3  # organizations that pay, whose own calls show that a model is worse: nobody else has to try it
State = Upgrade.State
WAITING = (State.ASKED, State.JUDGED)
MOVE = ("organization_id", "task", "old_model", "new_model")  # the fields of `Move`


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What became of one that is over."""

    state: str
    ended_at: datetime
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What became of earlier attempts at some pins, the last of each; and pairs that trials of others ruled out."""

    under_way: Collection[tuple[int, str]]
    last: Mapping[Move, _Attempt]
    ruled_out: Mapping[tuple[str, str], str]

    def is_settled(self, move: Move, now: datetime) -> bool:
        """Whether the same is not tried again: found worse of late, refused for good, or moved and taken back."""
        last = self.last.get(move)
        if last is None:
            return False
        if last.ended_by in {WORSE, UNAVAILABLE}:
            return last.ended_at > now - RULED_OUT_FOR
        return last.state != State.ROLLED_BACK and last.ended_by not in AGAIN


def do_look_for_upgrades(now: datetime) -> int:
    """Begin what can begin for pins whose model has a newer one, and note what a gate is closed to; how many began."""
    landscape = read_models(now.date())
    newer = {model: found for model in landscape.models if (found := candidate_for(model, landscape)) is not None}
    begun = _review(newer, now)
    for pins in chunks(Pin.objects.filter(model__in=newer).exclude(upgrades=Pin.Upgrades.OFF).order_by("pk")):
        terms, known = terms_of(pins, now.date()), _known(pins, now)
        for pin in pins:
            new = newer[pin.model]
            move = Move(pin.organization_id, pin.task, pin.model, new.id)
            if (pin.organization_id, pin.task) in known.under_way or known.is_settled(move, now):
                continue
            reason = known.ruled_out.get((move.old, move.new), "")
            reason = reason or closed_gate(landscape.models[pin.model], new, terms[pin.pk])
            if not reason:
                begun += _do_begin(move, now)
            elif move not in known.last:
                _do_refuse(move, reason, now)
    return begun


def do_agree(pinner: Pinner, upgrade_id: int, now: datetime) -> Upgrade:
    """Somebody wants the newer model that was asked about: judge it, then try it.

    Raises `NotFound`, `Conflict` where nobody is asked any more, `ModelNotAllowed` for a key that may not call both.
    """
    with transaction.atomic():
        upgrade = _asked(pinner, upgrade_id)
        audit(upgrade.organization_id, pinner.name, "upgrade.agree", upgrade.task, new=upgrade.new_model)
        return do_go_on(upgrade, now)


def do_decline(pinner: Pinner, upgrade_id: int, now: datetime) -> Upgrade:
    """Somebody does not: it is not asked about again. Raises what `do_agree` does."""
    with transaction.atomic():
        upgrade = _asked(pinner, upgrade_id)
        audit(upgrade.organization_id, pinner.name, "upgrade.decline", upgrade.task, new=upgrade.new_model)
        return end(upgrade, State.REFUSED, "a member declined it", now, ended_by=DECLINED)


def do_go_on(upgrade: Upgrade, now: datetime, *, is_judged: bool = False) -> Upgrade:
    """To the evaluation cases, if there are any, else to the trial. The organization is locked."""
    cases = EvaluationCase.objects.filter(organization_id=upgrade.organization_id, task=upgrade.task)
    upgrade.step_at = now
    if not is_judged and cases.exists():
        upgrade.state = State.JUDGED
        upgrade.save()
        return upgrade
    upgrade.state, upgrade.share_basis_points = State.TRIAL, STEPS[0]
    upgrade.save()
    if do_begin_trial(move_of(upgrade), STEPS[0]):
        return upgrade
    return end(upgrade, State.ROLLED_BACK, "the pin was changed", now, ended_by=PIN)


def end(upgrade: Upgrade, state: Upgrade.State, reason: str, now: datetime, **report: Any) -> Upgrade:
    """Note how it ended; the pin's trial ends with it, unless the newer model takes the pin. Within a lock."""
    if state == State.DONE:
        do_move_pin(move_of(upgrade))
        upgrade.share_basis_points = STEPS[-1]
    elif upgrade.state == State.TRIAL:
        do_end_trial(move_of(upgrade), reason)
        upgrade.share_basis_points = 0
    upgrade.state, upgrade.reason, upgrade.ended_at = state, reason[:500], now
    upgrade.report = {**upgrade.report, **report}
    upgrade.save()
    return upgrade


def move_of(upgrade: Upgrade) -> Move:
    """What it moves."""
    return Move(upgrade.organization_id, upgrade.task, upgrade.old_model, upgrade.new_model)


def read_again(upgrade: Upgrade) -> Upgrade | None:
    """Lock its organization, and read it as it is now; None where somebody else was there meanwhile."""
    lock_organization(upgrade.organization_id)
    same = Upgrade.objects.filter(pk=upgrade.pk, state=upgrade.state, step_at=upgrade.step_at, ended_at=None)
    return same.filter(counted_to=upgrade.counted_to).first()


def _review(newer: Mapping[str, Candidate], now: datetime) -> int:
    """What was asked about or is to be judged, and is overtaken: by another pin or setting, or by a newer model yet.

    Returns how many went on because their pin no longer asks. Most stay as they are, and nothing is locked for them.
    """
    went_on = 0
    for waiting in chunks(Upgrade.objects.filter(state__in=WAITING, ended_at=None).order_by("pk").defer("report")):
        pins = Pin.objects.filter(organization_id__in={upgrade.organization_id for upgrade in waiting})
        by_work = {(pin.organization_id, pin.task): pin for pin in pins}
        for upgrade in waiting:
            pin = by_work.get((upgrade.organization_id, upgrade.task))
            if _overtaken(upgrade, pin, newer) or _asks_no_more(upgrade, pin):
                went_on += _do_review(upgrade, newer, now)
    return went_on


def _do_review(upgrade: Upgrade, newer: Mapping[str, Candidate], now: datetime) -> bool:
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        pin = Pin.objects.filter(organization_id=same.organization_id, task=same.task).first()
        if reason := _overtaken(same, pin, newer):
            end(same, State.REFUSED, reason, now, ended_by=GATE)
            return False
        if is_due := _asks_no_more(same, pin):
            do_go_on(same, now)
        return is_due


def _overtaken(upgrade: Upgrade, pin: Pin | None, newer: Mapping[str, Candidate]) -> str:
    """By what, in a sentence; empty where it still stands."""
    if pin is None or pin.model != upgrade.old_model or pin.upgrades == Pin.Upgrades.OFF:
        return "the pin or its setting was changed"
    new = newer.get(upgrade.old_model)
    if new is None or new.id != upgrade.new_model:
        return f"{upgrade.new_model} is not the newest of its line any more"
    return ""


def _asks_no_more(upgrade: Upgrade, pin: Pin | None) -> bool:
    return upgrade.state == State.ASKED and pin is not None and pin.upgrades == Pin.Upgrades.AUTO


def _do_begin(move: Move, now: datetime) -> bool:
    with transaction.atomic():
        lock_organization(move.organization_id)
        pin = Pin.objects.filter(organization_id=move.organization_id, task=move.task, model=move.old).first()
        if pin is None or pin.upgrades == Pin.Upgrades.OFF or _is_under_way(move):
            return False
        upgrade = new_upgrade(move, State.ASKED, now)
        if pin.upgrades == Pin.Upgrades.ASK:
            upgrade.save()
            audit(move.organization_id, ACTOR, "upgrade.ask", move.task, old=move.old, new=move.new)
            return True
        return do_go_on(upgrade, now).ended_at is None


def _do_refuse(move: Move, reason: str, now: datetime) -> None:
    with transaction.atomic():
        lock_organization(move.organization_id)
        if not _is_under_way(move):
            end(new_upgrade(move, State.ASKED, now), State.REFUSED, reason, now, ended_by=GATE)
            audit(move.organization_id, ACTOR, "upgrade.refuse", move.task, new=move.new, why=reason)


def new_upgrade(move: Move, state: Upgrade.State, now: datetime) -> Upgrade:
    """One that begins now, not saved yet."""
    return Upgrade(
        organization_id=move.organization_id,
        task=move.task,
        old_model=move.old,
        new_model=move.new,
        state=state,
        step_at=now,
        created_at=now,
    )


def _asked(pinner: Pinner, upgrade_id: int) -> Upgrade:
    lock_organization(pinner.organization_id)
    asked = Upgrade.objects.filter(organization_id=pinner.organization_id, pk=upgrade_id).first()
    if asked is None:
        raise NotFound("There is no such upgrade.")
    if reason := why_answered(asked):
        raise Conflict(reason)
    for model in (asked.old_model, asked.new_model):
        pinner.must_call(model)
    return asked


def _is_under_way(move: Move) -> bool:
    rows = Upgrade.objects.filter(organization_id=move.organization_id, task=move.task, ended_at=None)
    return rows.exists()


def _known(pins: Sequence[Pin], now: datetime) -> _Known:
    organizations, models = {pin.organization_id for pin in pins}, {pin.model for pin in pins}
    rows = Upgrade.objects.filter(organization_id__in=organizations)
    under_way = rows.filter(ended_at=None).values_list("organization_id", "task")
    over = rows.filter(old_model__in=models).exclude(ended_at=None).order_by().values(*MOVE).annotate(last=Max("pk"))
    last = Upgrade.objects.filter(pk__in=over.values("last"))
    return _Known(
        under_way=set(under_way),
        last={
            Move(*move): _Attempt(state, ended_at, ended_by)
            for *move, state, ended_at, ended_by in last.values_list(*MOVE, "state", "ended_at", "report__ended_by")
        },
        ruled_out=_ruled_out(models, now),
    )


def _ruled_out(models: Collection[str], now: datetime) -> Mapping[tuple[str, str], str]:
    """Pairs from these models that nobody begins to try, with the reason: what all show, or enough that pay saw."""
    worse = Upgrade.objects.filter(
        old_model__in=models, state=State.ROLLED_BACK, ended_at__gt=now - RULED_OUT_FOR, report__ended_by=WORSE
    )
    columns = ("organization_id", "old_model", "new_model", "report__signal", "report__found_by")
    found = list(worse.order_by("pk").values_list(*columns))
    paid = paying({key for key, *_ in found})
    seen_by: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    signals: dict[tuple[str, str], str] = {}
    shown = set()
    for key, old, new, signal, found_by in found:
        signals[old, new] = signal
        if found_by == ALL:
            shown.add((old, new))
        if key in paid:
            seen_by[old, new].add(key)
    return {
        pair: f"{pair[1]} was found worse here of late: it {SIGNALS[signal]}"
        for pair, signal in signals.items()
        if pair in shown or len(seen_by[pair]) >= SEEN_BY_LEAST
    }


def chunks[Row: Model](rows: QuerySet[Row]) -> Iterator[list[Row]]:
    """Rows in the order of their keys, so that what changes meanwhile moves nobody from one chunk to another."""
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:ROWS_AT_ONCE]):
        yield chunk
        last = chunk[-1].pk
