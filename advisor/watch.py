"""Looking out for trouble: which models fail, slow down or end that organizations use now, and what to do about it."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from accounts.models import Organization
from advisor.advice import Kind, Recommendation
from advisor.alarms import Alarm, alarm_of
from advisor.brief import Brief
from advisor.collect import read_evidence
from advisor.findings import RULES, history_of
from advisor.hours import read_lately
from advisor.kinds import alerts
from advisor.landscape import recent_landscape
from advisor.models import DayEvidence
from advisor.weeks import week_of
from billing.payments.queries import paying
from routing.queries import catalog_rows
from routing.selection.models import Pin

USED_DAYS = 7  # who has not called a model for so long, and has not pinned it, does not care for its end
ILL_FOR_LEAST = 3  # organizations that pay and are alarmed about a model, before it is not recommended to others
URGENCY = (Kind.FAILING, Kind.SLOW, Kind.ENDING)


@dataclass(frozen=True, slots=True)
class Warned:
    """What is wrong with a model, and what could take its place: one recommendation for each task type."""

    alarm: Alarm
    recommendations: Sequence[Recommendation]


def alarms(now: datetime, organization_id: int | None = None) -> list[tuple[int, Alarm]]:
    """Each organization's, the most urgent first; of one organization if it is named. None of one that is suspended."""
    found = [*_troubles(now, organization_id), *_endings(now, organization_id)]
    ids = {key for key, _ in found}
    rows = Organization.objects.filter(pk__in=ids, suspended_at__isnull=True)
    working = set(rows.values_list("pk", flat=True))
    return sorted(
        ((key, alarm) for key, alarm in found if key in working),
        key=lambda each: (each[0], URGENCY.index(each[1].kind), -int(each[1].figures.get("now_calls", 0))),
    )


def ill_of(found: Sequence[tuple[int, Alarm]]) -> list[str]:
    """The models of these alarms that are not recommended to anybody.

    Who calls can have calls fail or answers come late: so what ends is among them, and what enough others see that pay.
    """
    paid = paying({key for key, _ in found})
    seen_by: defaultdict[str, set[int]] = defaultdict(set)
    for key, alarm in found:
        if key in paid:
            seen_by[alarm.model].add(key)
    ending = {alarm.model for _, alarm in found if alarm.kind == Kind.ENDING}
    return sorted(ending | {model for model, keys in seen_by.items() if len(keys) >= ILL_FOR_LEAST})


def _troubles(now: datetime, organization_id: int | None) -> Iterator[tuple[int, Alarm]]:
    for key, lately in read_lately(now, RULES.alert_least_calls, organization_id):
        alarm = alarm_of(lately, RULES)
        if alarm is not None:
            yield key, alarm


def _endings(now: datetime, organization_id: int | None) -> Iterator[tuple[int, Alarm]]:
    """Models that end soon, of whoever calls or has pinned them."""
    today = now.astimezone(UTC).date()
    last = today + timedelta(days=RULES.ending_soon_days)
    models = catalog_rows().catalog.models.values()
    ending = {model.id: model for model in models if model.sunset_on is not None and today < model.sunset_on <= last}
    if not ending:
        return
    used = DayEvidence.objects.filter(model__in=ending, day__gte=today - timedelta(days=USED_DAYS), requests__gt=0)
    pinned = Pin.objects.filter(model__in=ending)
    if organization_id is not None:
        used, pinned = used.filter(organization_id=organization_id), pinned.filter(organization_id=organization_id)
    pairs = {*used.values_list("organization_id", "model"), *pinned.values_list("organization_id", "model")}
    for key, id_ in sorted(pairs):
        ends_on = ending[id_].sunset_on
        assert ends_on is not None
        figures = {"ends_on": ends_on.isoformat(), "successor": ending[id_].successor or ""}
        yield key, Alarm(Kind.ENDING, id_, 1.0, figures)


def warned(organization_id: int, found: Sequence[Alarm], ill: Collection[str], now: datetime) -> list[Warned]:
    """What could take the place of each of these models; none of those that are `ill`. Without what was answered."""
    today = now.astimezone(UTC).date()
    (evidence,) = read_evidence([organization_id], today - timedelta(days=1))
    brief = Brief(
        evidence, recent_landscape(today), history_of(organization_id, week_of(today + timedelta(weeks=1))), RULES
    )
    all_ill = frozenset(ill)
    news = [alarm for alarm in found if not alerts.was_answered(brief, alarm)]
    return [Warned(alarm, alerts.advise(alerts.without(brief, all_ill, alarm.model), alarm)) for alarm in news]
