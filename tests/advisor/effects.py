"""Accepted advice and the calls that its pin answered, for the tests of what advice brought."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from math import log
from typing import Any

import msgspec

from advisor.evidence import Candidate, Tally
from advisor.models import Advice, DayEvidence, Effect, EvidenceDay
from advisor.moved import Moved, Signals
from routing.queries import charged_prices
from tests.advisor.letters.delivering import DOLLAR
from tests.advisor.made_up import candidate
from tests.people import Person

ACCEPTED = datetime(2026, 11, 4, 12, tzinfo=UTC)  # a Wednesday
FIRST = date(2026, 11, 9)  # the Monday after it: 2026-W46
AFTER = datetime(2026, 11, 17, 2, tzinfo=UTC)  # that week is over, and the day after it is built
A_MILLION = 1_000_000


def used(model: str, calls: int = 1_000, way: str = "policy", **values: Any) -> Tally:
    """So many calls of 1,000 tokens in and 100 out, in the window of an advice."""
    tokens = {"input": 1_000.0 * calls, "output": 100.0 * calls}
    return replace(Tally("writing", model, way, "", calls, calls, tokens, 0.0, ()), **values)


def moved(tallies: Sequence[Tally] | None = None, low: int = DOLLAR, high: int = 3 * DOLLAR) -> Moved:
    """1,000 calls of the dear model, unless it is something else; with what was promised for as much."""
    return Moved.of([used("acme/large")] if tallies is None else tallies, (low, high))


def large() -> Candidate:
    """$4 a million tokens in, $16 a million out."""
    return candidate("acme/large", 4.0)


def mini() -> Candidate:
    """$1 and $4."""
    return candidate("acme/mini", 1.0)


def accepted(person: Person, work: Moved | None = None, **values: Any) -> Advice:
    """Advice to have `acme/mini` do the writing that `acme/large` did, which she accepted on a Wednesday."""
    found: dict[str, Any] = {
        "organization_id": person.organization_id,
        "week": "2026-W45",
        "rank": 1,
        "kind": "cheaper",
        "subject": "acme/large",
        "task": "writing",
        "model": "acme/mini",
        "saving_low_nano": DOLLAR,
        "saving_mid_nano": 2 * DOLLAR,
        "saving_high_nano": 3 * DOLLAR,
        "confidence": 0.9,
        "evidence": {"moved": msgspec.to_builtins(work or moved())},
        "risks": [],
        "expires_on": date(2026, 11, 30),
        "state": "accepted",
        "state_at": ACCEPTED,
        "created_at": ACCEPTED,
    }
    return Advice.objects.create(**{**found, **values})


def calls(person: Person, day: date, model: str = "acme/mini", way: str = "pinned", **values: Any) -> None:
    """A row of a day's evidence: ten calls of 100,000 tokens in and 20,000 out that cost a dollar."""
    names = [field.name for field in DayEvidence._meta.fields if field.name not in {"pk", "day", "organization_id"}]
    zeros = {name: 0 for name in names if name not in {"task", "model", "way", "policy"}}
    found = {"requests": 10, "answered": 10, "input": A_MILLION, "output": 200_000, "charge_nano": DOLLAR, **values}
    key = {"task": "writing", "model": model, "way": way, "policy": ""}
    DayEvidence.objects.create(**{**zeros, **key, **found}, day=day, organization_id=person.organization_id)


def built(first: date = FIRST, days: int = 8) -> None:
    """So many days from this one on."""
    for number in range(days):
        day = first + timedelta(days=number)
        EvidenceDay.objects.get_or_create(day=day, defaults={"built_at": AFTER, "calls": 1})


def noted(
    advice: Advice, week: str, cost: int = DOLLAR, saved: int = DOLLAR, promised: int = DOLLAR, **values: Any
) -> Effect:
    """A week that was measured: 1,000 calls, and from `promised` to twice as much was promised for them."""
    found: dict[str, Any] = {
        "requests": 1_000,
        "actual_nano": cost,
        "without_nano": cost + saved,
        "low_nano": promised,
        "high_nano": 2 * promised,
        "signals": asdict(Signals(calls=1_000, failed=20, retried=50, votes=8, score=6.0, log_ms_mean=log(2_100))),
    }
    return Effect.objects.create(advice=advice, week=week, **{**found, **values})


def price_of(model: str, tokens_in: int, tokens_out: int) -> int:
    """Nano-USD with the fee, by the catalogue."""
    prices = charged_prices(model)
    return (prices["input"] * tokens_in + prices["output"] * tokens_out) // A_MILLION
