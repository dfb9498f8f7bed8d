"""The state of evidence, advice, letters and upgrades as operators watch it: sums over all tenants, for `/metrics`."""

from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Count, Max

from advisor.models import Advice, Digest, EvidenceDay, Letter, Upgrade
from advisor.weeks import monday_of, week_of
from komilion.common.clock import utc_now

DAY_S = 86_400
WEEKS_COUNTED = 4  # advice and letters of the weeks that an operator still does something about


type Labelled = tuple[str, tuple[str, ...], list[tuple[tuple[str, ...], float]]]
"""What it is, names of its labels, and a value for each set of labels."""


def advisor_state() -> dict[str, tuple[str, float]]:
    """Name -> (what it is, value), of what has no labels."""
    last = EvidenceDay.objects.aggregate(last=Max("day"))["last"]
    age_s = 0.0 if last is None else (utc_now().date() - last).days * DAY_S
    return {
        "advisor_evidence_age_seconds": ("Since the last day began that was built; 0 where none was.", age_s),
        "advisor_digests_this_week": (
            "Organizations that were looked at this week.",
            Digest.objects.filter(week=week_of(utc_now())).count(),
        ),
    }


def advisor_counts() -> dict[str, Labelled]:
    """The same with labels, of the last weeks. Four queries."""
    weeks = weeks_counted()
    since = datetime.combine(monday_of(weeks[-1]), time(), UTC)
    return {
        "advisor_letters": (
            "Digests to members of the last four weeks, and alerts.",
            ("kind", "state"),
            [
                *_labelled("digest", _counted(Letter.objects.filter(digest__week__in=weeks), "state")),
                *_labelled("alert", _counted(Letter.objects.filter(alert__created_at__gte=since), "state")),
            ],
        ),
        "advisor_advice": (
            "Advice of the last four weeks.",
            ("kind", "state"),
            _counted(Advice.objects.filter(week__in=weeks), "kind", "state"),
        ),
        "advisor_upgrades": ("Upgrades of pins, all there were.", ("state",), _counted(Upgrade.objects.all(), "state")),
    }


def weeks_counted() -> list[str]:
    """This week and those before it, the newest first."""
    today = utc_now().date()
    return [week_of(type(today).fromordinal(today.toordinal() - 7 * number)) for number in range(WEEKS_COUNTED)]


def _labelled(kind: str, rows: list[tuple[tuple[str, ...], float]]) -> list[tuple[tuple[str, ...], float]]:
    return [((kind, *labels), value) for labels, value in rows]


def _counted(rows: Any, *names: str) -> list[tuple[tuple[str, ...], float]]:
    found: Iterable[tuple[Any, ...]] = rows.order_by().values_list(*names).annotate(Count("pk"))
    return sorted((tuple(map(str, row[:-1])), float(row[-1])) for row in found)
