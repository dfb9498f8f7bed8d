"""What the advisor sees of the simulated quarter: sums, a tenth of the named calls read, published strengths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import exp, log

import numpy as np

from advisor.evidence import Candidate, Evidence, Health, KeyFact, Landscape, Output, Tally, Way
from advisor.feedback import Voted, with_votes
from bench.advisor_sim.market import FIRST_WEEK, Model
from bench.advisor_sim.organizations import MONDAY, Cell, Key, Organization, charge_of
from routing.selection.guesses import GUESSES

WINDOW_WEEKS = 4
READ_SHARE = 0.1
CALL_SPREAD = 0.9  # of the logarithm of a call's size
DURATION_SPREAD = 0.8
LEAST_ORGANIZATIONS = 3  # that must have used a model for a task type
MOST_CALLS = 200  # that one organization weighs in what is everybody's


@dataclass(slots=True)
class Part:
    """What one cell had one model do in the window, before anything is sampled."""

    cell: Cell
    way: Way
    calls: float
    tokens: dict[str, float]
    by_week: list[float]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is true."""

    models: Mapping[str, Model]
    organizations: list[Organization]
    voted: list[Voted] = field(default_factory=list)  # of all weeks so far
    _numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {id_: number for number, id_ in enumerate(self.models)})

    def number(self, model: str) -> int:
        """Its place in the rows of cells."""
        return self._numbers[model]


def monday(week: int) -> date:
    """The day of the letter."""
    return MONDAY + timedelta(weeks=week)


def evidence_of(world: World, organization: Organization, week: int, rng: np.random.Generator) -> Evidence:
    """The four weeks before this Monday, as they are known."""
    by_model: dict[tuple[str, Way], list[Part]] = {}
    for cell in organization.cells:
        for part, model in _parts(world, cell, week):
            by_model.setdefault((model, part.way), []).append(part)
    tallies = [
        tally for (model, _), parts in by_model.items() for tally in _tallies(world.models[model], parts, week, rng)
    ]
    keys = [_key_fact(world, organization, key, week) for key in organization.keys]
    return Evidence(
        organization.number,
        monday(week) - timedelta(days=1),
        WINDOW_WEEKS * 7,
        tallies,
        keys,
        dict(organization.pins),
        organization.may_call,
    )


def _parts(world: World, cell: Cell, week: int) -> list[tuple[Part, str]]:
    window = range(week - WINDOW_WEEKS, week)
    found = []
    for model_id, way in sorted({cell.served[w] for w in window if w in cell.served}):
        model, number = world.models[model_id], world.number(model_id)
        mean = cell.tokens(model, number)
        volumes = [cell.volume(w) if cell.served.get(w) == (model_id, way) else 0.0 for w in window]
        calls = sum(float(cell.calls[w - FIRST_WEEK]) for w in window if cell.served.get(w) == (model_id, way))
        if calls:
            tokens = {bucket: units * sum(volumes) for bucket, units in mean.items()}
            by_week = [charge_of(mean, model.prices(w)) * volume for w, volume in zip(window, volumes, strict=True)]
            found.append((Part(cell, way, calls, tokens, by_week), model_id))
    return found


def _tallies(model: Model, parts: list[Part], week: int, rng: np.random.Generator) -> list[Tally]:
    """Routed calls are known one by one; of named ones a sample says how the sums are shared out."""
    if parts[0].way != "named":
        return [_tally(model, part, (round(part.calls), part.tokens), week, rng) for part in parts]
    seen = [int(rng.binomial(round(part.calls), READ_SHARE)) for part in parts]
    if not sum(seen):
        return []
    calls = sum(part.calls for part in parts)
    sampled = [_sampled(part, count, rng) for part, count in zip(parts, seen, strict=True)]
    found = []
    for part, count, mine in zip(parts, seen, sampled, strict=True):
        if not count:
            continue
        tokens = {}
        for bucket in mine:
            whole, read = sum(p.tokens[bucket] for p in parts), sum(s[bucket] for s in sampled)
            tokens[bucket] = whole * mine[bucket] / read if read else 0.0
        charges = [charge_of(s, model.prices(week - 1)) for s in sampled]
        share = charge_of(mine, model.prices(week - 1)) / sum(charges)
        whole_weeks = [sum(p.by_week[w] for p in parts) * share for w in range(WINDOW_WEEKS)]
        stands_for = Part(part.cell, part.way, calls * count / sum(seen), tokens, whole_weeks)
        found.append(_tally(model, stands_for, (count, tokens), week, rng))
    return found


