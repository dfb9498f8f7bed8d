"""The catalogue as the gateway sees it: one immutable picture in memory, replaced whole when something changes.

`routing.catalog.load` makes it. A picture is good until `expires_s`: then a price comes into force or a model ends.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from billing.prices import PriceVersion
from routing.catalog.aliases import fold
from routing.catalog.voice import Kind, VoiceModel
from routing.providers.base import Dialect, Target

type Status = Literal["active", "deprecated"]

TEXT = frozenset({"text"})
NEAREST_SHOWN = 3
LIKE_ENOUGH = 0.5  # of two names, see `_likeness`
LONGEST_COMPARED = 200  # characters


@dataclass(frozen=True, slots=True)
class OfferEntry:
    """One model at one provider, ready to be called."""

    model_id: str
    provider: str
    dialect: Dialect
    target: Target
    price: PriceVersion
    context_length: int
    max_output: int
    cancel_stops_billing: bool
    tokens_per_s: int | None

    @property
    def is_reasoning(self) -> bool:
        """Whether it may think where nobody can count."""
        return "reasoning" in self.target.capabilities


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be called and who offers it, the first choice first.

    `line` is the id of the newest model of its line, its own where it is that. On `sunset_on` (UTC) it ends and
    `successor` takes over. `modalities` are the inputs that can be billed: a part of `text` and `image`.
    """

    id: str
    name: str
    created_unix_s: int
    offers: tuple[OfferEntry, ...]
    family: str = ""
    line: str = ""
    status: Status = "active"
    deprecated_on: date | None = None
    sunset_on: date | None = None
    successor: str | None = None
    modalities: frozenset[str] = TEXT


@dataclass(frozen=True, slots=True)
class RetiredModel:
    """A model that ended on `sunset_on`. `moves_to` is its successor with those offers that cost no more, if any."""

    id: str
    name: str
    deprecated_on: date
    sunset_on: date
    successor: str | None
    moves_to: ModelEntry | None = None


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """What `GET /providers` shows."""

    name: str
    models: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything, at one version.

    `models` are those for chat that can be called now, `voice` those that hear or speak. `aliases` maps other names, as
    `fold` writes them, to ids, and so finds `retired` models and those in `off`, whose providers have no key here: the
    variables that would switch them on, none where an operator disabled them.
    """

    version: int
    models: Mapping[str, ModelEntry]
    providers: tuple[ProviderEntry, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, RetiredModel] = field(default_factory=dict)
    off: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    voice: Mapping[str, VoiceModel] = field(default_factory=dict)
    expires_s: float = math.inf

    def canonical(self, name: str) -> str | None:
        """The id that a name means, callable or not; None where it means nothing, or not one thing."""
        if name in self.models or name in self.voice:
            return name
        return self.aliases.get(name) or self.aliases.get(fold(name))

    def allows(self, allowed: frozenset[str] | None, model_id: str) -> bool:
        """Whether a key that is limited to these models, named in any way, may call that one; None is no limit."""
        return allowed is None or model_id in allowed or any(self.canonical(name) == model_id for name in allowed)

    def voices(self, kind: Kind) -> list[VoiceModel]:
        """All of this kind that can be called, in the order of their ids."""
        return [model for _, model in sorted(self.voice.items()) if model.kind == kind]

    def nearest(self, name: str, kind: Kind | None = None) -> list[str]:
        """Ids of models (for chat, or of that kind) that can be called and look like a mistyped one, without a maker or
        with more behind it.

        At most 3, the likeliest first.
        """
        wanted = fold(name[:LONGEST_COMPARED])
        ids = {
            fold(model): model for model in (self.models if kind is None else (each.id for each in self.voices(kind)))
        }
        same = [key for key in ids if key.partition("/")[2] == wanted]
        longer = [key for key in ids if wanted.startswith((f"{key.partition('/')[2]}-", f"{key}-"))]
        longer.sort(key=len, reverse=True)
        pairs = _pairs(wanted)
        likeness = {key: max(_likeness(pairs, key), _likeness(pairs, key.partition("/")[2])) for key in ids}
        close = sorted((key for key in ids if likeness[key] >= LIKE_ENOUGH), key=likeness.__getitem__, reverse=True)
        return [ids[key] for key in dict.fromkeys([*same, *longer, *close])][:NEAREST_SHOWN]


def _likeness(pairs: frozenset[str], other: str) -> float:
    """Sorensen and Dice's coefficient of two names: the share of neighbouring letters that they have in common."""
    theirs = _pairs(other)
    return 2 * len(pairs & theirs) / ((len(pairs) + len(theirs)) or 1)


@lru_cache(maxsize=4_096)
def _pairs(text: str) -> frozenset[str]:
    return frozenset(map("".join, pairwise(text)))


EMPTY = Catalog(-1, {}, ())
