"""What can be chosen: the callable models of one catalogue and their offers, as arrays and bit sets.

Built once per catalogue version, outside of any request. Models stand in order of their ids; all their offers stand in
one row, model by model. An offer is a bit of a Python integer, so that a hard filter is one `&`; prices are numpy rows
over the offers, one set of rows for every step of the price tiers. Virtual models are no candidates, and neither is a
model whose last day has passed.

Nothing here imports Django: the catalogue's types are needed by the type checker alone.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from billing.prices import BASIS_POINTS, UNITS_PER_PRICE, PriceVersion

if TYPE_CHECKING:
    from routing.catalog.snapshot import Catalog, ModelEntry, OfferEntry

type Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]
type Integers = np.ndarray[tuple[int, ...], np.dtype[np.integer]]

SETS_KEPT = 1_024  # of allowed models and of open breakers, whose bits are remembered


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-USD per token, fee included, float64 [offers]: plain input, input read from a cache, output."""

    input: Floats
    cached: Floats
    output: Floats


class ModelFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a receipt says of a candidate beside its numbers, and what its quality goes by.

    Of markets that were kept before the latter was noted, `line` is empty; they keep their fingerprint.
    """

    id: str
    revision: str = ""  # changes when any provider serves another version under this id
    context_length: int = 0  # the largest of its offers
    providers: tuple[str, ...] = ()  # of its offers, in order
    family: str = ""
    line: str = ""
    is_reasoning: bool = False
    has_vision: bool = False


class Facts(msgspec.Struct, frozen=True):
    """A market as a receipt remembers it, to be stored once per fingerprint; JSON by msgspec."""

    models: tuple[ModelFacts, ...]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that two markets share only when all these facts are equal."""
        return hashlib.blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The candidates of one catalogue version. Immutable but for two small memories of bit sets."""

    version: int
    models: "tuple[ModelEntry, ...]"
    offers: "tuple[OfferEntry, ...]"
    facts: Facts
    fingerprint: str
    index: Mapping[str, int]  # model id -> candidate
    offer_index: Mapping[tuple[str, str], int]  # (provider, model id) -> offer
    starts: tuple[int, ...]  # candidate -> its first offer; one more at the end
    first_offers: Integers  # [models], the same without the end
    model_of: Integers  # [offers]
    provider_codes: Integers  # [offers], equal for the same provider
    offer_bits: tuple[int, ...]  # candidate -> its offers as a bit set
    everything: int  # all offers
    capable: Mapping[str, int]  # capability -> the offers that have it
    max_output: Integers  # [models], the largest of its offers
    is_thinker: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]  # [models], may think before it answers
    canonical: Callable[[str], str | None]  # any name of a model -> its id
    _contexts: tuple[tuple[int, ...], tuple[int, ...]]  # sorted lengths, and the offers that take at least as much
    _steps: tuple[tuple[int, ...], tuple[Rates, ...]]  # input tokens above which the next rates hold
    _allowed: dict[frozenset[str], int] = field(default_factory=dict)
    _named: dict[frozenset[tuple[str, str]], int] = field(default_factory=dict)

    @classmethod
    def build(cls, catalog: "Catalog", today: date) -> "Market":
        """The market of a catalogue; a model whose sunset is today or past is left out."""
        models = tuple(
            entry for _, entry in sorted(catalog.models.items()) if entry.sunset_on is None or entry.sunset_on > today
        )
        offers = tuple(offer for entry in models for offer in entry.offers)
        counts = [len(entry.offers) for entry in models]
        starts = (0, *np.cumsum(counts, dtype=int).tolist())
        facts = Facts(tuple(map(facts_of, models)))
        providers = sorted({offer.provider for offer in offers})
        capabilities = {name for offer in offers for name in offer.target.capabilities}
        return cls(
            version=catalog.version,
            models=models,
            offers=offers,
            facts=facts,
            fingerprint=facts.fingerprint,
            index={entry.id: i for i, entry in enumerate(models)},
            offer_index={(offer.provider, offer.model_id): i for i, offer in enumerate(offers)},
            starts=starts,
            first_offers=np.array(starts[:-1], np.intp),
            model_of=np.repeat(np.arange(len(models)), counts),
            provider_codes=np.array([providers.index(offer.provider) for offer in offers], np.intp),
            offer_bits=tuple((1 << starts[i + 1]) - (1 << starts[i]) for i in range(len(models))),
            everything=(1 << len(offers)) - 1,
            capable={
                name: _bits(i for i, offer in enumerate(offers) if name in offer.target.capabilities)
                for name in capabilities
            },
            max_output=np.array([max(offer.max_output for offer in entry.offers) for entry in models], np.int64),
            is_thinker=np.array([any(offer.is_reasoning for offer in entry.offers) for entry in models], np.bool_),
            canonical=catalog.canonical,
            _contexts=_contexts(offers),
            _steps=_steps(offers),
        )

    def taking(self, tokens: int) -> int:
        """The offers whose context takes this many tokens."""
        lengths, sets = self._contexts
        return sets[bisect_left(lengths, tokens)]

    def allowed(self, names: frozenset[str]) -> int:
        """The offers of these models, named in any way."""
        bits = self._allowed.get(names)
        if bits is None:
            if len(self._allowed) >= SETS_KEPT:
                self._allowed.clear()
            bits = 0
            for model_id in filter(None, map(self.canonical, names)):
                if model_id in self.index:
                    bits |= self.offer_bits[self.index[model_id]]
            self._allowed[names] = bits
        return bits

    def named(self, names: frozenset[tuple[str, str]]) -> int:
        """The offers with these (provider, model id)."""
        bits = self._named.get(names)
        if bits is None:
            if len(self._named) >= SETS_KEPT:
                self._named.clear()
            bits = self._named[names] = _bits(self.offer_index[name] for name in names & self.offer_index.keys())
        return bits

    def rates_step(self, input_tokens: int) -> int:
        """On which stretch between the thresholds of all tiers a call with so much input is."""
        return bisect_left(self._steps[0], input_tokens)

    def rates_of(self, step: int) -> Rates:
        """What a token costs on this stretch."""
        return self._steps[1][step]

    def mask(self, bits: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """A bit set of offers as bool [offers]."""
        size = len(self.offers)
        packed = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
        return np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)


def _bits(positions: Iterable[int]) -> int:
    bits = 0
    for position in positions:
        bits |= 1 << position
    return bits


def facts_of(entry: "ModelEntry") -> ModelFacts:
    """What is noted of a model of the catalogue."""
    upstream = "\n".join(sorted(offer.target.upstream_id for offer in entry.offers))
    return ModelFacts(
        id=entry.id,
        revision=f"{entry.id}@{hashlib.blake2b(upstream.encode(), digest_size=4).hexdigest()}",
        context_length=max(offer.context_length for offer in entry.offers),
        providers=tuple(offer.provider for offer in entry.offers),
        family=entry.family,
        line=entry.line or entry.id,
        is_reasoning=any(offer.is_reasoning for offer in entry.offers),
        has_vision="image" in entry.modalities,
    )


def _contexts(offers: "Sequence[OfferEntry]") -> tuple[tuple[int, ...], tuple[int, ...]]:
    lengths = sorted({offer.context_length for offer in offers})
    sets = [_bits(i for i, offer in enumerate(offers) if offer.context_length >= length) for length in lengths]
    return tuple(lengths), (*sets, 0)


def _steps(offers: "Sequence[OfferEntry]") -> tuple[tuple[int, ...], tuple[Rates, ...]]:
    """Between two thresholds of any offer's tiers no rate changes: one set of rows for each stretch."""
    thresholds = sorted({above for offer in offers for above, _ in offer.price.tiers})
    stretches = (0, *(above + 1 for above in thresholds))
    return tuple(thresholds), tuple(_rates([offer.price for offer in offers], tokens) for tokens in stretches)


def _rates(prices: Sequence[PriceVersion], input_tokens: int) -> Rates:
    rows = [price.components_for(input_tokens) for price in prices]
    per_token = np.array([(1 + price.fee_basis_points / BASIS_POINTS) / UNITS_PER_PRICE for price in prices])

    def row(*names: str) -> Floats:
        """The first of these buckets that has a price; a cached token without one costs what plain input does."""
        found = [next((row[name] for name in names if name in row), 0) for row in rows]
        nano: Floats = np.array(found, np.float64) * per_token
        return nano

    return Rates(row("input"), row("cache_read", "input"), row("output"))
