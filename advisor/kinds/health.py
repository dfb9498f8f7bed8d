"""A model in use that fails more than before, answers more slowly, or ends: with what could take its place."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from math import log

from advisor.advice import Kind, Recommendation
from advisor.brief import Brief, Work
from advisor.evidence import Candidate, Health
from advisor.kinds import pins
from advisor.promise import kept
from advisor.statistics import normal_cdf, probability_higher


def advise(brief: Brief) -> Iterator[Recommendation]:
    """At most one for each kind of work; a model that ends before one that is ill."""
    for work in brief.works:
        if not _matters(brief, work):
            continue
        found = ending(brief, work) or _ill(brief, work)
        if found is not None:
            yield found


def _matters(brief: Brief, work: Work) -> bool:
    """Fewer calls than for a saving will do: what ends is an outage for whoever uses it. But still in use."""
    own = [tally for tally in work.tallies if tally.model == work.model]
    return bool(work.by_week) and any(tally.by_week[-1] > 0 for tally in own)


def ending(brief: Brief, work: Work) -> Recommendation | None:
    """That the model ends within `ending_days`; None where it does not.

    Another one is recommended only where it keeps the promise; the maker's successor is named in any case.
    """
    rules, today = brief.rules, brief.landscape.today
    ends_on = end_of(brief, work.model)
    if ends_on is None or (ends_on - today).days > rules.ending_days:
        return None
    named = _successor_of(brief, work.model)
    option = _successor(brief, work, named) or alternative(brief, work, None)
    figures: dict[str, float | int | str] = {"ends_on": ends_on.isoformat(), "days_left": (ends_on - today).days}
    if named is not None:
        figures["successor"] = named
    return warning(brief, work, Kind.ENDING, option, (1.0, figures, max(ends_on, today + timedelta(days=7))))


def end_of(brief: Brief, model: str) -> date | None:
    """The day from which the model answers no more, where one is known."""
    known = brief.landscape.models.get(model)
    if known is not None:
        return known.sunset_on
    return brief.landscape.today if model in brief.landscape.retired else None


def _successor_of(brief: Brief, model: str) -> str | None:
    known = brief.landscape.models.get(model)
    return known.successor if known is not None else brief.landscape.retired.get(model)


def _successor(brief: Brief, work: Work, named: str | None) -> pins.Option | None:
    """What the maker names, where the organization may call it, it can do the work, and keeps the promise."""
    for candidate in pins.others(brief, work):
        if candidate.id == named:
            promise = kept(brief, work, candidate)
            return pins.weighed(brief, work, candidate, promise) if promise >= brief.rules.least_confidence else None
    return None


def alternative(brief: Brief, work: Work, faster_than_log_ms: float | None) -> pins.Option | None:
    """The one that most surely keeps the promise, of those that do not cost much more; of equals the cheapest."""
    rules = brief.rules
    found = []
    for candidate in pins.others(brief, work):
        if faster_than_log_ms is not None and not _is_faster(brief, candidate, faster_than_log_ms):
            continue
        promise = kept(brief, work, candidate)
        option = pins.weighed(brief, work, candidate, promise) if promise >= rules.least_confidence else None
        most_dearer = rules.health_dearer_share * work.charge_nano * brief.per_month
        if option is not None and option.saving.mid_nano >= -most_dearer:
            found.append(option)
    return max(
        found, key=lambda option: (round(option.kept, 2), option.saving.mid_nano, option.candidate.id), default=None
    )


def _is_faster(brief: Brief, candidate: Candidate, than_log_ms: float) -> bool:
    health = brief.landscape.health.get(candidate.id)
    is_measured = health is not None and health.calls >= brief.rules.least_health_calls
    return health is not None and is_measured and health.log_ms_mean < than_log_ms


def _ill(brief: Brief, work: Work) -> Recommendation | None:
    """Worse beyond chance than it was, and something better at hand; of failing and slow the former."""
    rules, health = brief.rules, brief.landscape.health.get(work.model)
    if health is None or min(health.calls, health.calls_before) < rules.least_health_calls:
        return None
    failing = probability_higher(
        (health.failed, health.calls), (health.failed_before, health.calls_before), rules.failing_more
    )
    slower = _slower(health, rules.slower_ratio)
    if failing >= rules.health_confidence:
        kind, chance, limit = Kind.FAILING, failing, None
    elif slower >= rules.health_confidence:
        kind, chance, limit = Kind.SLOW, slower, health.log_ms_mean - log(rules.slower_ratio)
    else:
        return None
    option = alternative(brief, work, limit)
    if option is None:
        return None
    figures: dict[str, float | int | str] = {
        "health_calls": health.calls,
        "failed_share": round(health.failed / health.calls, 4),
        "failed_share_before": round(health.failed_before / health.calls_before, 4),
        "log_ms": round(health.log_ms_mean, 3),
        "log_ms_before": round(health.log_ms_before, 3),
    }
    expires_on = brief.landscape.today + timedelta(days=7)  # it may be well again by then
    return warning(brief, work, kind, option, (chance, figures, expires_on))


def _slower(health: Health, ratio: float) -> float:
    if health.log_ms_error <= 0:
        return 0.0
    return normal_cdf((health.log_ms_mean - health.log_ms_before - log(ratio)) / health.log_ms_error)


def warning(
    brief: Brief,
    work: Work,
    kind: Kind,
    option: pins.Option | None,
    about: tuple[float, dict[str, float | int | str], date],
) -> Recommendation:
    """The advice about a model in trouble; without another where nothing can take its place.

    `about`: how sure, figures, when it expires.
    """
    chance, figures, expires_on = about
    if option is None:
        calls = round(work.requests)
        return Recommendation(
            kind, work.model, work.task, confidence=chance, evidence={"calls": calls, **figures}, expires_on=expires_on
        )
    told = pins.told(brief, work, option, kind)
    return replace(told, confidence=chance * option.kept, evidence={**told.evidence, **figures}, expires_on=expires_on)
