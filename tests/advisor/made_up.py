"""Evidence and a market that are made up for tests: one task type, few models, round prices."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from advisor.evidence import Candidate, Evidence, Health, KeyFact, Landscape, Output, Tally
from routing.selection.words import TASKS

TODAY = date(2026, 11, 23)  # a Monday
TASK = "summarization"
NANO = 10**9


def candidate(
    name: str, dollars: float, strength: float = 2.5, error: float = 0.2, capabilities: str = "tools vision json_schema"
) -> Candidate:
    """A model at so many dollars a million input tokens, and four times as much for output."""
    price = round(dollars * NANO)
    return Candidate(
        id=name,
        maker=name.partition("/")[0],
        prices={"input": price, "output": 4 * price, "cache_read": price // 10, "input_image": price},
        tiers=(),
        capabilities=frozenset(capabilities.split()),
        context_length=128_000,
        max_output=32_000,
        strength=dict.fromkeys(TASKS, strength),
        error=dict.fromkeys(TASKS, error),
        first_seen_on=date(2026, 1, 1),
        line=name,
    )


def tally(model: Candidate, calls: int = 20_000, task: str = TASK, way: str = "named", policy: str = "") -> Tally:
    """Calls of 1,000 tokens in and 200 out, in four even weeks."""
    tokens = {"input": 1_000.0 * calls, "output": 200.0 * calls}
    charge = sum(units * model.prices[bucket] / 1e6 for bucket, units in tokens.items())
    return Tally(
        task=task,
        model=model.id,
        way=way,
        policy=policy,
        requests=calls,
        seen=calls // 10 if way == "named" else calls,
        tokens=tokens,
        charge_nano=charge,
        by_week=[charge / 4] * 4,
    )


def evidence(tallies: Sequence[Tally], keys: Sequence[KeyFact] = (), **other: object) -> Evidence:
    """Of the four weeks before today."""
    whole = Evidence(7, TODAY - timedelta(days=1), 28, tallies, keys)
    return replace(whole, **other)


def landscape(
    models: Sequence[Candidate],
    health: Mapping[str, Health] | None = None,
    lengths: Mapping[str, float] | None = None,
    today: date = TODAY,
) -> Landscape:
    """A market in which every model writes alike, unless `lengths` gives the logarithm of one's output."""
    found = {
        (model.id, task): Output((lengths or {}).get(model.id, 5.0), 0.05, 5_000) for model in models for task in TASKS
    }
    return Landscape({model.id: model for model in models}, found, health or {}, today)
