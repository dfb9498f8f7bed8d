"""Making alerts: what is wrong with a model now, with its advice, and a letter for each member who wants to hear.

All of an organization's are one transaction that holds its row, so of two workers at once the second finds them said.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, time, timedelta

from django.db import transaction

from accounts.models import Organization
from advisor.actions.digests import advice_row, end_older, members_of
from advisor.advice import Kind
from advisor.alarms import Alarm
from advisor.findings import RULES
from advisor.message_ids import message_id
from advisor.models import Alert, Letter, MailWishes
from advisor.watch import Warned, warned
from advisor.weeks import week_of

NEWS_FOR = timedelta(hours=6)  # then what fails or is slow may be well again


def do_alert(organization_id: int, found: Sequence[Alarm], ill: Collection[str], now: datetime) -> list[Alert]:
    """Say of these, the most urgent first, what was not said of late and may be said.

    `found` is all that the organization is alarmed about; no model of it is recommended, nor one that is `ill`.
    """
    news = _unsaid(organization_id, found, now)
    avoided = {*ill, *(alarm.model for alarm in found)}
    return do_say(organization_id, warned(organization_id, news, avoided, now), now) if news else []


def do_say(organization_id: int, ready: Sequence[Warned], now: datetime) -> list[Alert]:
    """Keep what may be said of these, and have a letter written to each member."""
    with transaction.atomic():
        if Organization.objects.select_for_update(no_key=True).filter(pk=organization_id).first() is None:
            return []
        still = _unsaid(organization_id, [each.alarm for each in ready], now)
        return [_make(organization_id, each, now) for each in ready if each.alarm in still]


def _unsaid(organization_id: int, found: Sequence[Alarm], now: datetime) -> list[Alarm]:
    """Without what was said in the last days, and no more than may be said in them. An end is said once."""
    pause = timedelta(days=RULES.alert_pause_days)
    ending = timedelta(days=2 * RULES.ending_soon_days)
    said = list(Alert.objects.filter(organization_id=organization_id, created_at__gt=now - ending))
    lately = [alert for alert in said if alert.created_at > now - pause]
    known = {(alert.kind, alert.model) for alert in said if alert.kind == Kind.ENDING or alert in lately}
    room = max(RULES.alert_most - len(lately), 0)
    return [alarm for alarm in found if (alarm.kind, alarm.model) not in known][:room]


def _make(organization_id: int, warned: Warned, now: datetime) -> Alert:
    alarm, recommendations = warned.alarm, warned.recommendations
    alert = Alert.objects.create(
        organization_id=organization_id,
        kind=alarm.kind.value,
        model=alarm.model,
        figures=dict(alarm.figures),
        expires_at=_ends_at(alarm, now),
        created_at=now,
    )
    end_older(organization_id, recommendations, now)
    for rank, said in enumerate(recommendations, start=1):
        row = advice_row(organization_id, week_of(now), rank, said, now)
        row.alert = alert
        row.save()
    Letter.objects.bulk_create(_letters(alert))
    return alert


def _ends_at(alarm: Alarm, now: datetime) -> datetime:
    if alarm.kind != Kind.ENDING:
        return now + NEWS_FOR
    return datetime.combine(datetime.fromisoformat(str(alarm.figures["ends_on"])), time(), UTC)


def _letters(alert: Alert) -> list[Letter]:
    """One for each member; it waits unless she wants none of it."""
    rows, closed = members_of(alert.organization_id)
    never = MailWishes.objects.filter(membership__in=rows, wants_alerts=False).values_list("membership_id", flat=True)
    left_out = {*closed, *(row.user_id for row in rows if row.pk in set(never))}
    return [
        Letter(
            alert=alert,
            user_id=row.user_id,
            message_id=message_id(alert.organization_id, row.pk, f"alert-{alert.pk}"),
            state=Letter.State.LEFT_OUT if row.user_id in left_out else Letter.State.WAITING,
        )
        for row in rows
    ]
