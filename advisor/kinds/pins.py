"""Another model for a task type: cheaper with the promise kept, or better at no higher cost; or new and one of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from advisor.advice import Kind, Recommendation, Saving
from advisor.brief import Brief, Work
from advisor.cost import expected_share, saving_at, stated, tokenizer_error, windows_a_month, work_now_nano
from advisor.evidence import Candidate
from advisor.moved import Moved
from advisor.promise import able, better, first_used, kept, known_of
from advisor.statistics import sigmoid

SHORTLIST = 6  # candidates whose saving is computed in full: the distribution costs more than the middle


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate for one kind of work, with what is expected of it."""

    candidate: Candidate
    kept: float  # probability of the promise
    confidence: float  # of promise and saving together
    saving: Saving


def advise(brief: Brief) -> Iterator[Recommendation]:
    """The best advice about each kind of work that is worth a word."""
    for work in brief.works:
        if brief.is_worth_a_word(work):
            found = _cheaper(brief, work) or _better(brief, work)
            if found is not None:
                yield found


def others(brief: Brief, work: Work) -> list[Candidate]:
    """Models that could do the work and that are not in place already."""
    in_place = {work.model, brief.evidence.pins.get(work.task)}
    return [model for model in able(brief, work) if model.id not in in_place]


def _cheaper(brief: Brief, work: Work) -> Recommendation | None:
    rules = brief.rules
    options = [option for option in _shortlist(brief, work) if _is_worth_it(brief, work, option)]
    if not options:
        return None
    best = max(options, key=lambda option: (_utility(rules.wrong_costs_savings, option), option.candidate.id))
    return told(brief, work, best, Kind.CHEAPER)


def _is_worth_it(brief: Brief, work: Work, option: Option) -> bool:
    rules = brief.rules
    least = max(rules.least_saving_nano, rules.least_saving_share * work.charge_nano * brief.per_month)
    return option.saving.low_nano > least and option.confidence >= rules.least_confidence


def _utility(wrong_costs: float, option: Option) -> float:
    """What the advice is worth: its saving, less what it costs to be wrong. So the surer of two near ones wins."""
    return option.saving.mid_nano * (1 - wrong_costs * (1 - option.confidence))


def _priced(brief: Brief, work: Work, most: float) -> Iterator[tuple[float, Candidate]]:
    """The candidates that cost at most this share of what the work costs now, and which share."""
    now = work_now_nano(brief, work)
    for candidate in others(brief, work):
        share = expected_share(brief, work, candidate, now)
        if share is not None and share <= most:
            yield share, candidate


def _shortlist(brief: Brief, work: Work) -> Iterator[Option]:
    """The candidates of the highest expected worth, computed in full."""
    rules = brief.rules
    rough = []
    for share, candidate in _priced(brief, work, 1 - rules.least_saving_share):
        promise = kept(brief, work, candidate)
        if promise >= rules.least_confidence:
            worth = (1 - share) * (1 - rules.wrong_costs_savings * (1 - promise))
            rough.append((worth, candidate.id, promise, candidate))
    for _, _, promise, candidate in sorted(rough, key=lambda found: found[:2], reverse=True)[:SHORTLIST]:
        option = weighed(brief, work, candidate, promise)
        if option is not None:
            yield option


def weighed(brief: Brief, work: Work, candidate: Candidate, promise: float) -> Option | None:
    """The candidate with its saving in full; None where it has no price for what the calls use."""
    outcomes = saving_at(brief, work, candidate)
    if outcomes is None:
        return None
    return Option(candidate, promise, promise * outcomes.above_nothing, stated(outcomes))


def _better(brief: Brief, work: Work) -> Recommendation | None:
    """The model that most surely is better, of those that most surely cost no more."""
    least = brief.rules.better_confidence
    options = []
    for _, candidate in _priced(brief, work, 1.0):
        chance = better(brief, work, candidate)
        option = weighed(brief, work, candidate, chance) if chance >= least else None
        if option is not None and option.confidence >= least and kept(brief, work, candidate) >= least:
            options.append(option)
    if not options:
        return None
    best = max(options, key=lambda option: (option.confidence, option.saving.mid_nano, option.candidate.id))
    return told(brief, work, best, Kind.BETTER)


def told(brief: Brief, work: Work, option: Option, kind: Kind) -> Recommendation:
    """The advice with the figures that it rests on."""
    today, rules, candidate = brief.landscape.today, brief.rules, option.candidate
    is_new = (today - candidate.first_seen_on).days <= rules.new_model_days
    if is_new and kind in {Kind.CHEAPER, Kind.BETTER}:
        kind = Kind.NEW_MODEL
    return Recommendation(
        kind=kind,
        subject=work.model,
        task=work.task,
        model=candidate.id,
        saving=option.saving,
        confidence=option.confidence,
        evidence=figures(brief, work, option),
        moved=moved(brief, work, option),
        risks=risks(brief, work, option),
        expires_on=today + timedelta(days=rules.life_days),
    )


def figures(brief: Brief, work: Work, option: Option) -> dict[str, float | int | str]:
    """Of the work, and of both models: what a reader can check."""
    difficulty = max(work.tallies, key=lambda tally: tally.charge_nano).difficulty
    found: dict[str, float | int | str] = {
        "days": brief.evidence.days,
        "calls": round(work.requests),
        "calls_read": work.seen,
        "charge_nano": round(work.charge_nano),
        "input_tokens": round(sum(tally.input_tokens for tally in work.tallies)),
        "output_tokens": round(sum(tally.output_tokens for tally in work.tallies)),
        "cached_tokens": round(work.tokens("cache_read")),
        "promise_kept": round(option.kept, 4),
        "way": "named" if work.is_named else "routed",
    }
    pair = known_of(brief, work, first_used(brief, work.task, work.model), option.candidate)
    if pair is not None:
        found["quality_now"], found["quality_then"] = (round(sigmoid(one.mean - difficulty), 4) for one in pair)
    return found


def moved(brief: Brief, work: Work, option: Option) -> Moved:
    """What its effect will be measured against: of the saving that is stated, callers have a part to do themselves."""
    part, saving = work.moved, option.saving
    if part is not work:
        outcomes = saving_at(brief, part, option.candidate)
        assert outcomes is not None, "the candidate has a price for all of the work"
        saving = stated(outcomes)
    windows = windows_a_month(brief, part)
    return Moved.of(part.tallies, (round(saving.low_nano / windows), round(saving.high_nano / windows)))


def risks(brief: Brief, work: Work, option: Option) -> tuple[str, ...]:
    """Codes of what could get worse."""
    candidate, landscape = option.candidate, brief.landscape
    used = landscape.models.get(work.model)
    health = landscape.health.get(candidate.id)
    is_little_known = health is None or health.calls + health.calls_before < brief.rules.least_health_calls
    found = {
        "quality": used is None or candidate.strength[work.task] < used.strength.get(work.task, 0.0),
        "length": (candidate.id, work.task) not in landscape.outputs,
        "tokenizer": tokenizer_error(landscape, (work.model, candidate.id), brief.rules) > 0,
        "cache": work.tokens("cache_read") > 0,  # begins empty, and other providers keep it for another time
        "slower": candidate.is_reasoning and used is not None and not used.is_reasoning,
        "little_known": is_little_known,
        "named": work.is_named,  # a pin moves only calls that name no model: the caller has something to change
        "dearer": option.saving.mid_nano < 0,
    }
    return tuple(code for code, holds in found.items() if holds)
