"""An alert as a member reads it: what is wrong with which model since when, and what could take its place.

Made again for the same letter it is the same, but for what became of the advice meanwhile.
"""

from collections.abc import Mapping
from datetime import date, datetime
from math import exp
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access import RIGHTS, Right
from accounts.models import Membership
from advisor.advice import Kind
from advisor.letter import Written, headers_of, item_of, settings_url, short_name, stop_url
from advisor.links import Act
from advisor.models import Advice, Alert, Letter
from advisor.words import day_words, task_words
from komilion.common.mail import Extras

TEMPLATE = "advisor_alert"
HEADLINES: Mapping[str, Any] = {
    Kind.FAILING: gettext_lazy("%(model)s is failing"),
    Kind.SLOW: gettext_lazy("%(model)s has become slow"),
    Kind.ENDING: gettext_lazy("%(model)s will be shut down on %(day)s"),
}


def write_alert(letter: Letter) -> Written:
    """The letter of one member."""
    alert = letter.reason
    assert isinstance(alert, Alert)
    organization = alert.organization
    role = Membership.objects.get(organization=organization, user_id=letter.user_id).role
    may_act = Right.KEYS in RIGHTS[role]
    off = stop_url(letter, Act.ALERTS, alert.created_at.date())
    headline = str(HEADLINES[alert.kind]) % {"model": alert.model, "day": _end(alert)}
    usage = {"organization": organization.pk, "model": alert.model}
    context = {
        "organization": organization.name,
        "headline": headline,
        "facts": _facts(alert, ZoneInfo(letter.user.time_zone)),
        "choices": [(_choice(row), item_of(letter, row, may_act=may_act)) for row in alert.advice.order_by("rank")],
        "is_ending": alert.kind == Kind.ENDING,
        "may_act": may_act,
        "email": letter.user.email,
        "settings_url": settings_url(),
        "usage_url": f"{settings.PUBLIC_URL}/dashboard/usage?{urlencode(usage)}",
        "off_url": off,
    }
    subject = _("%(organization)s: %(headline)s") % {
        "organization": short_name(organization.name),
        "headline": headline,
    }
    return Written(TEMPLATE, subject, context, Extras(headers_of(letter, off)))


def _choice(row: Advice) -> str:
    return _("For %(task)s: %(model)s") % {"task": task_words(row.task), "model": row.model}


def _facts(alert: Alert, zone: ZoneInfo) -> list[str]:
    """What was seen, in sentences."""
    if alert.kind == Kind.ENDING:
        found = [
            _("Your organization uses it."),
            _("From that day on its calls fail, unless its maker names another model that costs no more."),
        ]
        if successor := alert.figures["successor"]:
            found.append(_("Its maker names %(successor)s as its successor.") % {"successor": successor})
        return found
    since = datetime.fromisoformat(alert.figures["since"]).astimezone(zone)
    when = {"since": f"{date_format(since, 'H:i')} ({since.tzname()})"}
    return _failures(alert.figures, when) if alert.kind == Kind.FAILING else [_slowness(alert.figures, when)]


def _failures(figures: Mapping[str, Any], when: dict[str, str]) -> list[str]:
    failed, rescued = figures["now_failed"], figures["now_rescued"]
    numbers = {
        **when,
        "failed": f"{failed:,}",
        "calls": f"{figures['now_calls']:,}",
        "usual": f"{100 * figures['failed_share_before']:.1f}",
    }
    if rescued == failed:
        outcome = _("Another model answered each of them, so nobody got an error.")
    elif rescued:
        parts = {"rescued": f"{rescued:,}", "rest": f"{failed - rescued:,}"}
        outcome = _("Another model answered %(rescued)s of them; the other %(rest)s ended with an error.") % parts
    else:
        outcome = _("They ended with an error.")
    return [
        _("Of the %(calls)s calls that it was to answer since %(since)s, %(failed)s failed.") % numbers,
        outcome,
        _("In the four weeks before, %(usual)s of 100 failed.") % numbers,
    ]


def _slowness(figures: Mapping[str, Any], when: dict[str, str]) -> str:
    seconds = {name: f"{exp(figures[name]) / 1_000:.1f}" for name in ("log_ms", "log_ms_before")}
    return _(
        "Since %(since)s its answers take %(times)s times as long as they did for their length: typically"
        " %(log_ms)s seconds, %(log_ms_before)s in the four weeks before."
    ) % {**when, **seconds, "times": figures["times"]}


def _end(alert: Alert) -> str:
    ends_on = alert.figures.get("ends_on")
    return day_words(date.fromisoformat(ends_on)) if ends_on else ""
