"""A small catalogue, a reading and scores, made by hand: what the choice is given by the catalogue and the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from billing.prices import PriceVersion
from routing.catalog.snapshot import OfferEntry
from routing.providers.base import Target
from routing.providers.registry import DIALECTS
from routing.selection.choose import Inputs
from routing.selection.filters import Needs, feasible
from routing.selection.market import Market
from routing.selection.words import TASKS

TODAY = date(2026, 11, 29)
ALL_CAPABILITIES = frozenset({"tools", "vision", "json_schema"})


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue, as far as a market looks at it."""

    id: str
    offers: tuple[OfferEntry, ...]
    sunset_on: date | None = None
    family: str = ""
    line: str = ""
    modalities: frozenset[str] = frozenset({"text"})


@dataclass(frozen=True)
class Listing:
    """A catalogue, as far as a market looks at it."""

    models: Mapping[str, Entry]
    version: int = 1

    def canonical(self, name: str) -> str | None:
        return name if name in self.models else None


@dataclass(frozen=True)
class Row:
    """One offer: nano-USD per million tokens, and what it can."""

    model: str
    provider: str = "alpha"
    input: int = 1_000_000_000
    output: int = 4_000_000_000
    cache_read: int | None = None
    context: int = 128_000
    capabilities: frozenset[str] = ALL_CAPABILITIES
    tiers: tuple[tuple[int, Mapping[str, int]], ...] = ()
    tokens_per_s: int | None = None
    max_output: int = 16_384
    upstream_id: str = ""
    price_id: int = 1


def offer(row: Row) -> OfferEntry:
    """The catalogue's entry."""
    components = {"input": row.input, "output": row.output}
    if row.cache_read is not None:
        components["cache_read"] = row.cache_read
    return OfferEntry(
        model_id=row.model,
        provider=row.provider,
        dialect=DIALECTS["openai"],
        target=Target("http://localhost", "", row.upstream_id or row.model, row.capabilities),
        price=PriceVersion(row.price_id, components, row.tiers, 2_500),
        context_length=row.context,
        max_output=row.max_output,
        cancel_stops_billing=False,
        tokens_per_s=row.tokens_per_s,
    )


def market(*rows: Row, ends: Mapping[str, date] | None = None, today: date = TODAY) -> Market:
    """A market of these offers, grouped by model."""
    ids = sorted({row.model for row in rows})
    models = {
        model: Entry(model, tuple(offer(row) for row in rows if row.model == model), (ends or {}).get(model))
        for model in ids
    }
    return Market.build(Listing(models), today)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Read:
    """What was read of a request."""

    regime: str = "plain"
    known: Any = None
    difficulty: float = 0.25
    reasons: tuple[tuple[str, float], ...] = (("digits", 0.4), ("code_fence", 0.2), ("length", -0.1))

    @property
    def tasks(self) -> Any:
        return self.known[: len(TASKS)]

    @property
    def task(self) -> str:
        return TASKS[int(self.tasks.argmax())]


def reading(task: str = "math", share: float = 0.75, **rest: Any) -> Read:
    """A reading that takes the request for this task, the rest spread evenly."""
    tasks = np.full(len(TASKS), (1 - share) / (len(TASKS) - 1), np.float32)
    tasks[TASKS.index(task)] = share
    vector, mix = np.linspace(-1, 1, 42, dtype=np.float32), np.full(72, 1 / 72, np.float32)
    return Read(known=np.concatenate((tasks, vector, mix)), **rest)


def scored(market: Market, logits: Mapping[str, float] | Sequence[float], error: float = 0.2) -> Any:
    """Logit and standard error of every candidate, by id or in order."""
    values = [logits[entry.id] for entry in market.models] if isinstance(logits, Mapping) else list(logits)
    return np.array([values, [error] * len(values)], np.float32)


def inputs(market: Market, logits: Mapping[str, float] | Sequence[float] | None, **rest: Any) -> Inputs:
    """The inputs of a choice: an ordinary request unless `needs` or anything else is said."""
    needs = rest.pop("needs", Needs(input_tokens=200))
    policy = rest.pop("policy", "balanced")
    read = rest.pop("reading", reading())
    error = rest.pop("error", 0.2)
    quality = None if logits is None else scored(market, logits, error)
    return Inputs(feasible(market, needs), policy, read, quality, **rest)
