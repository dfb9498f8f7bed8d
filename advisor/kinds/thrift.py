"""The same model for less: prompts whose head repeats but is not cached, and answers that are longer than need be."""

from collections.abc import Iterator
from datetime import timedelta
from math import exp, log

from advisor.advice import Kind, Recommendation
from advisor.brief import Brief, Work
from advisor.cost import stated, volume
from advisor.evidence import Candidate
from advisor.statistics import Outcomes, scaled, wilson_low
from billing.prices import UNITS_PER_PRICE
from routing.selection.guesses import GUESSES


def advise(brief: Brief) -> Iterator[Recommendation]:
    """Of each model that callers name for a task type: what a policy or pin answers may be another one tomorrow."""
    for work in brief.works:
        own = [tally for tally in work.tallies if tally.way == "named"]
        model = brief.landscape.models.get(work.model)
        if not own or model is None or model.sunset_on is not None:
            continue
        alone = Work(work.task, work.model, own)
        if brief.is_worth_a_word(alone):
            yield from _caching(brief, alone, model)
            yield from _shorter(brief, alone, model)


def _caching(brief: Brief, work: Work, model: Candidate) -> Iterator[Recommendation]:
    """Where comparable prompts of the organization are read from caches, and these are not.

    How much of a prompt repeats is in no figure of these calls. The organization's other calls of the task type show it
    where another model caches them; half of that is the low end. Without such calls nothing is said.
    """
    rules = brief.rules
    tokens = sum(tally.input_tokens for tally in work.tallies)
    cached = work.tokens("cache_read")
    repeats = _repeating(brief, work)
    plain, read = model.prices.get("input", 0), model.prices.get("cache_read")
    if (
        read is None
        or tokens < rules.least_prefix_tokens * work.requests
        or cached > rules.little_cached_share * tokens
        or repeats < rules.much_cached_share
    ):
        return
    write = model.prices.get("cache_write", plain)
    a_hit = (plain - read - rules.misses_a_hit * (write - plain)) / UNITS_PER_PRICE  # nano-USD saved for a token read
    more = max(repeats * tokens - cached, 0.0)
    shares = scaled(log(0.75), 0.22)  # from half of what repeats elsewhere to all of it, as a central 80 %
    outcomes = Outcomes((volume(brief, work)[:, None] * more * a_hit * shares[None, :]).ravel())
    evidence: dict[str, float | int | str] = {
        "cached_share": round(cached / tokens, 4),
        "cached_share_elsewhere": round(repeats, 4),
        "mean_input_tokens": round(tokens / work.requests),
    }
    yield from _told(brief, work, Kind.CACHING, (outcomes, evidence, ("cache_writes",)))


def _repeating(brief: Brief, work: Work) -> float:
    """The cached share of the organization's other input of this task type, the least of those models that cache."""
    shares = []
    for tally in brief.tallies:
        is_other = tally.task == work.task and tally.model != work.model
        if is_other and tally.seen >= brief.rules.least_seen_calls and tally.input_tokens:
            share = tally.tokens.get("cache_read", 0.0) / tally.input_tokens
            if share >= brief.rules.much_cached_share:
                shares.append(share)
    return min(shares, default=0.0)


def _shorter(brief: Brief, work: Work, model: Candidate) -> Iterator[Recommendation]:
    """Where answers are far longer than what the model writes for this task type elsewhere.

    A part of that is need, and differs from one organization to the next; the rest is what a sentence in the prompt
    saves. Both are log-normal, so what is seen of their product says how much of it is likely which.
    """
    rules = brief.rules
    usual = brief.landscape.outputs.get((work.model, work.task))
    output = sum(tally.output_tokens for tally in work.tallies)
    if usual is None or usual.calls < rules.least_health_calls or not output:
        return
    spread = GUESSES.tasks[work.task].spread
    ratio = output / work.requests / exp(usual.log_mean + spread**2 / 2)
    cut, seen = sum(tally.cut for tally in work.tallies), work.seen
    is_often_cut = wilson_low(cut, seen) >= rules.much_cut_share
    if ratio < (rules.long_ratio_cut if is_often_cut else rules.long_ratio):
        return
    need = rules.need_error**2
    needless = (rules.needless_error_cut if is_often_cut else rules.needless_error) ** 2
    mean = log(ratio) * needless / (need + needless)
    error = (need * needless / (need + needless)) ** 0.5
    saved = (1 - 1 / scaled(mean, error)).clip(0.0)
    price = model.prices.get("output", 0) / UNITS_PER_PRICE
    outcomes = Outcomes((volume(brief, work)[:, None] * output * price * saved[None, :]).ravel())
    evidence: dict[str, float | int | str] = {
        "mean_output_tokens": round(output / work.requests),
        "usual_ratio": round(ratio, 2),
        "cut_share": round(cut / seen, 4),
    }
    yield from _told(brief, work, Kind.SHORTER, (outcomes, evidence, ("less_said",)))


def _told(
    brief: Brief,
    work: Work,
    kind: Kind,
    about: tuple[Outcomes, dict[str, float | int | str], tuple[str, ...]],
) -> Iterator[Recommendation]:
    """The advice, where its low end is worth it. `about`: the saving, the figures, the risks."""
    outcomes, evidence, risks = about
    rules = brief.rules
    low, _ = outcomes.ends
    charge = work.charge_nano * brief.per_month
    if low <= max(rules.least_saving_nano, rules.least_saving_share * charge):
        return
    yield Recommendation(
        kind=kind,
        subject=work.model,
        task=work.task,
        saving=stated(outcomes),
        confidence=outcomes.above_nothing * rules.least_confidence,  # the figures are sure, their reason is not
        evidence={"days": brief.evidence.days, "calls": round(work.requests), **evidence},
        risks=risks,
        expires_on=brief.landscape.today + timedelta(days=rules.life_days),
    )
