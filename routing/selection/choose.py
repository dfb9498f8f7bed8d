"""choose: what is known of a request -> which model answers it, which come next, and by which rule. Pure arithmetic.

Everything that the choice rests on is brought to the precision of a receipt first (logits and errors to 1/1024, costs
to a float32 of whole nano-USD, latency to 0.01 s), and what is compared is that. So a receipt holds exactly what was
compared, and the same numbers give the same choice on any machine.

Where the request could not be read or the models not scored, the cheapest feasible one by list price and guessed length
is taken, whatever the policy: a failing part of ours never routes upward in price. Missing live figures, offsets and
sessions are replaced by the guesses, by nothing and by nobody.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from routing.selection.cost import TASK_UNKNOWN
from routing.selection.filters import Filtered, require_some
from routing.selection.live import LiveView
from routing.selection.market import Floats, Integers, Market
from routing.selection.offsets import OffsetsView
from routing.selection.policy import LOGIT_STEPS, Decision, Table, decide
from routing.selection.sessions import Sticky
from routing.selection.workflow import Wanted

if TYPE_CHECKING:
    from routing.catalog.snapshot import OfferEntry

LOGIT_AT_MOST = 30.0
ERROR_AT_MOST = 30.0
_SCALE = np.array([[LOGIT_STEPS], [-LOGIT_STEPS]], np.float32)  # less is worse, of errors too
_WORST = np.array([[-LOGIT_AT_MOST], [-ERROR_AT_MOST]], np.float32) * LOGIT_STEPS
_BEST = np.array([[LOGIT_AT_MOST], [0.0]], np.float32) * LOGIT_STEPS


class Reading(Protocol):
    """What was read of a request, as routing.selection.quality makes it."""

    @property
    def regime(self) -> str:
        """Which set of weights: plain or tools."""

    @property
    def known(self) -> Floats:
        """All that was read, in one row, the task posterior first."""

    @property
    def tasks(self) -> Floats:
        """[tasks], the posterior, sums to 1."""

    @property
    def difficulty(self) -> float:
        """Logit; 0 is average."""

    @property
    def reasons(self) -> tuple[tuple[str, float], ...]:
        """The features that moved difficulty most."""

    @property
    def task(self) -> str:
        """The most likely."""


class Inputs(msgspec.Struct, frozen=True):
    """All that a choice is a function of. `quality` is logits and standard errors: float32 [2, models]."""

    filtered: Filtered
    policy: str
    reading: Reading | None
    quality: Floats | None
    weights: str = ""  # version of what read and scored
    pin: str | None = None  # the organization's model for this task type
    trial: str | None = None  # a newer model that answers this call in its place, where it can serve it
    session: Sticky | None = None
    live: LiveView | None = None
    offsets: OffsetsView | None = None
    hint: str | None = None
    workflow: Wanted | None = None


class Choice(msgspec.Struct, frozen=True):
    """Who answers, who comes next, and everything that a receipt shows."""

    inputs: Inputs
    table: Table
    decision: Decision
    offsets: Floats | None  # float32 [models], logit, contained in the table's logits; None for zeros
    picked: Integers  # [models], the cheapest feasible offer; meaningless for a filtered model
    offer_costs: Floats  # float32 [offers], infinite for what is not feasible

    @property
    def market(self) -> Market:
        """What was chosen from."""
        return self.inputs.filtered.market

    @property
    def models(self) -> tuple[str, ...]:
        """Ids: the chosen one, then the fallbacks."""
        return tuple(self.market.facts.models[candidate].id for candidate in self.decision.ranked)

    @property
    def attempts(self) -> "tuple[tuple[OfferEntry, ...], ...]":
        """The feasible offers of each of `models`, in order of expected cost."""
        return tuple(self._offers_of(candidate) for candidate in self.decision.ranked)

    @property
    def expected_cost_nano(self) -> int:
        """What the chosen model is expected to be charged, fee included."""
        return int(self.table.costs[self.decision.ranked[0]])

    @property
    def best_offer(self) -> "OfferEntry | None":
        """Where the best model of the task would have been called; its price is what savings are measured by."""
        best = self.decision.best
        return None if best is None else self.market.offers[int(self.picked[best])]

    def _offers_of(self, candidate: int) -> "tuple[OfferEntry, ...]":
        first, end = self.market.starts[candidate : candidate + 2]
        if end - first == 1:  # a candidate is feasible by one offer at least
            return (self.market.offers[first],)
        costs = zip(self.offer_costs[first:end].tolist(), range(first, end), strict=True)
        return tuple(self.market.offers[i] for cost, i in sorted(costs) if isfinite(cost))


def pin_for(pins: Mapping[str, str], reading: Reading | None) -> str | None:
    """The pin that applies: of the task type that is most likely. A request that nobody could read has none."""
    return pins.get(reading.task) if pins and reading is not None else None


def choose(inputs: Inputs) -> Choice:
    """Choose. Raises what `require_some` raises where nothing is feasible."""
    filtered = inputs.filtered
    require_some(filtered)
    market = filtered.market
    scores = _scores(inputs)
    logits, errors, offsets = scores or (None, None, None)
    costs, plain, latencies = _figures(inputs, is_degraded=scores is None)
    picked = _cheapest_offers(market, costs, latencies)
    table = Table(
        logits=logits,
        errors=errors,
        costs=costs[picked],
        latencies=latencies[picked],
        providers=market.provider_codes[picked].tolist(),
        pin=None if inputs.pin is None else market.index.get(inputs.pin, -1),
        trial=None if inputs.trial is None else market.index.get(inputs.trial, -1),
        session=_session(market, inputs.session, costs, plain),
    )
    return Choice(inputs, table, decide(inputs.policy, table), offsets, picked, costs)


def _scores(inputs: Inputs) -> tuple[Integers, Integers, Floats | None] | None:
    """Logits with their offsets, errors, offsets; None where the request was not read or the models not scored."""
    if inputs.reading is None or inputs.quality is None:
        return None
    if inputs.quality.shape != (2, len(inputs.filtered.market.models)):
        return None
    offsets = None
    both = inputs.quality * _SCALE
    if inputs.offsets is not None and inputs.offsets.market is inputs.filtered.market:
        offsets = inputs.offsets.at(inputs.reading.task, inputs.reading.difficulty)
        if offsets is not None:
            both[0] += offsets * LOGIT_STEPS
    # fmax passes over NaN: a model without a number is as bad as can be.
    np.fmax(both, _WORST, out=both)
    np.minimum(both, _BEST, out=both)
    steps = np.rint(both, out=both).astype(np.int16)
    return steps[0], -steps[1], offsets


def _figures(inputs: Inputs, *, is_degraded: bool) -> tuple[Floats, Floats, Integers]:
    """Cost, cost without a cached prefix, latency: [offers]; infinite cost for what is filtered."""
    filtered = inputs.filtered
    market, needs = filtered.market, filtered.needs
    live, session = inputs.live, inputs.session
    if live is None or live.market is not market or is_degraded:
        live = _guessed(market)
    if is_degraded or inputs.reading is None:
        tasks: Floats = TASK_UNKNOWN
        session = None
    else:
        tasks = inputs.reading.tasks
    costs, plain, latencies = live.outlook(needs).expect(tasks, needs.input_tokens, session)
    if filtered.bits != market.everything:
        is_feasible = market.mask(filtered.bits)
        lowered, costs = costs, np.where(is_feasible, costs, np.float32(np.inf))
        plain = costs if plain is lowered else np.where(is_feasible, plain, np.float32(np.inf))
    return costs, plain, latencies


@lru_cache(maxsize=4)
def _guessed(market: Market) -> LiveView:
    return LiveView(market)


def _cheapest_offers(market: Market, costs: Floats, latencies: Integers) -> Integers:
    """The cheapest offer of every candidate, the fastest of equals, the first of those."""
    if len(market.offers) == len(market.models):
        return market.first_offers
    order = np.lexsort((latencies, costs))[::-1]
    picked = np.empty(len(market.models), np.intp)
    picked[market.model_of[order]] = order  # the last one written is the first in order
    return picked


def _session(market: Market, session: Sticky | None, costs: Floats, plain: Floats) -> tuple[int, float] | None:
    """The session's model and its cost without a cached prefix; None where none lowers its cost."""
    if session is None or costs is plain:
        return None
    candidate = market.index[session.model]
    first, end = market.starts[candidate : candidate + 2]
    cost = float(plain[first:end].min())
    return (candidate, cost) if np.isfinite(cost) else None
