"""What traffic of late says of every offer: time to first content, tokens per second, length of answers.

Percentiles come from histograms whose buckets grow by a factor of 2^(1/4), so a percentile is right to 9 %; every
weight halves in `HALF_LIFE_S`. Lengths are kept as the mean logarithm of what came over what was guessed, by model,
task and organization, and pulled towards the model's mean and that towards nothing. All of it is bounded, losable, and
a function of what was noted and when: times are given by the caller, in Unix seconds.

Lengths make a model dearer or cheaper in the eyes of every tenant, and who writes the prompt chooses the length. So an
organization's weight in a cell is limited, and a correction by more than `LENGTH_FACTOR_ALONE` goes only as far as
`LENGTH_AGREEING` organizations go, each by its own mean.

Each process notes its own calls and publishes `dumps()`; what the others published is read with `merged`. Two parts
that are merged must not hold the same call.
"""

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from routing.selection.cost import TABLES_KEPT, Lengths, Outlook
from routing.selection.filters import Needs
from routing.selection.guesses import GUESSES, thinking_factor
from routing.selection.market import Floats, Market
from routing.selection.parts import Cell, Limits, Part, say
from routing.selection.words import TASKS

HALF_LIFE_S = 900.0  # of latency
LENGTH_HALF_LIFE_S = 86_400.0
BUCKETS_PER_DOUBLING = 4
SMALLEST, LARGEST = 1e-3, 1e6  # seconds and tokens per second alike
OFFERS_KEPT = 1_024
LENGTHS_KEPT = 4_096
CALLS_FOR_P50 = 5.0  # weights below which a percentile is not believed
CALLS_FOR_P99 = 30.0
PULL_CALLS = 8.0  # how many calls the pull of a length towards the mean weighs as much as
LENGTH_FACTOR_AT_MOST = 10.0
LENGTH_FACTOR_ALONE = 1.5  # up or down, while fewer than these agree that it is more:
LENGTH_AGREEING = 5
LENGTH_LIMITS = Limits(
    half_life_s=LENGTH_HALF_LIFE_S,
    weight=8.0,  # calls
    total=8.0 * math.log(LENGTH_FACTOR_AT_MOST),
    organizations=8,
)


class Histogram(msgspec.Struct, array_like=True):
    """Weights by bucket as of `at_s`; bucket n holds values from 2^(n/4) to 2^((n+1)/4)."""

    weights: dict[int, float] = {}
    at_s: float = 0.0

    def note(self, value: float, now_s: float) -> None:
        """Add one value."""
        self.age_to(now_s)
        bucket = math.floor(math.log2(min(max(value, SMALLEST), LARGEST)) * BUCKETS_PER_DOUBLING)
        self.weights[bucket] = self.weights.get(bucket, 0.0) + 1.0

    def age_to(self, now_s: float) -> None:
        """Let the weights halve for the time that has passed; time that goes back changes nothing."""
        if now_s > self.at_s:
            factor = 0.5 ** ((now_s - self.at_s) / HALF_LIFE_S)
            aged = ((bucket, weight * factor) for bucket, weight in self.weights.items())
            self.weights = {bucket: weight for bucket, weight in aged if weight > 1e-3}
            self.at_s = now_s

    def percentile(self, share: float, now_s: float) -> float | None:
        """The value below which this share lies; None where too little came lately to say."""
        total = sum(self.weights.values())
        weight = total * 0.5 ** (max(0.0, now_s - self.at_s) / HALF_LIFE_S)
        if weight < (CALLS_FOR_P50 if share <= 0.75 else CALLS_FOR_P99):
            return None
        below, wanted = 0.0, total * share
        for bucket in sorted(self.weights):
            here = self.weights[bucket]
            if below + here >= wanted:
                return float(2 ** ((bucket + (wanted - below) / here) / BUCKETS_PER_DOUBLING))
            below += here
        return float(2 ** ((max(self.weights) + 1) / BUCKETS_PER_DOUBLING))  # the sum fell short by rounding

    def add(self, other: "Histogram") -> None:
        """Take in what another process saw."""
        self.age_to(other.at_s)
        factor = 0.5 ** ((self.at_s - other.at_s) / HALF_LIFE_S)
        for bucket, weight in other.weights.items():
            self.weights[bucket] = self.weights.get(bucket, 0.0) + weight * factor


