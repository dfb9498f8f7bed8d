"""Reading what there is to choose from: the same for every organization, so nobody's calls may count for much in it.

Lengths, failures and durations are pooled over organizations that pay (advisor.pooling): each weighs at most so many
calls, and none moves a figure further than others go along.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any

from django.db.models import F, Q, QuerySet, Sum

from accounts.models import Organization, Tier
from advisor.evidence import Candidate, Health, Landscape, Output
from advisor.feedback import Voted, with_votes
from advisor.models import DayEvidence
from advisor.pooling import Lengths, Periods, pool_health, pool_lengths
from advisor.week_prices import WeekPrice, week_prices
from komilion.common.clock import unix_s
from routing.catalog.models import Model
from routing.catalog.snapshot import ModelEntry
from routing.queries import OfferRow, catalog_rows
from routing.selection.market import facts_of
from routing.selection.quality import Strengths, placed
from routing.selection.words import TASKS

WINDOW_DAYS = 28
RECENT_DAYS = 3  # of the window: what health is about; the days before are what it is compared with
ROWS_AT_ONCE = 2_000
KEPT_FOR_S = 900


def recent_landscape(today: date) -> Landscape:
    """What `read_landscape` says, read once in a quarter of an hour: for jobs that look at one organization each."""
    return _kept(today, catalog_rows().version, unix_s() // KEPT_FOR_S)


def forget_landscape() -> None:
    """Read it anew next time; for tests."""
    _kept.cache_clear()


@lru_cache(maxsize=1)
def _kept(today: date, version: int, quarter: int) -> Landscape:
    """By the catalogue's version and the quarter of an hour too."""
    return read_landscape(today)


def read_landscape(today: date) -> Landscape:
    """The models that can be called, and what is known of them; `today` (UTC) is the day after the window's last."""
    rows = catalog_rows()
    entries = [rows.catalog.models[id_] for id_ in sorted(rows.models)]
    strength, error = placed([facts_of(entry) for entry in entries], Strengths.load())
    seen = dict(Model.objects.values_list("pk", "created_at"))
    prices = week_prices(rows.models.values())
    models = {}
    for number, entry in enumerate(entries):
        models[entry.id] = _candidate(
            entry,
            rows.models[entry.id].offer,
            prices[entry.id],
            first_seen_on=seen[entry.id].date(),
            strength=dict(zip(TASKS, strength[number].tolist(), strict=True)),
            error=dict(zip(TASKS, error[number].tolist(), strict=True)),
        )
    return Landscape(
        models=with_votes(models, _voted(today)),
        outputs=_outputs(today),
        health=_health(today),
        today=today,
        retired={id_: model.successor for id_, model in rows.catalog.retired.items()},
    )


def read_models(today: date) -> Landscape:
    """The models that can be called and what they cost and can do, without what is known of their answers: for pins."""
    rows = catalog_rows()
    prices = week_prices(rows.models.values())
    models = {}
    for entry in rows.catalog.models.values():
        since = datetime.fromtimestamp(entry.created_unix_s, UTC).date()
        offer = rows.models[entry.id].offer
        models[entry.id] = _candidate(entry, offer, prices[entry.id], first_seen_on=since, strength={}, error={})
    return Landscape(models, {}, {}, today, {id_: model.successor for id_, model in rows.catalog.retired.items()})


def _candidate(entry: ModelEntry, offer: OfferRow, price: WeekPrice, **known: Any) -> Candidate:
    """By its first offer: the one that is called."""
    return Candidate(
        id=entry.id,
        maker=entry.id.partition("/")[0],
        prices=price.prices,
        tiers=price.tiers,
        capabilities=frozenset(offer.capabilities),
        context_length=offer.context_length,
        max_output=offer.max_output,
        line=entry.line or entry.id,
        deprecated_on=entry.deprecated_on,
        sunset_on=entry.sunset_on,
        successor=entry.successor,
        is_reasoning="reasoning" in offer.capabilities,
        **known,
    )


def _paying(today: date) -> QuerySet[DayEvidence]:
    """The evidence of the window, but for organizations of the free tier: accounts that cost nothing move nothing."""
    free = Organization.objects.filter(tier=Tier.FREE)
    window = DayEvidence.objects.filter(day__gte=today - timedelta(days=WINDOW_DAYS), day__lt=today)
    return window.exclude(organization_id__in=free.values("pk"))


def _voted(today: date) -> Iterator[Voted]:
    rows = (
        _paying(today)
        .filter(votes__gt=0)
        .exclude(task="")
        .values_list("organization_id", "model", "task")
        .annotate(Sum("votes"), Sum("score"), Sum("difficulty"), Sum("rated"))
    )
    for organization_id, model, task, votes, score, difficulty, rated in rows.iterator(chunk_size=ROWS_AT_ONCE):
        yield Voted(organization_id, model, task, votes, score, difficulty / rated if rated else 0.0)


def _outputs(today: date) -> dict[tuple[str, str], Output]:
    rows = (
        _paying(today)
        .filter(answered__gt=0)
        .exclude(task="")
        .values_list("model", "task", "organization_id")
        .annotate(calls=Sum("answered"), logs=Sum("log_output"), squares=Sum("log_output_square"))
        .order_by("model", "task")
    )
    found = {}
    for key, group in _grouped(rows, 2):
        output = pool_lengths([Lengths(calls, logs, squares) for *_, calls, logs, squares in group])
        if output is not None:
            found[key] = output
    return found


def _health(today: date) -> dict[str, Health]:
    is_recent = Q(day__gte=today - timedelta(days=RECENT_DAYS))
    sums = {
        "calls": F("requests") + F("passed_on"),
        "failures": F("failed") + F("passed_on"),
        **{name: F(name) for name in ("answered", "log_ms", "log_ms_square")},
    }
    recent = {f"{name}_recent": Sum(of, filter=is_recent, default=0) for name, of in sums.items()}
    before = {f"{name}_before": Sum(of, filter=~is_recent, default=0) for name, of in sums.items()}
    rows = _paying(today).values_list("model", "organization_id").annotate(**recent, **before).order_by("model")
    found = {}
    for (model,), group in _grouped(rows, 1):
        health = pool_health([Periods(*values) for _, _, *values in group])
        if health is not None:
            found[model] = health
    return found


def _grouped(rows: QuerySet[Any, tuple[Any, ...]], names: int) -> Iterator[tuple[tuple[Any, ...], Iterator[Any]]]:
    """By the first columns, as they come from the database."""
    return groupby(rows.iterator(chunk_size=ROWS_AT_ONCE), key=lambda row: row[:names])
