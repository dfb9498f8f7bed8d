"""What an organization did and what there is to choose from, as plain values: all that recommendations are made of.

`advisor.collect` fills these from the database, `bench/advisor_sim.py` from a simulated quarter. Nothing here reads a
clock, a database or a file. Amounts are nano-USD with the fee, as callers pay them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

type Way = Literal["named", "policy", "pinned"]
"""How a model came to answer: the caller named it, a policy chose it, or a pin of the organization did."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one organization had one model do, for one task type, in one way, within a window of whole UTC days.

    The task type of a call that named its model is known for a sample only. Then `requests`, `tokens` and `charge_nano`
    are what the sample stands for, and `seen` is how many calls were looked at: it says how much the figures weigh.
    """

    task: str  # one of routing.selection.words.TASKS
    model: str  # catalogue id
    way: Way
    policy: str  # of routing.selection.words.POLICIES; empty where a model was named
    requests: float
    seen: int
    tokens: Mapping[str, float]  # by bucket of komilion.common.usage
    charge_nano: float
    by_week: Sequence[float]  # charge_nano of each of the last whole weeks, the oldest first
    failed: int = 0  # of `seen`: the provider's fault, as docs/charging-policy.md has it
    retried: int = 0  # of `seen`: took more than one attempt
    cut: int = 0  # of `seen`: ended by its own limit of output
    difficulty: float = 0.0  # mean of the questions, in logits; 0 is average
    log_ms_mean: float = 0.0  # of the natural logarithm of the duration in milliseconds
    log_ms_variance: float = 0.0
    votes: float = 0.0  # feedback: how many, and the sum of the scores between 0 and 1
    score: float = 0.0

    @property
    def input_tokens(self) -> float:
        """All of them, whatever their price."""
        return sum(self.tokens.get(bucket, 0.0) for bucket in INPUT)

    @property
    def output_tokens(self) -> float:
        """All of them, reasoning included."""
        return sum(self.tokens.get(bucket, 0.0) for bucket in OUTPUT)


INPUT = ("input", "cache_read", "cache_write", "cache_write_1h", "input_image", "cache_read_image")
OUTPUT = ("output",)


@dataclass(frozen=True, slots=True)
class KeyFact:
    """An API key: whether it is used, and how near its cap is."""

    key_id: int
    name: str
    made_on: date
    last_used_on: date | None
    models_allowed: frozenset[str] | None  # None: every model
    cap_nano: int | None = None  # the cap that is fullest, if any
    spent_nano: int = 0  # of its period
    period_ends_on: date | None = None
    daily_nano: float = 0.0  # what the key spends a day of late


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of one organization's: `tallies` of the window that ends with `through`, and what it has set."""

    organization_id: int
    through: date  # the last UTC day of the window
    days: int  # how long the window is
    tallies: Sequence[Tally]
    keys: Sequence[KeyFact] = ()
    pins: Mapping[str, str] = field(default_factory=dict)  # task type -> model
    may_call: frozenset[str] | None = None  # models that at least one working key may call; None: every one


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that can be called now, as the advisor needs it."""

    id: str
    maker: str
    prices: Mapping[str, int]  # nano-USD per million units by bucket, fee included; a bucket without one is missing
    tiers: Sequence[tuple[int, Mapping[str, int]]]  # (above so many input tokens, prices), ascending
    capabilities: frozenset[str]
    context_length: int
    max_output: int
    strength: Mapping[str, float]  # by task type, in logits
    error: Mapping[str, float]  # standard errors of those
    first_seen_on: date  # the day it came into this catalogue
    line: str  # id of the newest model of its line, its own where it is that
    deprecated_on: date | None = None
    sunset_on: date | None = None
    successor: str | None = None
    is_reasoning: bool = False

    def prices_for(self, input_tokens: float) -> Mapping[str, int]:
        """Those of a call with so much input."""
        reached = [components for above, components in self.tiers if input_tokens > above]
        return reached[-1] if reached else self.prices


@dataclass(frozen=True, slots=True)
class Output:
    """How much a model writes for a task type, over all organizations: the mean of the logarithm of output tokens."""

    log_mean: float
    error: float  # standard error of that mean
    calls: int


@dataclass(frozen=True, slots=True)
class Health:
    """A model over all organizations in the last days, against the days before."""

    calls: int
    failed: int
    calls_before: int
    failed_before: int
    log_ms_mean: float = 0.0
    log_ms_before: float = 0.0
    log_ms_error: float = 0.0  # standard error of the difference


@dataclass(frozen=True, slots=True, eq=False)  # one is itself: what is derived from it is kept by it
class Landscape:
    """What there is to choose from, the same for every organization of a week."""

    models: Mapping[str, Candidate]
    outputs: Mapping[tuple[str, str], Output]  # (model, task type)
    health: Mapping[str, Health]
    today: date
    retired: Mapping[str, str | None] = field(default_factory=dict)  # model that has ended -> its successor
