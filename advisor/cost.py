"""What the same work would cost at another model, with what is not known about it.

Three things are unknown, and independent: how many tokens another maker's tokenizer makes of the same text, how much
the other model writes, and how much work there will be. The first two are log-normal ratios, the third varies from week
to week as it did. A grid of equally likely values of each gives the distribution of the saving; nothing is drawn.
"""

from collections.abc import Sequence
from math import exp, fsum

import numpy as np

from advisor.advice import Saving
from advisor.brief import Brief, Costs, Work
from advisor.evidence import OUTPUT, Candidate, Landscape, Tally
from advisor.rules import Rules
from advisor.statistics import Floats, Normal, Outcomes, relative_error, scaled
from billing.prices import PRICED_AS, UNITS_PER_PRICE

MONTH_WEEKS = 30 / 7


def costs_at(candidate: Candidate, tally: Tally) -> Costs | None:
    """The tally's own tokens at the candidate's prices; None where it has no price for what is used."""
    mean_input = tally.input_tokens / tally.requests if candidate.tiers and tally.requests else 0.0
    prices = candidate.prices_for(mean_input)
    unmarked = needs_marks(candidate) and not tally.tokens.get("cache_write")
    total_input, total_output = 0.0, 0.0
    for bucket, tokens in tally.tokens.items():
        if not tokens:
            continue
        if unmarked and bucket == "cache_read":
            bucket = "input"  # noqa: PLW2901 - nobody marks these prompts, so this model would cache none of them
        price = prices.get(bucket)
        if price is None:
            price = prices.get(PRICED_AS.get(bucket, bucket))
        if price is None:
            return None
        if bucket in OUTPUT:
            total_output += tokens * price
        else:
            total_input += tokens * price
    return Costs(total_input / UNITS_PER_PRICE, total_output / UNITS_PER_PRICE)


def known_costs(brief: Brief, candidate: Candidate, tally: Tally) -> Costs | None:
    """The same, remembered: the calls that no model is named for are part of several kinds of work."""
    key = (candidate.id, tally.task, tally.model, tally.way, tally.policy)
    if key not in brief.costs:
        brief.costs[key] = costs_at(candidate, tally)
    return brief.costs[key]


def needs_marks(candidate: Candidate) -> bool:
    """Whether its provider caches only what the caller marks: those are the ones that take money for writing."""
    return "cache_write" in candidate.prices


def tokenizer_error(landscape: Landscape, pair: tuple[str, str], rules: Rules) -> float:
    """Of the logarithm of the ratio of both models' tokens for the same text."""
    makers = {
        model.partition("/")[0] if (known := landscape.models.get(model)) is None else known.maker for model in pair
    }
    return 0.0 if len(makers) == 1 else rules.tokenizer_error


def now_nano(brief: Brief, tally: Tally) -> float:
    """What the tally's work costs at today's price of its own model: like for like; else what was charged for it."""
    model = brief.landscape.models.get(tally.model)
    costs = None if model is None else known_costs(brief, model, tally)
    return tally.charge_nano if costs is None else costs.input + costs.output


def work_now_nano(brief: Brief, work: Work) -> float:
    """The same of all of the work."""
    return fsum(now_nano(brief, tally) for tally in work.tallies)


def windows_a_month(brief: Brief, work: Work) -> float:
    """The work of a month as a multiple of the window's, 1 for a window of 30 days.

    Work that began within the window goes on as it did since.
    """
    return brief.per_month * max(len(work.by_week), 1) / max(len(_since_it_began(work)), 1)


def _since_it_began(work: Work) -> Sequence[float]:
    weeks = work.by_week
    return weeks[next((i for i, week in enumerate(weeks) if week > 0), 0) :]


def volume(brief: Brief, work: Work) -> Floats:
    """The work of a month as a multiple of the window's: `windows_a_month` is expected."""
    rules, weeks = brief.rules, _since_it_began(work)
    weekly = relative_error(weeks, rules.volume_error, rules.volume_prior_weeks)
    unread = 1 - min(work.seen / work.requests, 1.0) if work.requests else 0.0
    sampled = unread * (1 + rules.call_spread**2) / max(work.seen, 1)
    error = (weekly**2 * (1 / max(len(weeks), 1) + 1 / MONTH_WEEKS) + rules.volume_drift_error**2 + sampled) ** 0.5
    return windows_a_month(brief, work) * scaled(-(error**2) / 2, error)


def saving_at(brief: Brief, work: Work, candidate: Candidate) -> Outcomes | None:
    """What a month of the work would save at the candidate, nano-USD; None where it has no price for what is used."""
    now = 0.0
    then = np.zeros((1, 1))
    for tally in work.tallies:
        costs = known_costs(brief, candidate, tally)
        if costs is None:
            return None
        pair = (tally.model, candidate.id)
        lengths = brief.lengths.ratio(*pair, work.task, brief.rules.own_length_error)
        error = tokenizer_error(brief.landscape, pair, brief.rules)
        now += now_nano(brief, tally)
        then = then + costs.input * scaled(0.0, error)[:, None] + costs.output * scaled(*_mean_error(lengths))[None, :]
    return Outcomes((volume(brief, work)[:, None] * (now - then).reshape(1, -1)).ravel())


def _mean_error(ratio: Normal) -> tuple[float, float]:
    return ratio.mean, ratio.error


def expected_share(brief: Brief, work: Work, candidate: Candidate, now: float) -> float | None:
    """What the candidate would cost of `now`, at the middle of everything: quick, to pass over."""
    then = 0.0
    for tally in work.tallies:
        costs = known_costs(brief, candidate, tally)
        if costs is None:
            return None
        ratio = brief.lengths.ratio(tally.model, candidate.id, work.task, brief.rules.own_length_error)
        then += costs.input + costs.output * exp(ratio.mean)
    return then / now if now else None


def stated(outcomes: Outcomes) -> Saving:
    """As it is told: whole nano-USD a month."""
    low, high = outcomes.ends
    return Saving(round(low), round(outcomes.mean), round(high))
