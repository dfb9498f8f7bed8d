"""The models of the simulated quarter, as they truly are.

Nothing here is what the advisor assumes: published strengths are off by more than their errors, with heavy tails;
makers' tokenizers, and how much each model writes, are drawn once and known to nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log

import numpy as np

from routing.selection.guesses import GUESSES
from routing.selection.words import TASKS

MAKERS = tuple("abcdefgh")
AT_FIRST = 30
LAUNCHED = 8
RETIRED = 4
ILL = 6
WEEKS = 13
FIRST_WEEK = -4  # evidence is there before the first letter
LAST_WEEK = WEEKS + 4  # the last letter's saving is seen in the month after it
FEE = 1.05
TOKENIZER_SPREAD = 0.13
TAIL = 0.5**0.5  # of Student's distribution with 4 degrees of freedom: its standard deviation is 1 then, not its tails
FAMOUS = 1.5  # how strongly callers take to the strong ones


@dataclass(frozen=True, slots=True)
class Illness:
    """Weeks in which a model fails more, or is slower."""

    first_week: int
    last_week: int
    failed_more: float
    slower_ratio: float


@dataclass(frozen=True, slots=True)
class Model:
    """The whole truth about one."""

    id: str
    maker: str
    line: str
    price: Mapping[str, int]  # nano-USD per million, fee included
    price_cut: tuple[int, float]  # from this week on, times so much
    tokenizer: float  # tokens, for one of an average tokenizer
    thinks: bool
    capabilities: frozenset[str]
    strength: Mapping[str, float]  # published
    error: Mapping[str, float]  # published
    true_strength: Mapping[str, float]
    log_length: Mapping[str, float]  # mean of the logarithm of its output
    failed: float
    log_ms: float
    first_week: int
    ends_week: int | None = None  # its last Monday
    announced_week: int | None = None
    successor: str | None = None
    illnesses: Sequence[Illness] = field(default_factory=tuple)

    def is_there(self, week: int) -> bool:
        """Whether it can be called in this week."""
        return self.first_week <= week and (self.ends_week is None or week < self.ends_week)

    def is_announced(self, week: int) -> bool:
        """Whether everybody knows that it ends."""
        return self.announced_week is not None and self.announced_week <= week

    def prices(self, week: int) -> dict[str, int]:
        """Of that week."""
        since, factor = self.price_cut
        return {bucket: round(price * factor) if week >= since else price for bucket, price in self.price.items()}

    def failures(self, week: int) -> float:
        """The share of its calls that fail in that week."""
        return self.failed + sum(ill.failed_more for ill in self._ill(week))

    def log_duration(self, week: int) -> float:
        """The mean of the logarithm of its milliseconds in that week."""
        return self.log_ms + sum(log(ill.slower_ratio) for ill in self._ill(week))

    def _ill(self, week: int) -> list[Illness]:
        return [ill for ill in self.illnesses if ill.first_week <= week <= ill.last_week]


def make_models(rng: np.random.Generator) -> dict[str, Model]:
    """Everything that is there in the quarter, by id."""
    makers = {maker: (exp(rng.normal(0, TOKENIZER_SPREAD)), rng.random() < 0.25) for maker in MAKERS}
    lengths = {task: log(GUESSES.tasks[task].answer) + rng.normal(0, 0.3) for task in TASKS}
    launches = [FIRST_WEEK - 20] * AT_FIRST + [int(week) for week in rng.integers(0, WEEKS - 3, LAUNCHED)]
    models = [_model(rng, (number, week), makers, lengths) for number, week in enumerate(launches)]
    order = rng.permutation(AT_FIRST)
    for number in order[:RETIRED]:
        models[number] = _retiring(rng, models[number], models)
    for number in order[RETIRED : RETIRED + ILL]:
        models[number] = _falling_ill(rng, models[number])
    return {model.id: model for model in models}


def _model(
    rng: np.random.Generator,
    which: tuple[int, int],
    makers: Mapping[str, tuple[float, bool]],
    lengths: Mapping[str, float],
) -> Model:
    number, week = which
    maker = MAKERS[int(rng.integers(len(MAKERS)))]
    is_new = week >= 0
    level = rng.normal(2.75 if is_new else 2.3, 0.7)
    thinks = bool(rng.random() < 0.35)
    # Dearer models are better on the whole; how much is paid for how much differs by a factor of two either way.
    plain = exp(log(0.4 if is_new else 0.7) + 1.0 * (level - 2.3) / 0.7 + rng.normal(0, 0.75)) * 1e9 * FEE
    price = {"input": round(plain), "output": round(plain * rng.uniform(3, 6))}
    if rng.random() < 0.75:
        price["cache_read"] = round(plain * rng.uniform(0.1, 0.5))
        if makers[maker][1]:
            price["cache_write"] = round(plain * 1.25)
    error = float(rng.uniform(0.45, 0.55) if is_new else rng.uniform(0.27, 0.45))
    off = rng.standard_t(4)
    strength, true = {}, {}
    for task in TASKS:
        strength[task] = level + float(rng.normal(0, 0.25))
        true[task] = strength[task] + error * TAIL * float(0.75 * off + 0.66 * rng.standard_t(4))
    own = rng.normal(0, 0.3)
    capabilities = frozenset(
        c for c, share in (("tools", 0.85), ("json_schema", 0.7), ("vision", 0.5)) if rng.random() < share
    )
    return Model(
        id=f"{maker}/m{number}",
        maker=maker,
        line=f"{maker}-{number % 3}",
        price=price,
        price_cut=(int(rng.integers(0, WEEKS)), float(rng.uniform(0.5, 0.8)) if rng.random() < 0.15 else 1.0),
        tokenizer=makers[maker][0],
        thinks=thinks,
        capabilities=capabilities,
        strength=strength,
        error=dict.fromkeys(TASKS, error),
        true_strength=true,
        log_length={task: _length(rng, lengths[task] + own, task, thinks) for task in TASKS},
        failed=float(rng.beta(1.5, 100)),
        log_ms=float(rng.normal(8.0, 0.5)),
        first_week=week,
    )


def _length(rng: np.random.Generator, log_answer: float, task: str, thinks: bool) -> float:
    answer = exp(log_answer + rng.normal(0, 0.15))
    thought = GUESSES.tasks[task].thinking * exp(rng.normal(0, 0.5)) if thinks else 0.0
    return log(answer + thought)


def _retiring(rng: np.random.Generator, model: Model, models: Sequence[Model]) -> Model:
    ends = int(rng.integers(3, WEEKS + 1))
    others = [other for other in models if other.maker == model.maker and other.id != model.id and other.first_week < 0]
    successor = max(others, key=lambda other: other.strength["other"]).id if others else None
    return replace(model, ends_week=ends, announced_week=ends - int(rng.integers(3, 13)), successor=successor)


def _falling_ill(rng: np.random.Generator, model: Model) -> Model:
    first = int(rng.integers(0, WEEKS - 1))
    fails = rng.random() < 0.6
    more, slower = (float(rng.uniform(0.06, 0.25)), 1.0) if fails else (0.0, float(rng.uniform(1.8, 3.5)))
    return replace(model, illnesses=(Illness(first, first + int(rng.integers(1, 5)), more, slower),))
