"""The receipt of a choice, small enough for every usage row; routing.selection.explain puts it into words.

A packed receipt is a JSON object without a word of the prompt. It names the market by its fingerprint, whose `Facts`
are stored once by whoever stores receipts. Its table has 11 bytes for a candidate, in base64, little-endian, one row
after the other:

    int16  logit x 1024, offset contained        uint16  standard error x 1024
    float32  expected cost, whole nano-USD       uint16  expected latency x 100 s
    uint8  position of the cheapest feasible offer among the model's, or 128 + 1 + position of the filter that failed

That is exactly what was compared. The row of the reading is float16.
"""

from base64 import b64decode
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from routing.selection.filters import Needs, verdict
from routing.selection.market import Facts, Floats, Integers
from routing.selection.offsets import Feedback
from routing.selection.policy import LOGIT_STEPS, POLICY_VERSION, Decision, Table, decide
from routing.selection.words import TASKS

if TYPE_CHECKING:
    from routing.selection.choose import Choice, Reading

RECEIPT_VERSION = 1
PROPENSITY = 1.0  # of the chosen model: nothing is explored
FILTERED = 128


class PackedReading(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was read, as it is stored."""

    regime: str
    known: str  # tasks, vector and mix in one row: float16 in base64
    difficulty: float
    reasons: list[tuple[str, float]]


class Packed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A receipt as it is stored."""

    version: int
    market: str
    weights: str
    policy: str
    policy_version: int
    rule: str
    ranked: list[int]
    needs: tuple[int, int | None, int, str | None, list[str]]
    table: str
    propensity: float
    best: int | None = None
    best_price: int | None = None  # the id of its frozen price version
    is_degraded: bool = False
    reading: PackedReading | None = None
    hint: str | None = None
    pin: str | None = None
    trial: str | None = None
    session: tuple[int, float] | None = None
    offsets: list[tuple[int, int]] = []  # (candidate, 1/1024 logit) where it is not 0
    offsets_version: int | None = None
    workflow: tuple[str, str] | None = None


class Unpacked(msgspec.Struct, frozen=True):
    """A receipt with its market's facts and its table as arrays."""

    packed: Packed
    facts: Facts
    table: Table
    codes: list[int]  # of filters, 0 for feasible


class StoredReading(msgspec.Struct, frozen=True):
    """A reading from a receipt; arrays to float16 precision."""

    regime: str
    known: Floats
    difficulty: float
    reasons: tuple[tuple[str, float], ...]

    @property
    def tasks(self) -> Floats:
        """The posterior."""
        return self.known[: len(TASKS)]

    @property
    def task(self) -> str:
        """The most likely."""
        return TASKS[int(self.tasks.argmax())]


class WrongMarket(ValueError):
    """The facts are not those of the market that the receipt was made in."""


def pack(choice: "Choice") -> dict[str, Any]:
    """The receipt as a JSON-able object; about 1.3 kB for 60 candidates."""
    inputs, table, decision = choice.inputs, choice.table, choice.decision
    filtered, best = inputs.filtered, choice.best_offer
    needs = filtered.needs
    offsets = [] if choice.offsets is None else choice.offsets.tolist()
    packed = Packed(
        version=RECEIPT_VERSION,
        market=choice.market.fingerprint,
        weights=inputs.weights,
        policy=inputs.policy,
        policy_version=POLICY_VERSION,
        rule=decision.rule,
        ranked=list(decision.ranked),
        needs=(needs.input_tokens, needs.max_output_tokens, needs.choices, needs.effort, sorted(needs.capabilities)),
        table=_pack_table(choice),
        propensity=PROPENSITY,
        best=decision.best,
        best_price=None if best is None else best.price.id,
        is_degraded=table.logits is None,
        reading=None if inputs.reading is None else _pack_reading(inputs.reading),
        hint=inputs.hint,
        pin=inputs.pin,
        trial=None if inputs.pin is None else inputs.trial,
        session=table.session,
        offsets=[(i, round(offset * LOGIT_STEPS)) for i, offset in enumerate(offsets) if offset],
        offsets_version=None if inputs.offsets is None else inputs.offsets.version,
        workflow=None if inputs.workflow is None else (inputs.workflow.workflow, inputs.workflow.reason),
    )
    value: dict[str, Any] = msgspec.to_builtins(packed)
    return value


def unpack(value: Any, facts: Facts) -> Unpacked:
    """Read a stored receipt. Raises `msgspec.ValidationError` for anything else, `WrongMarket` for other facts."""
    packed = msgspec.convert(value, Packed)
    if facts.fingerprint != packed.market:
        raise WrongMarket(f"the receipt is of market {packed.market}, these are the facts of {facts.fingerprint}")
    return _unpack_table(packed, facts)


def decide_again(receipt: Unpacked) -> Decision:
    """The decision that the stored numbers lead to; the same as was taken, unless the formulae have changed since."""
    return decide(receipt.packed.policy, receipt.table)


def reading_of(packed: Packed) -> StoredReading | None:
    """What was read of the request."""
    stored = packed.reading
    if stored is None:
        return None
    reasons = tuple((name, weight) for name, weight in stored.reasons)
    known = np.frombuffer(b64decode(stored.known), "<f2").astype(np.float32)
    return StoredReading(stored.regime, known, stored.difficulty, reasons)


def vote_on(receipt: Unpacked, model_id: str, score: float, organization: str) -> Feedback | None:
    """What feedback on the answer of this model says to the offsets; None where nothing was expected of it."""
    reading, logits = reading_of(receipt.packed), receipt.table.logits
    found = next((i for i, model in enumerate(receipt.facts.models) if model.id == model_id), None)
    if reading is None or logits is None or found is None:
        return None
    logit = (int(logits[found]) - dict(receipt.packed.offsets).get(found, 0)) / LOGIT_STEPS
    return Feedback(
        revision=receipt.facts.models[found].revision,
        task=reading.task,
        difficulty=reading.difficulty,
        probability=float(1 / (1 + np.exp(-logit))),
        score=score,
        organization=organization,
    )


def verdicts(receipt: Unpacked, low: Floats | None, at_least: float) -> list[str]:
    """A verdict for every candidate; `low` are the bounds, `at_least` what the policy asked of them."""
    needs = receipt.packed.needs
    context_tokens = Needs(input_tokens=needs[0], max_output_tokens=needs[1]).context_tokens
    words = []
    for i, (code, model) in enumerate(zip(receipt.codes, receipt.facts.models, strict=True)):
        if code:
            words.append(verdict(code, model, context_tokens))
        elif i in receipt.packed.ranked:
            position = receipt.packed.ranked.index(i)
            words.append(f"fallback {position}" if position else "chosen")
        else:
            words.append("below floor" if low is not None and low[i] < at_least else "not the cheapest")
    return words


def _pack_table(choice: "Choice") -> str:
    table, market, filtered = choice.table, choice.market, choice.inputs.filtered
    size = len(market.models)
    codes: Integers = choice.picked - market.first_offers
    if filtered.bits != market.everything:
        failed = np.array(filtered.codes())
        codes = np.where(failed, failed + FILTERED, codes)
    nothing = np.zeros(size, np.uint16)
    rows = (
        (nothing if table.logits is None else table.logits).astype("<i2", copy=False),
        (nothing if table.errors is None else table.errors).astype("<u2", copy=False),
        table.costs.astype("<f4", copy=False),
        table.latencies.astype("<u2", copy=False),
        codes.astype(np.uint8),
    )
    return b2a_base64(b"".join([row.tobytes() for row in rows]), newline=False).decode()


def _unpack_table(packed: Packed, facts: Facts) -> Unpacked:
    raw, size = b64decode(packed.table), len(facts.models)
    if len(raw) != 11 * size:
        raise msgspec.ValidationError("the table of the receipt has another length than its market")

    def row(first_byte: int, dtype: str) -> Any:
        return np.frombuffer(raw, dtype, size, first_byte * size)

    codes: Integers = row(10, "u1")
    offers = [0 if code >= FILTERED else code for code in codes.tolist()]
    places = {model.id: i for i, model in enumerate(facts.models)}
    table = Table(
        logits=None if packed.is_degraded else row(0, "<i2"),
        errors=None if packed.is_degraded else row(2, "<u2"),
        costs=row(4, "<f4"),
        latencies=row(8, "<u2"),
        providers=[model.providers[offer] for model, offer in zip(facts.models, offers, strict=True)],
        pin=None if packed.pin is None else places.get(packed.pin, -1),
        trial=None if packed.trial is None else places.get(packed.trial, -1),
        session=packed.session,
    )
    return Unpacked(packed, facts, table, [max(0, code - FILTERED) for code in codes.tolist()])


def _pack_reading(reading: "Reading") -> PackedReading:
    return PackedReading(
        regime=reading.regime,
        known=b2a_base64(reading.known.astype("<f2").tobytes(), newline=False).decode(),
        difficulty=round(float(reading.difficulty), 4),
        reasons=[*reading.reasons],
    )
