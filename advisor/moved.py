"""The work that a pin moves, as it was in the window of the advice: what its effect is measured against. Pure.

It is kept with the advice, as nobody can tell later which models answered, how much they read and wrote for a call, and
how well that went.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum
from typing import Self

from advisor.evidence import INPUT, Tally


@dataclass(frozen=True, slots=True)
class Signals:
    """How calls went: of all whose task type is known, and of those that failed as many as stand beside them."""

    calls: float = 0.0  # those too that the model failed and another one answered
    failed: float = 0.0
    retried: float = 0.0
    votes: float = 0.0
    score: float = 0.0  # sum over the votes, each between 0 and 1
    log_ms_mean: float = 0.0  # of the natural logarithm of the milliseconds that answers took; 0 where there was none

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Self:
        """Over all of these."""
        answered = fsum(tally.seen - tally.failed for tally in tallies)
        log_ms = fsum((tally.seen - tally.failed) * tally.log_ms_mean for tally in tallies)
        return cls(
            calls=fsum(tally.seen for tally in tallies),
            failed=fsum(tally.failed for tally in tallies),
            retried=fsum(tally.retried for tally in tallies),
            votes=fsum(tally.votes for tally in tallies),
            score=fsum(tally.score for tally in tallies),
            log_ms_mean=log_ms / answered if answered else 0.0,
        )

    @property
    def failed_share(self) -> float | None:
        """Of the calls; None without any."""
        return self.failed / self.calls if self.calls else None

    @property
    def retried_share(self) -> float | None:
        """Of the calls; None without any."""
        return self.retried / self.calls if self.calls else None

    @property
    def mean_score(self) -> float | None:
        """Of the votes, between 0 and 1; None without any."""
        return self.score / self.votes if self.votes else None

    @property
    def ms(self) -> int | None:
        """That an answer took, the geometric mean; None without any."""
        return round(exp(self.log_ms_mean)) if self.log_ms_mean else None


@dataclass(frozen=True, slots=True)
class Used:
    """What one model did of it."""

    requests: float
    tokens: Mapping[str, float]  # by bucket of komilion.common.usage


@dataclass(frozen=True, slots=True)
class Moved:
    """All of it, and what was promised for as much work as this: nano-USD with the fee, the ends of the interval."""

    answered: float  # calls
    models: Mapping[str, Used]
    low_nano: int
    high_nano: int
    signals: Signals

    @classmethod
    def of(cls, tallies: Sequence[Tally], promised_nano: tuple[int, int]) -> Self:
        """From the tallies of the window."""
        models: dict[str, Used] = {}
        for tally in tallies:
            known = models.get(tally.model, Used(0.0, {}))
            names = {**known.tokens, **tally.tokens}
            tokens = {name: known.tokens.get(name, 0.0) + tally.tokens.get(name, 0.0) for name in names}
            models[tally.model] = Used(known.requests + tally.requests, tokens)
        return cls(fsum(map(answered, tallies)), models, *promised_nano, Signals.of(tallies))

    @property
    def input_tokens(self) -> float:
        """All of them, whatever their price."""
        return fsum(used.tokens.get(bucket, 0.0) for used in self.models.values() for bucket in INPUT)


def answered(tally: Tally) -> float:
    """Of the calls that a tally stands for, those that did not fail.

    `seen` holds calls that were passed on, which are in no `requests`; and of named calls it is but a sample.
    """
    if not tally.seen:
        return tally.requests
    return (tally.seen - tally.failed) * max(1.0, tally.requests / tally.seen)
