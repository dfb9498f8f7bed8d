"""Trials of newer models: watched, grown, or ended by what their calls show. advisor.canary judges."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction

from advisor.actions.upgrades import (
    GATE,
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
from advisor.trial_sql import Figures, Look, look_at
from advisor.upgrades import closed_gate
from routing.actions.trials import do_step_trial
from routing.selection.models import Pin

LEAST_DIVERTED = 20  # calls of a trial that could not be sent to the newer model, before that ends it
MOST_DIVERTED_SHARE = 0.5  # of the calls that were the newer model's
VOTES_OF_OTHERS = 1  # bad ones that each other organization may cast for or against a model of a pair
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
class _Pooled:
    """All that is known of a pair: by share over all organizations, and of each upgrade the shares it had."""

    by_upgrade: Mapping[int, Mapping[int, Figures]]

    def pairs_for(self, upgrade: Upgrade) -> list[Pair]:
        """As far as they may speak about this upgrade: whose own votes count in full, others' hardly."""
        sums: defaultdict[int, Figures] = defaultdict(Figures)
        for of, shares in self.by_upgrade.items():
            for share, figures in shares.items():
                sums[share] += figures if of == upgrade.pk else _others(figures)
        return [Pair(share, sums[share].old, sums[share].new) for share in sorted(sums)]

    def calls_of_new(self, share: int) -> int:
        """Whoever tried it with this share."""
        return sum(shares[share].new.calls for shares in self.by_upgrade.values() if share in shares)


def do_step_trials(now: datetime, rules: Rules | None = None) -> int:
    """Look at every trial; how many went on to another share, or ended."""
    landscape = read_models(now.date())
    pairs = Upgrade.objects.filter(state=State.TRIAL).values_list("old_model", "new_model").distinct().order_by()
    return sum(_step_pair(old, new, now, rules or Rules(), landscape) for old, new in list(pairs))


def _step_pair(old: str, new: str, now: datetime, rules: Rules, landscape: Landscape) -> int:
    running = list(Upgrade.objects.filter(state=State.TRIAL, old_model=old, new_model=new))
    looks = look_at(old, new, now - SETTLED_AFTER)
    seen = [_seen(upgrade, looks.get(upgrade.pk, Look()), now - SETTLED_AFTER) for upgrade in running]
    pooled = _pool(old, new, now, seen)
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
        hours = (now - upgrade.step_at).total_seconds() / S_PER_HOUR
        share = upgrade.share_basis_points
        verdict = judge(pooled.pairs_for(upgrade), Stage(share, pooled.calls_of_new(share), hours), rules)
        if not reason and verdict.step == "worse":
            reason, ended_by = verdict.reason, WORSE
        moved += _do_step(each, verdict, (reason, ended_by), now)
    return moved


def _seen(upgrade: Upgrade, look: Look, settled_before: datetime) -> _Seen:
    counted = Figures.read(upgrade.counted) + look.settled
    counted_to = max(upgrade.counted_to or upgrade.step_at, settled_before)
    return _Seen(upgrade, counted + look.rest, counted, counted_to)


def _do_step(seen: _Seen, verdict: Verdict, against: tuple[str, str], now: datetime) -> bool:
    """Take the step that is due, where nobody else looked meanwhile; whether it was one."""
    upgrade, (reason, ended_by) = seen.upgrade, against
    share = upgrade.share_basis_points
    steps = [*upgrade.report.get("steps", ()), {"share": share, **seen.figures.told()}]
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        if reason:
            end(same, State.ROLLED_BACK, reason, now, steps=steps, ended_by=ended_by)
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


def _pool(old: str, new: str, now: datetime, running: Sequence[_Seen]) -> _Pooled:
    found: dict[int, dict[int, Figures]] = {}
    for each in running:
        found[each.upgrade.pk] = _by_share(each.upgrade)
        found[each.upgrade.pk][each.upgrade.share_basis_points] += each.figures
    rows = Upgrade.objects.filter(old_model=old, new_model=new, created_at__gt=now - 2 * RULED_OUT_FOR)
    found |= {row.pk: _by_share(row) for row in rows if row.pk not in found}
    return _Pooled(found)


def _by_share(upgrade: Upgrade) -> defaultdict[int, Figures]:
    """What its steps showed that are over."""
    shares: defaultdict[int, Figures] = defaultdict(Figures)
    for step in upgrade.report.get("steps", ()):
        shares[step["share"]] += Figures.read(step)
    return shares


def _others(figures: Figures) -> Figures:
    """Anybody may vote: so that nobody ends others' trials, an organization's votes are one to them."""
    old, new = (replace(arm, disliked=min(arm.disliked, VOTES_OF_OTHERS)) for arm in (figures.old, figures.new))
    return Figures(old, new, figures.diverted)
