"""Thirteen Mondays: evidence, letters, what the organizations do about them, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from advisor.advice import PINS, Kind, Recommendation
from advisor.brief import Said
from advisor.evidence import Evidence, Landscape
from advisor.recommend import recommend
from advisor.retirement import move_of
from advisor.rules import Rules
from advisor.upgrades import Terms, Use
from bench.advisor_sim.market import FIRST_WEEK, WEEKS, make_models
from bench.advisor_sim.organizations import NANO, Cell, Organization, make_organizations, policy_choice
from bench.advisor_sim.seen import World, evidence_of, landscape_of, monday, vote
from bench.advisor_sim.truth import Judged, cells_of, judge, opportunities

LEAST_SAVING_NANO = 20 * NANO  # that ought to be found
LAST_OPPORTUNITY = WEEKS - 3  # one that arises later has no time to be seen
WEEK_HOURS = 7 * 24
ANSWERED = 0.8  # accepted, or dismissed


@dataclass(slots=True)
class Quarter:
    """All that happened."""

    judged: list[Judged] = field(default_factory=list)
    to_find: set[tuple[int, str, str]] = field(default_factory=set)
    moved_pins: int = 0
    late_pins: int = 0
    silent: int = 0  # letters that were not written
    letters: int = 0
    pools: list[list[float]] = field(default_factory=list)  # by model: pinned calls an hour at the end, by organization

    @property
    def found(self) -> set[tuple[int, str, str]]:
        """Of `to_find`, what got advice."""
        said = {
            (judged.organization, judged.said.task, judged.said.subject)
            for judged in self.judged
            if judged.said.kind in PINS and judged.said.model
        }
        return self.to_find & said


type Advisor = Callable[[Evidence, Landscape, list[Said], Rules], list[Recommendation]]


def run(seed: int, organizations: int = 200, weeks: int = WEEKS, advisor: Advisor = recommend) -> Quarter:
    """One quarter; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    models = make_models(rng)
    world = World(models, make_organizations(rng, models, organizations))
    quarter, histories = Quarter(), {organization.number: list[Said]() for organization in world.organizations}
    for week in range(FIRST_WEEK, 0):
        _serve(world, week)
        vote(world, week, rng)
    for week in range(weeks):
        landscape = landscape_of(world, week, rng)
        for organization in world.organizations:
            history = histories[organization.number]
            evidence = evidence_of(world, organization, week, rng)
            if week < LAST_OPPORTUNITY:
                there = opportunities(world, organization, week, LEAST_SAVING_NANO)
                quarter.to_find.update((organization.number, *found) for found in there)
            told = advisor(evidence, landscape, history, Rules())
            quarter.letters, quarter.silent = quarter.letters + bool(told), quarter.silent + (not told)
            for said in told:
                quarter.judged.append(judge(world, organization, said, week))
            for said in told:
                history.append(_answered(organization, said, week, rng))
        _move_pins(world, quarter, landscape)
        _serve(world, week)
        vote(world, week, rng)
    quarter.pools = _pools(world, weeks - 1)
    return quarter


def _pools(world: World, week: int) -> list[list[float]]:
    """What trials of an upgrade would share: the pinned calls of one model, of each organization that has pinned it."""
    pools: dict[str, dict[int, float]] = {}
    for organization in world.organizations:
        for cell in organization.cells:
            if cell.way == "pinned":
                of_model = pools.setdefault(cell.model, {})
                hourly = float(cell.calls[week - FIRST_WEEK]) / WEEK_HOURS
                of_model[organization.number] = of_model.get(organization.number, 0.0) + hourly
    return [list(pools[model].values()) for model in sorted(pools)]


def _answered(organization: Organization, said: Recommendation, week: int, rng: np.random.Generator) -> Said:
    """What the organization does: more than half is accepted, some dismissed, some left lying."""
    luck = rng.random()
    state = "accepted" if luck < organization.accepts else "dismissed" if luck < ANSWERED else "open"
    if state == "accepted" and (said.model or said.kind not in PINS):
        _accept(organization, said)
    year, number, _ = monday(week).isocalendar()
    return Said(f"{year}-W{number:02}", said.kind, said.subject, said.task, said.model, state, said.saving.mid_nano)


def _accept(organization: Organization, said: Recommendation) -> None:
    if said.kind in PINS:
        for cell in cells_of(organization, said):
            cell.first_model = cell.first_model or cell.model
            cell.model, cell.way = said.model, "pinned"
        organization.pins[said.task] = said.model
    elif said.kind == Kind.CACHING:
        for cell in cells_of(organization, said):
            cell.marks = True
    elif said.kind == Kind.SHORTER:
        for cell in cells_of(organization, said):
            cell.log_needless = 0.0
    elif said.kind == Kind.UNUSED_KEY:
        organization.keys = [key for key in organization.keys if str(key.key_id) != said.subject]
    else:
        key = next(key for key in organization.keys if str(key.key_id) == said.subject)
        key.cap_nano = (key.cap_nano or 0) * 2


def _move_pins(world: World, quarter: Quarter, landscape: Landscape) -> None:
    """What the nightly job does. It is late where a pin's model has ended already."""
    for organization in world.organizations:
        for task, model in list(organization.pins.items()):
            quarter.late_pins += model in landscape.retired
            pinned = [cell for cell in organization.cells if cell.task == task and cell.way == "pinned"]
            use = Use(pinned[0].tokens(world.models[model], world.number(model)) if pinned else {}, 1.0)
            move = move_of(model, landscape, Terms({}, keys=[organization.may_call], use=use))
            if move is None:
                continue
            quarter.moved_pins += 1
            for cell in pinned:
                cell.policy = cell.policy or "balanced"
                cell.way = "pinned" if move.model else "policy"
                cell.model = move.model or cell.model
            if move.model:
                organization.pins[task] = move.model
            else:
                del organization.pins[task]


def _serve(world: World, week: int) -> None:
    """Who answers this week: policies choose anew, and callers whose model has ended take another one."""
    for organization in world.organizations:
        for cell in organization.cells:
            if cell.way == "policy" or not world.models[cell.model].is_there(week):
                chosen = policy_choice(organization, _as_policy(cell), list(world.models.values()), week)
                cell.model = chosen or cell.model
            cell.served[week] = (cell.model, cell.way)


def _as_policy(cell: Cell) -> Cell:
    cell.policy = cell.policy or "balanced"
    return cell