def _sampled(part: Part, count: int, rng: np.random.Generator) -> dict[str, float]:
    """The tokens of the calls that were read: inputs and outputs vary from call to call, each by itself."""
    if not count:
        return dict.fromkeys(part.tokens, 0.0)
    noise = {side: max(1 + rng.normal(0, CALL_SPREAD / count**0.5), 0.1) for side in ("input", "output")}
    share = count / part.calls
    return {b: units * share * noise["output" if b == "output" else "input"] for b, units in part.tokens.items()}


def _tally(
    model: Model,
    part: Part,
    known: tuple[int, dict[str, float]],
    week: int,
    rng: np.random.Generator,
) -> Tally:
    cell = part.cell
    seen, tokens = known
    window = range(week - WINDOW_WEEKS, week)
    votes = [cell.voted[w] for w in window if w in cell.voted and cell.served[w] == (model.id, part.way)]
    is_routed = part.way != "named"
    return Tally(
        task=cell.task,
        model=model.id,
        way=part.way,
        policy=(cell.policy or "balanced") if is_routed else "",
        requests=part.calls,
        seen=seen,
        tokens=tokens,
        charge_nano=sum(part.by_week),
        by_week=part.by_week,
        failed=int(rng.binomial(seen, model.failures(week - 1))),
        cut=int(rng.binomial(seen, cell.cut)),
        difficulty=cell.difficulty + float(rng.normal(0, 0.1)),
        log_ms_mean=model.log_duration(week - 1),
        log_ms_variance=DURATION_SPREAD**2,
        votes=sum(count for count, _ in votes),
        score=sum(score for _, score in votes),
    )


def vote(world: World, week: int, rng: np.random.Generator) -> None:
    """What people say of a week's answers: kinder or sterner than the truth, as they are."""
    for organization in world.organizations:
        for cell in organization.cells:
            model = world.models[cell.served[week][0]]
            votes = int(rng.binomial(round(float(cell.calls[week - FIRST_WEEK])), cell.votes))
            if votes:
                good = 1 / (1 + exp(cell.difficulty - model.true_strength[cell.task] - cell.kindness))
                score = float(rng.binomial(votes, good))
                world.voted.append(Voted(organization.number, model.id, cell.task, votes, score, cell.difficulty))
                cell.voted[week] = (votes, score)


def _key_fact(world: World, organization: Organization, key: Key, week: int) -> KeyFact:
    today = monday(week)
    last = key.last_used_on
    if key.comes_back_in is not None and key.comes_back_in < week:
        last = monday(key.comes_back_in)
    last = None if last is None else min(last, today - timedelta(days=1))
    if key.cap_nano is None:
        used = today - timedelta(days=1) if key.share else last
        return KeyFact(key.key_id, f"key {key.key_id}", key.made_on, used, None)
    spent = sum(spend_on(world, organization, key, day) for day in days(today.replace(day=1), today))
    lately = [spend_on(world, organization, key, day) for day in days(today - timedelta(days=14), today)]
    ends_on = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    return KeyFact(
        key_id=key.key_id,
        name=f"key {key.key_id}",
        made_on=key.made_on,
        last_used_on=today - timedelta(days=1),
        models_allowed=None,
        cap_nano=key.cap_nano,
        spent_nano=round(spent),
        period_ends_on=ends_on,
        daily_nano=sum(lately) / len(lately),
    )


def days(first: date, end: date) -> list[date]:
    """From the first up to, not with, the end."""
    return [first + timedelta(days=i) for i in range((end - first).days)]