class OfferFigures(msgspec.Struct, array_like=True):
    """Of one offer."""

    first_content_s: Histogram = msgspec.field(default_factory=Histogram)
    tokens_per_s: Histogram = msgspec.field(default_factory=Histogram)

    @property
    def at_s(self) -> float:
        return max(self.first_content_s.at_s, self.tokens_per_s.at_s)


class _State(msgspec.Struct, array_like=True):
    offers: list[tuple[str, str, OfferFigures]]
    lengths: list[tuple[str, str, Cell]]


class Live:
    """The figures of one process, or of several merged."""

    def __init__(self) -> None:
        self._offers: dict[tuple[str, str], OfferFigures] = {}
        self._lengths: dict[tuple[str, str], Cell] = {}  # what was noted last stands last

    @classmethod
    def loads(cls, data: bytes) -> "Live":
        """What `dumps` gave. Raises `msgspec.DecodeError` for anything else."""
        state = msgspec.msgpack.decode(data, type=_State)
        live = cls()
        live._offers = {(provider, model): figures for provider, model, figures in state.offers[:OFFERS_KEPT]}
        live._lengths = {(model, task): cell for model, task, cell in state.lengths[-LENGTHS_KEPT:]}
        return live

    @classmethod
    def merged(cls, parts: Iterable[bytes]) -> "Live":
        """All that these processes saw."""
        whole = cls()
        for part in map(cls.loads, parts):
            for offer, figures in part._offers.items():
                mine = whole._offer(*offer)
                mine.first_content_s.add(figures.first_content_s)
                mine.tokens_per_s.add(figures.tokens_per_s)
            for name, cell in part._lengths.items():
                for organization, said in cell.items():
                    say(whole._length(*name), organization, said, LENGTH_LIMITS)
        return whole

    def dumps(self) -> bytes:
        """For Redis: about 200 bytes an offer that is used, and 35 for an organization in a cell of lengths."""
        return msgspec.msgpack.encode(
            _State(
                [(provider, model, figures) for (provider, model), figures in self._offers.items()],
                [(model, task, cell) for (model, task), cell in self._lengths.items()],
            )
        )

    def answered(
        self, offer: tuple[str, str], first_content_s: float | None, tokens_per_s: float | None, now_s: float
    ) -> None:
        """An answer of this (provider, model id) came to its end; None for what is not known of it."""
        figures = self._offer(*offer)
        if first_content_s is not None:
            figures.first_content_s.note(first_content_s, now_s)
        if tokens_per_s is not None:
            figures.tokens_per_s.note(tokens_per_s, now_s)

    def wrote(self, cell: tuple[str, str], organization: str, length: float, now_s: float) -> None:
        """A choice of this length came, as a multiple of what `guesses.median_tokens` said; not for one that was cut.

        `cell` is (model id, task type), `organization` any name for whose call it was.
        """
        limit = math.log(LENGTH_FACTOR_AT_MOST)
        log_length = min(max(math.log(max(length, SMALLEST)), -limit), limit)
        say(self._length(*cell), organization, Part(1.0, log_length, now_s), LENGTH_LIMITS)

    def first_content_s(self, provider: str, model: str, share: float, now_s: float) -> float | None:
        """A percentile (`share` of 0.5, 0.75, 0.95, 0.99) of the time to the first content."""
        figures = self._offers.get((provider, model))
        return None if figures is None else figures.first_content_s.percentile(share, now_s)

    def first_content_p99_s(self, provider: str, model: str, now_s: float) -> float | None:
        """What the limit of a silent answer goes by; None below 30 calls of late."""
        return self.first_content_s(provider, model, 0.99, now_s)

    def tokens_per_s(self, provider: str, model: str, share: float, now_s: float) -> float | None:
        """A percentile of the pace after the first content."""
        figures = self._offers.get((provider, model))
        return None if figures is None else figures.tokens_per_s.percentile(share, now_s)

    def _offer(self, provider: str, model: str) -> OfferFigures:
        figures = self._offers.get((provider, model))
        if figures is None:
            if len(self._offers) >= OFFERS_KEPT:
                del self._offers[min(self._offers, key=lambda offer: self._offers[offer].at_s)]
            figures = self._offers[provider, model] = OfferFigures()
        return figures

    def _length(self, model: str, task: str) -> Cell:
        cell = self._lengths.pop((model, task), None)
        if cell is None:
            if len(self._lengths) >= LENGTHS_KEPT:
                del self._lengths[next(iter(self._lengths))]
            cell = {}
        self._lengths[model, task] = cell
        return cell

    def log_correction(self, market: Market, now_s: float) -> Floats:
        """ln(measured / guessed) length, float64 [models, tasks], pulled towards 0 where little was seen."""
        weights = np.zeros((len(market.models), len(TASKS)))
        sums = np.zeros_like(weights)
        lowest = np.full_like(weights, -math.log(LENGTH_FACTOR_ALONE))
        highest = -lowest
        for (model, task), cell in self._lengths.items():
            if model in market.index and task in TASKS:
                at = market.index[model], TASKS.index(task)
                parts = [part.aged(now_s, LENGTH_HALF_LIFE_S) for part in cell.values()]
                weights[at] = sum(part.weight for part in parts)
                sums[at] = sum(part.total for part in parts)
                means = sorted(part.total / max(part.weight, 1.0) for part in parts)
                if len(means) >= LENGTH_AGREEING:
                    lowest[at] = min(lowest[at], means[LENGTH_AGREEING - 1])
                    highest[at] = max(highest[at], means[-LENGTH_AGREEING])
        of_model = sums.sum(1, keepdims=True) / (weights.sum(1, keepdims=True) + PULL_CALLS)
        corrected: Floats = np.clip((sums + PULL_CALLS * of_model) / (weights + PULL_CALLS), lowest, highest)
        return corrected


