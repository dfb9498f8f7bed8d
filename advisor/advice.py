"""What a recommendation is: what to do, for which task type, what it saves, how sure that is, what could get worse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from advisor.moved import Moved


class Kind(StrEnum):
    """The sorts of recommendations. A code never changes its meaning."""

    CHEAPER = "cheaper"  # the same work by a cheaper model that keeps the promise
    BETTER = "better"  # a better model at no higher cost
    NEW_MODEL = "new_model"  # one of the two above, by a model that is new here
    CACHING = "caching"  # mark the prompt's stable head for the provider's cache
    SHORTER = "shorter"  # ask for shorter answers
    FAILING = "failing"  # a model in use fails more than before
    SLOW = "slow"  # a model in use answers more slowly than before
    ENDING = "ending"  # a model in use will be shut down
    UNUSED_KEY = "unused_key"  # a working key that nobody uses
    CAP_SOON = "cap_soon"  # a cap that will stop calls before its period ends


PINS = frozenset({Kind.CHEAPER, Kind.BETTER, Kind.NEW_MODEL, Kind.FAILING, Kind.SLOW, Kind.ENDING})
"""Those that can be accepted with one click: a pin for the task type."""
ABOUT_KEYS = frozenset({Kind.UNUSED_KEY, Kind.CAP_SOON})
"""Those whose subject is a key."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Nano-USD a month (30 days), fee included: the expected one, and the ends of its central 80 %."""

    low_nano: int
    mid_nano: int
    high_nano: int


NOTHING = Saving(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One piece of advice. `subject` is the model in use, or the id of a key."""

    kind: Kind
    subject: str
    task: str = ""  # empty where it is about no task type
    model: str = ""  # that is recommended, where one is
    saving: Saving = NOTHING
    confidence: float = 0.0  # probability that it is right: that the promise is kept and the saving is above nothing
    evidence: Mapping[str, float | int | str] = field(default_factory=dict)  # the figures it rests on, by name
    moved: Moved | None = None  # what a pin to `model` moves, where one is recommended
    risks: tuple[str, ...] = ()  # codes of what could get worse; advisor.words has the sentences
    expires_on: date | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two of them the same advice, in whatever week."""
        return (self.kind.value, self.subject, self.task, self.model)

    @property
    def value_nano(self) -> float:
        """Expected value, by which they are ranked: saving times confidence."""
        return self.saving.mid_nano * self.confidence
