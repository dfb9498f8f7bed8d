"""The organizations of the simulated quarter: what they do, week by week, whatever model does it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import exp, log

import numpy as np

from advisor.evidence import Way
from bench.advisor_sim.market import FIRST_WEEK, LAST_WEEK, Model
from routing.selection.guesses import GUESSES
from routing.selection.policy import LOWER_80, threshold
from routing.selection.words import TASKS

MONDAY = date(2026, 9, 7)  # of week 0
WEEKS_IN_ALL = LAST_WEEK - FIRST_WEEK
MEAN_INPUT = {"tool-use": 4_000, "summarization": 3_500, "data-extraction": 1_800, "code-generation": 2_500}
HIT_RATE = 0.8
NANO = 10**9


@dataclass(slots=True)
class Cell:
    """One kind of call of one organization: its true nature, and which model answers it now."""

    task: str
    way: Way
    policy: str
    model: str
    calls: np.ndarray  # [weeks] as they happen
    size: np.ndarray  # [weeks] how large they are, against the mean
    mean_input: float
    difficulty: float
    log_length: float  # how much more it needs written than others
    log_needless: float  # and how much more is written than it needs
    by_model: np.ndarray  # [models] how its questions suit a model's length
    repeats: float  # share of the input that is the same from call to call
    marks: bool  # whether the caller marks what a cache may keep
    images: float  # tokens of images in a call
    votes: float  # a call
    kindness: float  # logit by which its voters are kinder than the truth
    cut: float
    served: dict[int, tuple[str, Way]] = field(default_factory=dict)
    voted: dict[int, tuple[int, float]] = field(default_factory=dict)  # votes of a week, and the sum of their scores
    first_model: str = ""  # that the first accepted advice replaced: what the promise is towards

    def tokens(self, model: Model, number: int) -> dict[str, float]:
        """Of a mean call at that model."""
        read = model.price.get("cache_read") is not None and (self.marks or "cache_write" not in model.price)
        whole = self.mean_input * model.tokenizer
        hit = whole * self.repeats * HIT_RATE if read else 0.0
        written = whole * self.repeats * (1 - HIT_RATE) if read and "cache_write" in model.price else 0.0
        spread = GUESSES.tasks[self.task].spread
        length = model.log_length[self.task] + self.log_length + self.log_needless + self.by_model[number]
        found = {"input": whole - hit - written, "cache_read": hit, "cache_write": written}
        return found | {"input_image": self.images, "output": exp(length + spread**2 / 2)}

    def charge(self, model: Model, number: int, week: int) -> float:
        """Nano-USD of that week at that model."""
        return charge_of(self.tokens(model, number), model.prices(week)) * self.volume(week)

    def volume(self, week: int) -> float:
        """Mean calls of that week."""
        return float(self.calls[week - FIRST_WEEK] * self.size[week - FIRST_WEEK])


@dataclass(slots=True)
class Key:
    """A key: the days on which it is used, or that it is not."""

    key_id: int
    made_on: date
    last_used_on: date | None
    comes_back_in: int | None  # the week in which one that was forgotten is used again
    cap_nano: int | None = None
    share: float = 0.0  # of the organization's spend


@dataclass(slots=True)
class Organization:
    """One of them."""

    number: int
    cells: list[Cell]
    keys: list[Key]
    may_call: frozenset[str] | None
    accepts: float
    days: np.ndarray  # [days from FIRST_WEEK] how much of a mean day each is
    pins: dict[str, str] = field(default_factory=dict)

    def may(self, model: str) -> bool:
        """Whether a key of its may call the model."""
        return self.may_call is None or model in self.may_call


def charge_of(tokens: Mapping[str, float], prices: Mapping[str, int]) -> float:
    """Nano-USD."""
    instead = {"cache_read": "input", "cache_write": "input", "input_image": "input"}
    return sum(
        units * prices.get(bucket, prices.get(instead.get(bucket, bucket), 0)) / 1e6 for bucket, units in tokens.items()
    )


def make_organizations(rng: np.random.Generator, models: Mapping[str, Model], count: int) -> list[Organization]:
    """All of them."""
    return [_organization(rng, models, number) for number in range(count)]


def _organization(rng: np.random.Generator, models: Mapping[str, Model], number: int) -> Organization:
    month_nano = min(exp(rng.normal(log(60), 1.8)), 30_000) * NANO
    may_call = None
    if rng.random() < 0.4:  # keys that are for some makers alone
        makers = set(rng.choice(list("abcdefgh"), int(rng.integers(3, 7)), replace=False))
        may_call = frozenset(id_ for id_, model in models.items() if model.maker in makers)
    tasks = rng.choice(TASKS, min(1 + rng.poisson(2), 7), replace=False)
    shares = rng.dirichlet(np.full(len(tasks), 0.8))
    cells: list[Cell] = []
    variation = float(rng.uniform(0.08, 0.4))
    for task, share in zip(tasks, shares, strict=True):
        cells += _cells(rng, models, may_call, (str(task), float(share * month_nano), variation))
    days = rng.lognormal(-0.03, 0.25, WEEKS_IN_ALL * 7) * np.tile([1.12] * 5 + [0.7] * 2, WEEKS_IN_ALL)
    pins = {cell.task: cell.model for cell in cells if cell.way == "pinned"}
    return Organization(number, cells, _keys(rng, number, month_nano), may_call, 0.6, days, pins)


def _cells(
    rng: np.random.Generator,
    models: Mapping[str, Model],
    may_call: frozenset[str] | None,
    what: tuple[str, float, float],
) -> list[Cell]:
    task, month_nano, variation = what
    can = [
        model
        for model in models.values()
        if model.is_there(FIRST_WEEK)
        and (may_call is None or model.id in may_call)
        and (task != "vision" or "vision" in model.capabilities)
        and (task != "tool-use" or "tools" in model.capabilities)
    ]
    if not can:
        return []
    repeats = float(rng.beta(1.2, 1.6))
    mean_input = exp(rng.normal(log(MEAN_INPUT.get(task, 700)), 0.8))
    way: Way = "named" if rng.random() < 0.65 else "policy" if rng.random() < 0.7 else "pinned"
    named = way == "named"
    count = 2 if named and rng.random() < 0.2 and len(can) > 1 else 1
    fame = np.array([exp(1.5 * model.strength[task]) for model in can])
    chosen = rng.choice(len(can), count, replace=False, p=fame / fame.sum())
    cells = []
    for position in chosen:
        model = can[int(position)]
        cell = Cell(
            task=task,
            way=way,
            policy="" if way != "policy" else str(rng.choice(["frugal", "balanced", "premium"], p=[0.2, 0.6, 0.2])),
            model=model.id,
            calls=np.zeros(0),
            size=rng.lognormal(0, 0.04, WEEKS_IN_ALL),
            mean_input=mean_input * exp(rng.normal(0, 0.2)),
            difficulty=float(rng.normal(0, 0.5)),
            log_length=float(rng.normal(0, 0.35)),
            log_needless=float(max(rng.exponential(0.8) - 0.3, 0.0)) if rng.random() < 0.2 else 0.0,
            by_model=rng.normal(0, 0.15, len(models)),
            repeats=float(np.clip(repeats + rng.normal(0, 0.08), 0, 0.95)),
            marks=bool(rng.random() < 0.5),
            images=float(rng.uniform(300, 1_200)) if task == "vision" else 0.0,
            votes=float(rng.uniform(0.005, 0.03)) if rng.random() < 0.4 else 0.0,
            kindness=float(rng.normal(-0.3, 0.7)),
            cut=float(rng.beta(1, 60)),
        )
        number = list(models).index(model.id)
        weekly = month_nano / count * 7 / 30 / charge_of(cell.tokens(model, number), model.prices(0))
        cell.calls = rng.poisson(weekly * _course(rng, variation)).astype(float)
        cells.append(cell)
    return cells


def _course(rng: np.random.Generator, variation: float) -> np.ndarray:
    """A quarter's volume: a trend, a walk, the weeks' own ups and downs; some end, some begin."""
    steps = rng.normal(rng.normal(0, 0.02), 0.07, WEEKS_IN_ALL)
    course = np.exp(np.cumsum(steps) + rng.normal(0, variation, WEEKS_IN_ALL) - variation**2 / 2)
    if rng.random() < 0.06:
        course[int(rng.integers(4, WEEKS_IN_ALL)) :] = 0
    elif rng.random() < 0.1:
        course[: int(rng.integers(1, WEEKS_IN_ALL - 6))] = 0
    return course


def _keys(rng: np.random.Generator, number: int, month_nano: float) -> list[Key]:
    keys = []
    for position in range(1 + rng.poisson(1.5)):
        made_on = MONDAY - timedelta(days=int(rng.integers(10, 500)))
        key = Key(number * 100 + position, made_on, None, None)
        if position == 0:
            key.share = 1.0
            key.cap_nano = round(month_nano * rng.uniform(0.5, 2.0)) if rng.random() < 0.3 else None
        elif rng.random() < 0.4:  # nobody uses it
            age = (MONDAY - made_on).days
            key.last_used_on = None if rng.random() < 0.4 else made_on + timedelta(days=int(age * rng.random()))
            key.comes_back_in = int(rng.integers(0, LAST_WEEK)) if rng.random() < 0.08 else None
        else:
            key.last_used_on = MONDAY + timedelta(weeks=LAST_WEEK)  # all the time
        keys.append(key)
    return keys


def policy_choice(organization: Organization, cell: Cell, models: Sequence[Model], week: int) -> str | None:
    """What a policy takes: by published strengths and the lengths that everybody's traffic shows."""
    able = [model for model in models if _able(organization, cell, model, week)]
    if not able:
        return None

    def low(model: Model) -> float:
        strength, error = model.strength[cell.task], model.error[cell.task]
        return 1 / (1 + exp(cell.difficulty + LOWER_80 * error - strength))

    def price(model: Model) -> float:
        prices = model.prices(week)
        return cell.mean_input * prices["input"] + exp(model.log_length[cell.task]) * prices["output"]

    least = threshold(cell.policy, max(map(low, able)))
    return min((model for model in able if low(model) >= least), key=lambda model: (price(model), model.id)).id


def _able(organization: Organization, cell: Cell, model: Model, week: int) -> bool:
    needed = {"vision": "vision", "tool-use": "tools"}.get(cell.task)
    return model.is_there(week) and organization.may(model.id) and (needed is None or needed in model.capabilities)