class LiveView:
    """The figures as arrays over one market, made anew every few seconds and read by every request in between."""

    def __init__(self, market: Market, live: Live | None = None, now_s: float = 0.0) -> None:
        """Without `live`, the guesses."""
        latency = GUESSES.latency
        self.market = market
        self.first_content_s = np.full(len(market.offers), latency.first_content_s)
        self.tokens_per_s = np.array([offer.tokens_per_s or latency.tokens_per_s for offer in market.offers])
        self.lengths = Lengths(market, None if live is None else live.log_correction(market, now_s))
        self._outlooks: dict[tuple[float, int | None, int], Outlook] = {}
        for i, offer in enumerate(market.offers if live is not None else ()):
            assert live is not None
            first = live.first_content_s(offer.provider, offer.model_id, 0.5, now_s)
            pace = live.tokens_per_s(offer.provider, offer.model_id, 0.5, now_s)
            if first is not None:
                self.first_content_s[i] = first
            if pace is not None:
                self.tokens_per_s[i] = pace

    def outlook(self, needs: Needs) -> Outlook:
        """What a request with these needs may expect; made once for all that allow the same output."""
        key = (thinking_factor(needs.effort), needs.max_output_tokens, needs.choices)
        outlook = self._outlooks.get(key)
        if outlook is None:
            if len(self._outlooks) >= TABLES_KEPT:
                self._outlooks.clear()
            output = self.lengths.expected(needs.effort, needs.max_output_tokens) * needs.choices
            outlook = Outlook(self.market, output, self.first_content_s, self.tokens_per_s)
            self._outlooks[key] = outlook
        return outlook
