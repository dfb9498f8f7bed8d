"""Reading evidence: what organizations did in a window of days, and what they have set, as plain values.

Organizations are read a hundred at a time, with the same few queries for all of them, and handed on one by one: the
memory that this takes does not grow with their number.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Sum, Value, When

from accounts.models import ApiKey
from advisor.evidence import Evidence, KeyFact, Tally
from advisor.models import DayEvidence
from advisor.sharing import SUMMED, Group, Sums, tallies_of
from billing.key_usage import KeyActivity, key_activity
from billing.queries import CapStatus, caps_of_any
from komilion.common.clock import utc_now
from routing.catalog.snapshot import Catalog
from routing.queries import catalog_rows
from routing.selection.models import Pin

WINDOW_DAYS = 28
DAYS_A_WEEK = 7
ORGANIZATIONS_AT_ONCE = 100
KEYS_LOOKED_AT = 1_000  # of one organization, the newest; what its other keys may call counts all the same
ROWS_AT_ONCE = 2_000
OF_LATE_DAYS = 7  # that a key's daily spending is the mean of


def read_evidence(organization_ids: Iterable[int], through: date, days: int = WINDOW_DAYS) -> Iterator[Evidence]:
    """The evidence of each of these organizations, those with little to say too, in the order of their ids.

    The window is so many UTC days that end with `through`; keys, caps and pins are as they are now.
    """
    catalog = catalog_rows().catalog
    for chunk in _chunks(sorted(set(organization_ids)), ORGANIZATIONS_AT_ONCE):
        keys = _keys(chunk, through, catalog)
        pins = _pins(chunk)
        tallies = _tallies(chunk, through, days)
        following = next(tallies, None)
        for organization_id in chunk:
            mine: Sequence[Tally] = ()
            if following is not None and following[0] == organization_id:
                mine, following = following[1], next(tallies, None)
            held = keys.get(organization_id, _Held())
            yield Evidence(
                organization_id=organization_id,
                through=through,
                days=days,
                tallies=mine,
                keys=tuple(held.facts),
                pins=pins.get(organization_id, {}),
                may_call=None if held.all_models else frozenset(held.models),
            )


def organizations_at_work(through: date, days: int = WINDOW_DAYS) -> list[int]:
    """Ids of the organizations that have evidence in the window, in order."""
    rows = _window(through, days).order_by("organization_id")
    return list(rows.values_list("organization_id", flat=True).distinct())


def _chunks(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _window(through: date, days: int) -> QuerySet[DayEvidence]:
    return DayEvidence.objects.filter(day__gt=through - timedelta(days=days), day__lte=through)


def _tallies(chunk: Sequence[int], through: date, days: int) -> Iterator[tuple[int, list[Tally]]]:
    """By organization, in the order of their ids, of those that have any."""
    weeks = days // DAYS_A_WEEK
    week = Case(
        *(
            When(day__gt=through - timedelta(days=DAYS_A_WEEK * (weeks - number)), then=Value(number))
            for number in reversed(range(weeks))
        ),
        default=Value(-1),
        output_field=IntegerField(),
    )
    rows = (
        _window(through, days)
        .filter(organization_id__in=chunk)
        .annotate(week=week)
        .values_list("organization_id", "week", "task", "model", "way", "policy")
        .annotate(**{f"{name}_sum": Sum(name) for name in SUMMED})
        .order_by("organization_id")
    )
    for organization_id, found in groupby(rows, key=itemgetter(0)):
        groups: defaultdict[Group, dict[str, Sums]] = defaultdict(dict)
        for _, number, task, model, way, policy, *values in found:
            sums = groups[model, way, policy].setdefault(task, Sums([0] * weeks))
            sums.add(number, values)
        yield organization_id, tallies_of(groups)


def _pins(chunk: Sequence[int]) -> Mapping[int, Mapping[str, str]]:
    pins: defaultdict[int, dict[str, str]] = defaultdict(dict)
    rows = Pin.objects.filter(organization_id__in=chunk).values_list("organization_id", "task", "model")
    for organization_id, task, model in rows:
        pins[organization_id][task] = model
    return pins


@dataclass(slots=True)
class _Held:
    """The working keys of one organization, and what they may call together."""

    facts: list[KeyFact] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    all_models: bool = False


def _keys(chunk: Sequence[int], through: date, catalog: Catalog) -> Mapping[int, _Held]:
    held: defaultdict[int, _Held] = defaultdict(_Held)
    kept: dict[int, tuple[Any, ...]] = {}
    counts: defaultdict[int, int] = defaultdict(int)
    for row in _working_keys(chunk):
        organization_id, key_id, names = row[0], row[1], row[4]
        mine = held[organization_id]
        if names is None:
            mine.all_models = True
        else:
            mine.models |= _ids(names, catalog)
        counts[organization_id] += 1
        if counts[organization_id] <= KEYS_LOOKED_AT:
            kept[key_id] = row
    caps: dict[int, dict[str, CapStatus]] = {}
    for capped in _chunks([key_id for key_id, row in kept.items() if row[5]], ROWS_AT_ONCE):
        caps |= caps_of_any(capped)
    since = through - timedelta(days=OF_LATE_DAYS - 1)
    activity = {found.key_id: found for found in key_activity(chunk, since, through) if found.key_id in kept}
    for key_id, row in kept.items():
        held[row[0]].facts.append(_fact(row, activity.get(key_id), caps.get(key_id, {}), catalog))
    return held


def _working_keys(chunk: Sequence[int]) -> QuerySet[ApiKey, tuple[Any, ...]]:
    """Organization, id, name, since when, models, whether there are caps; the newest of each organization first."""
    works = Q(expires_at__isnull=True) | Q(expires_at__gt=utc_now())
    keys = ApiKey.objects.filter(works, organization_id__in=chunk, revoked_at__isnull=True)
    columns = ("organization_id", "pk", "name", "created_at", "models_allowed", "has_caps")
    return keys.order_by("organization_id", "-pk").values_list(*columns)


def _ids(names: Iterable[str], catalog: Catalog) -> set[str]:
    """The ids that these names of models mean; a name that means nothing now is kept as it is."""
    return {catalog.canonical(name) or name for name in names}


def _fact(
    row: tuple[Any, ...], activity: KeyActivity | None, caps: Mapping[str, CapStatus], catalog: Catalog
) -> KeyFact:
    _, key_id, name, created_at, names, _ = row
    fullest = max(caps.values(), key=_fullness, default=None)
    return KeyFact(
        key_id=key_id,
        name=name,
        made_on=created_at.date(),
        last_used_on=None if activity is None else activity.last_on,
        models_allowed=None if names is None else frozenset(_ids(names, catalog)),
        cap_nano=None if fullest is None else fullest.limit_nano,
        spent_nano=0 if fullest is None else fullest.spent_nano,
        period_ends_on=None if fullest is None or fullest.resets_at is None else fullest.resets_at.date(),
        daily_nano=0.0 if activity is None else activity.charge_nano / OF_LATE_DAYS,
    )


def _fullness(cap: CapStatus) -> float:
    return cap.spent_nano / cap.limit_nano if cap.limit_nano else float("inf")
