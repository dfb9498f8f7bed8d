"""Which newer model may take a pin's place, and what stands against it. Plain values in, a sentence out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from advisor.evidence import INPUT, OUTPUT, Candidate, Landscape
from billing.prices import PRICED_AS
from komilion.common.money import format_usd

TRY_SUCCESSOR_DAYS = 30  # before the end of a model: time for a trial of its successor
ALWAYS_USED = ("input", "output")


@dataclass(frozen=True, slots=True)
class Use:
    """What the pinned model's calls were of late: tokens by bucket, and how many calls."""

    tokens: Mapping[str, float]
    requests: float

    @property
    def buckets(self) -> list[str]:
        """Those that a price has to be looked at for."""
        return [name for name in (*INPUT, *OUTPUT) if name in ALWAYS_USED or self.tokens.get(name)]

    @property
    def mean_input(self) -> float:
        """Tokens a call."""
        return sum(self.tokens.get(name, 0.0) for name in INPUT) / max(self.requests, 1.0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an organization lets a newer model cost, and what its working keys may call: None is every model.

    The ceiling is for short prompts, nano-USD per million units by bucket; an empty one is the pinned model's price.
    """

    ceiling: Mapping[str, int]
    keys: Collection[frozenset[str] | None] = ()
    use: Use = Use({}, 0.0)

    @property
    def may_call(self) -> frozenset[str] | None:
        """What at least one of the keys may; where there is none, people in the playground may all."""
        if not self.keys or None in self.keys:
            return None
        return frozenset().union(*(names for names in self.keys if names is not None))


def candidate_for(model: str, landscape: Landscape) -> Candidate | None:
    """The newest model of the line, of the same maker; where there is none, the successor of one that ends soon."""
    known = landscape.models.get(model)
    if known is None:
        return None
    head = landscape.models.get(known.line)
    if head is not None and head.id != model and head.maker == known.maker:
        return head
    if known.sunset_on is None or known.sunset_on > landscape.today + timedelta(days=TRY_SUCCESSOR_DAYS):
        return None
    return landscape.models.get(known.successor or "")


def closed_gate(old: Candidate, new: Candidate, terms: Terms) -> str:
    """What stands against the newer model before anybody asks it anything; empty where nothing does."""
    if new.deprecated_on is not None or new.sunset_on is not None:
        return f"{new.id} is about to end itself"
    if any(names is not None and old.id in names and new.id not in names for names in terms.keys):
        return f"a key that may call {old.id} may not call {new.id}"
    missing = sorted(old.capabilities - new.capabilities)
    if missing:
        return f"{new.id} cannot do what {old.id} can: {', '.join(missing)}"
    for name, before, after in (
        ("takes", old.context_length, new.context_length),
        ("writes", old.max_output, new.max_output),
    ):
        if after < before:
            return f"{new.id} {name} {after} tokens at most, {old.id} {before}"
    return too_dear(old, new, terms)


def too_dear(old: Candidate, new: Candidate, terms: Terms) -> str:
    """What the newer model costs too much, at the tier of the mean prompt; empty where it does not.

    In any bucket that the calls use; a bucket without a price of its own costs what it is priced as.
    """
    prices = new.prices_for(terms.use.mean_input)
    for bucket in terms.use.buckets:
        price, most = _price(prices, bucket), _most(old, terms, bucket)
        if price is not None and (most is None or price > most):
            allowed = "nothing is allowed" if most is None else f"${format_usd(most)} is allowed"
            return f"{new.id} costs ${format_usd(price)} per million units of {bucket}, where {allowed}"
    return ""


def _most(old: Candidate, terms: Terms, bucket: str) -> int | None:
    """The ceiling; where the pinned model costs more for prompts as long as these, it is higher by as much."""
    most = _price(terms.ceiling or old.prices, bucket)
    short, long = _price(old.prices, bucket), _price(old.prices_for(terms.use.mean_input), bucket)
    return most * long // short if most and short and long else most


def _price(prices: Mapping[str, int], bucket: str) -> int | None:
    return prices.get(bucket, prices.get(PRICED_AS.get(bucket, "")))
