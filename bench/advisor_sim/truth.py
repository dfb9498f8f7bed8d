"""What each recommendation is really worth: by true qualities, true prices, and the weeks that really come."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from math import exp

from advisor.advice import Kind, Recommendation
from bench.advisor_sim.market import Model
from bench.advisor_sim.organizations import Cell, Organization
from bench.advisor_sim.seen import World, days, monday, spend_on
from routing.selection.policy import threshold

MONTH_WEEKS = 4
TO_MONTH = 30 / 28


@dataclass(frozen=True, slots=True)
class Judged:
    """A recommendation, and the truth of it."""

    week: int
    organization: int
    said: Recommendation
    is_right: bool
    saved_nano: float | None  # a month; None for what saves nothing


def cells_of(organization: Organization, said: Recommendation) -> list[Cell]:
    """Those that the advice would move."""
    named = said.kind in {Kind.CACHING, Kind.SHORTER}
    return [
        cell
        for cell in organization.cells
        if cell.task == said.task
        and ((cell.way == "named" and cell.model == said.subject) or (cell.way != "named" and not named))
    ]


def judge(world: World, organization: Organization, said: Recommendation, week: int) -> Judged:
    """Whether accepting makes the organization better off."""
    saved: float | None = None
    if said.kind in {Kind.UNUSED_KEY, Kind.CAP_SOON}:
        is_right = _key_is_right(world, organization, said, week)
    elif said.kind in {Kind.CACHING, Kind.SHORTER}:
        saved = _thrift(world, cells_of(organization, said), said, week)
        is_right = saved > 0
    else:
        cells = cells_of(organization, said)
        saved = saved_at(world, cells, said.model, week) if said.model else None
        is_right = _pin_is_right(world, cells, said, (week, saved or 0.0))
    return Judged(week, organization.number, said, is_right, saved)


def saved_at(world: World, cells: list[Cell], model: str, week: int) -> float:
    """Nano-USD of the month to come."""
    new, number = world.models[model], world.number(model)
    total = 0.0
    for cell in cells:
        old, old_number = world.models[cell.model], world.number(cell.model)
        for w in range(week, week + MONTH_WEEKS):
            total += cell.charge(old, old_number, w) - cell.charge(new, number, w)
    return total * TO_MONTH


def probability(model: Model, cell: Cell) -> float:
    """Of a good answer to the cell's questions."""
    return 1 / (1 + exp(cell.difficulty - model.true_strength[cell.task]))


def keeps(world: World, cell: Cell, model: Model) -> bool:
    """Whether the model keeps the promise of the cell's calls, towards what answered them before any advice."""
    used = world.models[cell.first_model or cell.model]
    return probability(model, cell) >= threshold(cell.policy or "balanced", probability(used, cell))


def _pin_is_right(world: World, cells: list[Cell], said: Recommendation, when: tuple[int, float]) -> bool:
    week, saved = when
    old = world.models[said.subject]
    if said.kind == Kind.ENDING:
        is_ending = old.is_announced(week) and said.evidence["ends_on"] == monday(old.ends_week or 0).isoformat()
        return is_ending and (not said.model or all(keeps(world, cell, world.models[said.model]) for cell in cells))
    new = world.models[said.model]
    all_keep = all(keeps(world, cell, new) for cell in cells)
    if said.kind == Kind.FAILING:
        return all_keep and old.failures(week - 1) > old.failed and new.failures(week - 1) < old.failures(week - 1)
    if said.kind == Kind.SLOW:
        is_slow = old.log_duration(week - 1) > old.log_ms
        return all_keep and is_slow and new.log_duration(week - 1) < old.log_duration(week - 1)
    is_better = all(probability(new, cell) > probability(world.models[cell.model], cell) for cell in cells)
    if said.kind == Kind.BETTER:
        return is_better and saved >= 0
    return saved > 0 and (all_keep or is_better)


def _thrift(world: World, cells: list[Cell], said: Recommendation, week: int) -> float:
    total = 0.0
    for cell in cells:
        changed = replace(cell, marks=True) if said.kind == Kind.CACHING else replace(cell, log_needless=0.0)
        model, number = world.models[cell.model], world.number(cell.model)
        for w in range(week, week + MONTH_WEEKS):
            total += cell.charge(model, number, w) - changed.charge(model, number, w)
    return total * TO_MONTH


def _key_is_right(world: World, organization: Organization, said: Recommendation, week: int) -> bool:
    key = next(key for key in organization.keys if str(key.key_id) == said.subject)
    if said.kind == Kind.UNUSED_KEY:
        return key.comes_back_in is None or not week <= key.comes_back_in < week + MONTH_WEEKS
    today = monday(week)
    end = date(today.year + today.month // 12, today.month % 12 + 1, 1)
    spent = sum(spend_on(world, organization, key, day) for day in days(today.replace(day=1), end))
    return spent >= (key.cap_nano or 0)


def opportunities(world: World, organization: Organization, week: int, least_nano: float) -> Iterator[tuple[str, str]]:
    """Task types and models in use whose work some model that may be called really does as well for so much less.

    What accepted advice put in place is not looked at: what is left to save there is the advice's doing, and is in what
    it brought.
    """
    for cell in organization.cells:
        if cell.first_model:
            continue
        there = [model for model in world.models.values() if _able(organization, cell, model, week)]
        best = max(there, key=lambda model: probability(model, cell), default=None)
        for model in there:
            is_kept = keeps(world, cell, model)
            if cell.way == "policy" and best is not None:  # a policy promises something towards the best there is
                is_kept = is_kept and probability(model, cell) >= threshold(cell.policy, probability(best, cell))
            if is_kept and saved_at(world, [cell], model.id, week) > least_nano:
                yield cell.task, cell.model
                break


def _able(organization: Organization, cell: Cell, model: Model, week: int) -> bool:
    needed = {"vision": "vision", "tool-use": "tools"}.get(cell.task)
    is_there = model.is_there(week) and not model.is_announced(week)
    return is_there and organization.may(model.id) and (needed is None or needed in model.capabilities)
