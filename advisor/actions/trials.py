"""Trials of newer models: watched, grown, or ended by what their calls show. advisor.canary judges."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from advisor.actions.upgrades import (
    ALL,
    GATE,
    OWN,
    PIN,
    RULED_OUT_FOR,
    UNAVAILABLE,
    WORSE,
    State,
    end,
    move_of,
    read_again,
)
from advisor.canary import STEPS, Pair, Stage, Verdict, judge
from advisor.evidence import Landscape
from advisor.landscape import read_models
from advisor.models import Upgrade
from advisor.rules import Rules
from advisor.terms import terms_of
from advisor.trial_pooling import Pool
from advisor.trial_sql import Figures, Look, look_at
from advisor.upgrades import closed_gate
from billing.payments.queries import paying
from routing.actions.trials import do_step_trial
from routing.selection.models import Pin

LEAST_DIVERTED = 20  # calls of a trial that could not be sent to the newer model, before that ends it
MOST_DIVERTED_SHARE = 0.5  # of the calls that were the newer model's
TRIED = (State.TRIAL, State.DONE, State.ROLLED_BACK)
S_PER_HOUR = 3_600
# A call is noted when it ends, under the moment at which it came in. One that ends later than that is in no figure.
SETTLED_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An upgrade as it was read, and what its step has shown: all of it, and what of that is counted for good."""

    upgrade: Upgrade
    figures: Figures
    counted: Figures
    counted_to: datetime


@dataclass(frozen=True, slots=True)
class _Known:
    """Of a pair of models: by organization what its trials of late showed, and what they tell each other."""

    shown: Mapping[int, Sequence[Pair]]
    pool: Pool

    def judge(self, upgrade: Upgrade, hours: float, rules: Rules) -> Verdict:
        """What becomes of one trial, by its organization's own calls and what others show."""
        key, share = upgrade.organization_id, upgrade.share_basis_points
        own = self.shown.get(key, ())
        calls = sum(pair.new.calls for pair in own if pair.share_basis_points == share)
        stage = Stage(share, calls, hours, self.pool.calls_without(key, share))
        return judge(own, stage, rules, self.pool.evidence_without(key))


def do_step_trials(now: datetime, rules: Rules | None = None) -> int:
    """Look at every trial; how many went on to another share, or ended."""
    landscape = read_models(now.date())
    pairs = Upgrade.objects.filter(state=State.TRIAL).values_list("old_model", "new_model").distinct().order_by()
    return sum(_step_pair(old, new, now, rules or Rules(), landscape) for old, new in list(pairs))


def _step_pair(old: str, new: str, now: datetime, rules: Rules, landscape: Landscape) -> int:
    running = list(Upgrade.objects.filter(state=State.TRIAL, old_model=old, new_model=new))
    looks = look_at(old, new, now - SETTLED_AFTER)
    seen = [_seen(upgrade, looks.get(upgrade.pk, Look()), now - SETTLED_AFTER) for upgrade in running]
    known = _known(old, new, now, seen, rules)
    worse_in = known.pool.worse_in()
    wanted = {(upgrade.organization_id, upgrade.task) for upgrade in running}
    pins = list(Pin.objects.filter(organization_id__in={organization for organization, _ in wanted}))
    of_trial = {(pin.organization_id, pin.task): pin for pin in pins if (pin.organization_id, pin.task) in wanted}
    terms = terms_of(list(of_trial.values()), now.date())
    moved = 0
    for each in seen:
        upgrade, own = each.upgrade, each.figures
        pin = of_trial.get((upgrade.organization_id, upgrade.task))
        reason, ended_by = "", GATE
        if pin is not None and pin.model == old and pin.trial_model == new:
            gone = next((model for model in (old, new) if model not in landscape.models), None)
            reason = f"{gone} cannot be called any more" if gone else ""
            reason = reason or closed_gate(landscape.models[old], landscape.models[new], terms[pin.pk])
            if not reason and _is_diverted(own):
                reason, ended_by = f"{own.diverted} of its calls could not be sent to {new}", UNAVAILABLE
        else:
            reason, ended_by = "the pin or its setting was changed", PIN
        verdict = known.judge(upgrade, (now - upgrade.step_at).total_seconds() / S_PER_HOUR, rules)
        ended = {"ended_by": ended_by}
        if not reason and verdict.step == "worse":
            reason = verdict.reason
            ended = {"ended_by": WORSE, "signal": worse_in or verdict.signal, "found_by": ALL if worse_in else OWN}
        moved += _do_step(each, verdict, now, (reason, ended))
    return moved


def _seen(upgrade: Upgrade, look: Look, settled_before: datetime) -> _Seen:
    counted = Figures.read(upgrade.counted) + look.settled
    counted_to = max(upgrade.counted_to or upgrade.step_at, settled_before)
    return _Seen(upgrade, counted + look.rest, counted, counted_to)


def _do_step(seen: _Seen, verdict: Verdict, now: datetime, against: tuple[str, Mapping[str, str]]) -> bool:
    """Take the step that is due, where nobody else looked meanwhile; whether it was one."""
    upgrade, (reason, ended) = seen.upgrade, against
    share = upgrade.share_basis_points
    steps = [*upgrade.report.get("steps", ()), {"share": share, **seen.figures.told()}]
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        if reason:
            end(same, State.ROLLED_BACK, reason, now, steps=steps, **ended)
        elif verdict.step == "go_on":
            same.report = {**same.report, "now": steps[-1], "said": verdict.reason}
            same.counted, same.counted_to = seen.counted.told(), seen.counted_to
            same.save(update_fields=["report", "counted", "counted_to"])
            return False
        elif share == STEPS[-2]:
            end(same, State.DONE, verdict.reason, now, steps=steps)
        else:
            same.share_basis_points = STEPS[STEPS.index(share) + 1]
            same.step_at, same.counted, same.counted_to = now, {}, None
            same.report = {**same.report, "steps": steps, "said": verdict.reason, "now": None}
            same.save()
            do_step_trial(move_of(same), same.share_basis_points)
    return True


def _is_diverted(own: Figures) -> bool:
    return own.diverted >= max(LEAST_DIVERTED, MOST_DIVERTED_SHARE * (own.diverted + own.new.calls))


def _known(old: str, new: str, now: datetime, running: Sequence[_Seen], rules: Rules) -> _Known:
    """Of trials that are under way or ended of late: what is older is not held against a new try."""
    late = Q(ended_at=None) | Q(ended_at__gt=now - RULED_OUT_FOR)
    rows = Upgrade.objects.filter(late, old_model=old, new_model=new, state__in=TRIED)
    of_now = {each.upgrade.pk: each.figures for each in running}
    found: defaultdict[int, defaultdict[int, Figures]] = defaultdict(lambda: defaultdict(Figures))
    for pk, key, share, steps in rows.values_list("pk", "organization_id", "share_basis_points", "report__steps"):
        for step in steps or ():
            found[key][step["share"]] += Figures.read(step)
        if pk in of_now:
            found[key][share] += of_now[pk]
    shown = {key: [Pair(share, of.old, of.new) for share, of in sorted(by.items())] for key, by in found.items()}
    return _Known(shown, Pool(shown, paying(shown), rules))
