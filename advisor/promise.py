"""How likely another model keeps the promise of the calls' policy, and what it must be able to do at all."""

from collections.abc import Sequence
from functools import partial
from math import exp

from advisor.advice import Kind
from advisor.brief import Brief, Work
from advisor.evidence import Candidate, Tally
from advisor.statistics import Bar, Normal, bar, logit, probability_higher, reaches, sigmoid
from routing.selection.policy import LOWER_80, threshold
from routing.selection.words import DEFAULT_POLICY

NEEDED_FOR = {"tool-use": "tools", "data-extraction": "json_schema"}
CERTAIN = 0.999  # a probability that is asked for counts as at most this, so that it has a logit
VISION_BUCKETS = ("input_image", "cache_read_image")


def able(brief: Brief, work: Work) -> Sequence[Candidate]:
    """The models that can do what these calls evidently need, with room, and that fail no more than what is used.

    The one in place is among them, where it is there to stay.
    """
    key = (work.task, work.model)
    if key not in brief.able:
        needed = _needed(brief, work)
        most_input = max((tally.input_tokens / tally.requests for tally in work.tallies if tally.requests), default=0.0)
        most_output = max(
            (tally.output_tokens / tally.requests for tally in work.tallies if tally.requests), default=0.0
        )
        room = brief.rules.room_share
        brief.able[key] = [
            model
            for model in brief.candidates
            if work.task in model.strength
            and needed <= model.capabilities
            and most_input <= room * model.context_length
            and most_output <= room * model.max_output
            and not _fails_more(brief, work, model)
        ]
    return brief.able[key]


def _needed(brief: Brief, work: Work) -> set[str]:
    """Capabilities. What the models in use lack is evidently not needed, whatever the task type is called."""
    needed = {NEEDED_FOR[work.task]} if work.task in NEEDED_FOR else set()
    known = [brief.landscape.models[tally.model] for tally in work.tallies if tally.model in brief.landscape.models]
    if known and not any(needed <= model.capabilities for model in known):
        needed = set()
    if work.task == "vision" or any(work.tokens(bucket) for bucket in VISION_BUCKETS):
        needed.add("vision")
    return needed


def _fails_more(brief: Brief, work: Work, candidate: Candidate) -> bool:
    """More likely than not, by what all organizations saw of both of late."""
    its, used = brief.landscape.health.get(candidate.id), brief.landscape.health.get(work.model)
    if its is None or its.calls == 0:
        return False
    before = (0, 0) if used is None else (used.failed, used.calls)
    if before[1] == 0:
        before = (its.failed_before, its.calls_before)
    return probability_higher((its.failed, its.calls), before, brief.rules.failing_more) > 0.5


def kept(brief: Brief, work: Work, candidate: Candidate) -> float:
    """The probability that the candidate keeps the promise towards every model that it would replace a good deal of.

    Where it is below `least_confidence`, nobody wants to know by how much: the first such one is told.
    """
    least: float | None = None
    for tally in work.weighty(brief.rules.small_share):
        chance = _kept_towards(brief, work, tally, candidate)
        least = chance if least is None else min(least, chance)
        if least < brief.rules.least_confidence:
            break
    return least or 0.0


def better(brief: Brief, work: Work, candidate: Candidate) -> float:
    """The probability that the candidate answers more questions well, by `least_better` at least."""
    chances = []
    for tally in work.weighty(brief.rules.small_share):
        pair = known_of(brief, work, tally.model, candidate)
        if pair is None:
            return 0.0
        least = partial(_more, tally.difficulty, brief.rules.least_better)
        chances.append(reaches(pair[1], bar(pair[0], least)))
    return min(chances, default=0.0)


def _more(difficulty: float, more: float, known: float) -> float:
    return logit(min(sigmoid(known - difficulty) + more, CERTAIN)) + difficulty


def _kept_towards(brief: Brief, work: Work, tally: Tally, candidate: Candidate) -> float:
    model = first_used(brief, work.task, tally.model)
    pair = known_of(brief, work, model, candidate)
    if pair is None:
        return 0.0
    policy = tally.policy or DEFAULT_POLICY
    floor = _floor(brief, pair[0], policy, tally.difficulty)
    if tally.way == "policy" and not _policy_takes(brief, work, (policy, tally.difficulty), candidate):
        return 0.0
    return reaches(pair[1], floor)