def spend_on(world: World, organization: Organization, key: Key, day: date) -> float:
    """Nano-USD of a key on a day; of the weeks to come at the model that is in use now."""
    offset = (day - MONDAY).days
    week = max(offset // 7, FIRST_WEEK)
    total = 0.0
    for cell in organization.cells:
        model = cell.served.get(week, (cell.model, cell.way))[0]
        total += cell.charge(world.models[model], world.number(model), week)
    return total / 7 * key.share * float(organization.days[min(offset - FIRST_WEEK * 7, len(organization.days) - 1)])


def landscape_of(world: World, week: int, rng: np.random.Generator) -> Landscape:
    """What everybody can know on this Monday."""
    there = {id_: model for id_, model in world.models.items() if model.is_there(week)}
    published = {id_: _candidate(model, week) for id_, model in there.items()}
    return Landscape(
        models=with_votes(published, world.voted),
        outputs=_outputs(world, week, rng),
        health=_health(world, week, rng),
        today=monday(week),
        retired={
            id_: model.successor
            for id_, model in world.models.items()
            if model.ends_week is not None and model.ends_week <= week
        },
    )


def _candidate(model: Model, week: int) -> Candidate:
    ends = monday(model.ends_week) if model.ends_week is not None and model.is_announced(week) else None
    prices = model.prices(week)
    return Candidate(
        id=model.id,
        maker=model.maker,
        prices=prices | ({"input_image": prices["input"]} if "vision" in model.capabilities else {}),
        tiers=(),
        capabilities=model.capabilities,
        context_length=200_000,
        max_output=32_000,
        strength=model.strength,
        error=model.error,
        first_seen_on=monday(model.first_week),
        line=model.id,
        sunset_on=ends,
        successor=model.successor,
        is_reasoning=model.thinks,
    )


def _outputs(world: World, week: int, rng: np.random.Generator) -> dict[tuple[str, str], Output]:
    """Means over organizations, each of which has its own questions."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for organization in world.organizations:
        for cell in organization.cells:
            for part, model in _parts(world, cell, week):
                spread = GUESSES.tasks[cell.task].spread
                mean = cell.tokens(world.models[model], world.number(model))["output"]
                found.setdefault((model, cell.task), []).append(
                    (log(mean) - spread**2 / 2, min(part.calls, MOST_CALLS))
                )
    outputs = {}
    for (model, task), values in found.items():
        if len(values) < LEAST_ORGANIZATIONS:
            continue
        weights = np.array([weight for _, weight in values])
        share = weights / weights.sum()
        error = float((0.8**2 / weights.sum() + 0.35**2 * (share**2).sum()) ** 0.5)
        mean = float((share * np.array([value for value, _ in values])).sum())
        noise = float(rng.normal(0, 0.8 / weights.sum() ** 0.5))
        outputs[model, task] = Output(mean + noise, error, int(weights.sum()))
    return outputs


def _health(world: World, week: int, rng: np.random.Generator) -> dict[str, Health]:
    found = {}
    calls = {w: _calls_by_model(world, w) for w in range(week - WINDOW_WEEKS, week)}
    for id_, model in world.models.items():
        now = round(calls[week - 1].get(id_, 0))
        before = {w: round(calls[w].get(id_, 0)) for w in range(week - WINDOW_WEEKS, week - 1)}
        count = sum(before.values())
        if not now:
            continue
        durations = sum(model.log_duration(w) * n for w, n in before.items()) / count if count else 0.0
        error = DURATION_SPREAD * (1 / now + 1 / max(count, 1)) ** 0.5
        found[id_] = Health(
            calls=now,
            failed=int(rng.binomial(now, model.failures(week - 1))),
            calls_before=count,
            failed_before=sum(int(rng.binomial(n, model.failures(w))) for w, n in before.items()),
            log_ms_mean=model.log_duration(week - 1) + float(rng.normal(0, error + 0.03)),
            log_ms_before=durations,
            log_ms_error=(error**2 + 0.05**2) ** 0.5,
        )
    return found


def _calls_by_model(world: World, week: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for organization in world.organizations:
        for cell in organization.cells:
            if week in cell.served:
                model = cell.served[week][0]
                found[model] = found.get(model, 0.0) + min(float(cell.calls[week - FIRST_WEEK]), MOST_CALLS)
    return found