def _floor(brief: Brief, known: Normal, policy: str, difficulty: float) -> Bar:
    """The least logit that keeps the promise towards a known one, both without the difficulty."""
    key = (known, policy, difficulty)
    if key not in brief.floors:
        brief.floors[key] = bar(
            known, lambda logit_: logit(threshold(policy, sigmoid(logit_ - difficulty))) + difficulty
        )
    return brief.floors[key]


def _policy_takes(brief: Brief, work: Work, promise: tuple[str, float], candidate: Candidate) -> bool:
    """Whether the candidate keeps the policy's own promise, which is towards the best there is: by the policy's lower
    bounds, or as surely as towards the model in use.

    Otherwise each pin would be allowed to be a little worse than a choice that was a little worse already. `promise`:
    the policy, and the difficulty of the questions.
    """
    policy, difficulty = promise
    best, id_ = _best_low(brief, work, difficulty)
    if _low(candidate, work.task, difficulty) >= threshold(policy, best):
        return True
    pair = known_of(brief, work, id_, candidate)
    if pair is None:
        return False
    return reaches(pair[1], _floor(brief, pair[0], policy, difficulty)) >= brief.rules.least_confidence


def _best_low(brief: Brief, work: Work, difficulty: float) -> tuple[float, str]:
    """The highest lower bound of all that could do the work, and whose it is."""
    key = (work.task, work.model, difficulty)
    if key not in brief.best_lows:
        lows = ((_low(model, work.task, difficulty), model.id) for model in able(brief, work))
        brief.best_lows[key] = max(lows, default=(0.0, ""))
    return brief.best_lows[key]


def _low(model: Candidate, task: str, difficulty: float) -> float:
    """The 80 % lower bound of the probability of a good answer, as routing.selection.policy has it."""
    return 1 / (1 + exp(difficulty + LOWER_80 * model.error[task] - model.strength[task]))


def first_used(brief: Brief, task: str, model: str) -> str:
    """The model that accepted advice replaced, as far back as is known: steps down must not add up."""
    replaced = {
        said.model: said.subject
        for said in brief.history
        if said.state == "accepted" and said.task == task and said.model and said.kind != Kind.BETTER
    }
    seen = {model}
    while (before := replaced.get(model)) is not None and before not in seen and before in brief.landscape.models:
        model = before
        seen.add(model)
    return model


def known_of(brief: Brief, work: Work, model: str, candidate: Candidate) -> tuple[Normal, Normal] | None:
    """The strengths of the model in use and of the candidate; None where nobody has placed the former.

    The organization's votes move both where there are votes on both: its people may be stern or kind to all alike.
    """
    used = brief.landscape.models.get(model)
    if used is None or work.task not in used.strength:
        return None
    pair = (used, candidate)
    placed = [Normal(one.strength[work.task], one.error[work.task]) for one in pair]
    votes = [_votes(brief, work.task, one.id, known.mean) for one, known in zip(pair, placed, strict=True)]
    if min(count for count, _, _ in votes) >= brief.rules.least_votes:
        weight, most = brief.rules.vote_weight, brief.rules.largest_offset_logit
        placed = [
            known.moved(weight * evidence, weight * information, most)
            for known, (_, evidence, information) in zip(placed, votes, strict=True)
        ]
    return placed[0], placed[1]


def _votes(brief: Brief, task: str, model: str, strength: float) -> tuple[float, float, float]:
    """How many votes, their score above what was expected, and how much that would vary by chance."""
    key = (task, model)
    if key not in brief.votes:
        brief.votes[key] = _voted(brief, task, model, strength)
    return brief.votes[key]


def _voted(brief: Brief, task: str, model: str, strength: float) -> tuple[float, float, float]:
    count, evidence, information = 0.0, 0.0, 0.0
    for tally in brief.tallies:
        if tally.task == task and tally.model == model:
            expected = sigmoid(strength - tally.difficulty)
            count += tally.votes
            evidence += tally.score - tally.votes * expected
            information += tally.votes * expected * (1 - expected)
    return count, evidence, information
