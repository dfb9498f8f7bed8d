"""A digest as a member reads it: everything that the templates show, in words, with the member's own signed links.

Made again for the same letter it is the same, but for what became of the advice meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access import RIGHTS, Right
from accounts.models import Membership
from advisor.advice import ABOUT_KEYS, PINS
from advisor.chart import bars
from advisor.figures import Figures, Line
from advisor.links import Act, Link
from advisor.message_ids import mail_host
from advisor.models import Advice, Digest, Letter
from advisor.news import Told, tell, upgrades_told
from advisor.prompts import stand_in
from advisor.queries import allows_samples, current, is_first_letter
from advisor.weeks import monday_of
from advisor.words import Said, day_words, dollars, roughly, said, task_words
from komilion.common.mail import Extras, Picture
from komilion.common.money import NANO_PER_USD

TEMPLATE = "advisor_digest"
LETTERS_LINK_DAYS = 365  # a letter can be stopped long after it came
QUESTION_LINK_DAYS = 27  # what is asked by a letter can be answered for four weeks
QUESTION_PAGES = {Act.AGREE: "advice:upgrade", Act.DECLINE: "advice:upgrade", Act.SAMPLES: "advice:samples"}
MINUS = "\N{MINUS SIGN}"
NAME_CHARACTERS = 60  # of an organization, in the subject


@dataclass(frozen=True, slots=True)
class Written:
    """A letter, ready for `send_mail`."""

    template: str
    subject: str
    context: dict[str, Any]
    extras: Extras


@dataclass(frozen=True, slots=True)
class Item:
    """One advice with what can be done about it; a link is empty where it cannot."""

    number: int
    words: Said
    accept: str
    compare: str
    key: str  # the page of the key that it is about
    dismiss: str
    became: str  # what somebody did about it before the letter went out


@dataclass(frozen=True, slots=True)
class Newer:
    """A newer model for a pin; the links are empty where nobody is asked, or not this member."""

    told: Told
    agree: str
    decline: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of where the money went."""

    name: str
    amount: str
    change: str


def write(letter: Letter) -> Written:
    """The letter of one member."""
    digest = letter.reason
    assert isinstance(digest, Digest)
    organization = digest.organization
    figures = msgspec.convert(digest.figures, Figures)
    rows = Advice.objects.filter(organization_id=organization.pk, week=digest.week, alert=None).order_by("rank")
    role = Membership.objects.get(organization=organization, user_id=letter.user_id).role
    may_act, allowed = Right.KEYS in RIGHTS[role], allows_samples(organization.pk)
    items = [item_of(letter, row, may_act=may_act) for row in rows]
    saving = _saving(rows)
    told = tell(upgrades_told(organization.pk, digest.week, digest.created_at))
    asks_for_samples = allowed is None and may_act and is_first_letter(digest)
    off = stop_url(letter, Act.LETTERS, monday_of(digest.week))
    cid = f"spend.{digest.week.lower()}.{digest.pk}@{mail_host()}"
    context = {
        "organization": organization.name,
        "headline": _headline(figures),
        "change": _change_words(figures),
        "first_day": day_words(figures.first_day),
        "last_day": day_words(figures.last_day),
        "chart_from": day_words(figures.last_day - timedelta(days=len(figures.days) - 1)),
        "chart_cid": cid if any(figures.days) else "",
        "chart_words": _chart_words(figures),
        "tasks": [_row(line, task_words(line.name)) for line in figures.tasks],
        "models": [_row(line, line.name) for line in figures.models],
        "items": items,
        "saving": saving,
        "upgrades": [_newer(letter, each, may_act=may_act) for each in told],
        "samples_url": _question_url(letter, Act.SAMPLES) if asks_for_samples else "",
        "keeps_samples": bool(allowed),
        "may_act": may_act,
        "email": letter.user.email,
        "settings_url": settings_url(),
        "usage_url": _page_url("dashboard:overview", organization.pk),
        "advisor_url": _page_url("dashboard:advisor", organization.pk),
        "off_url": off,
    }
    pictures = [Picture(cid, "spend.png", bars(figures.days, 7))] if context["chart_cid"] else []
    return Written(
        TEMPLATE,
        _subject(organization.name, saving, _titles(items, told)),
        context,
        Extras(headers_of(letter, off), pictures),
    )


def item_of(letter: Letter, row: Advice, *, may_act: bool) -> Item:
    """One advice, with links for what the member may do about it."""
    row = current(row)
    is_pin, is_open = row.kind in PINS and bool(row.model), row.state == Advice.State.OPEN
    return Item(
        number=row.rank,
        words=said(row),
        accept=act_url(letter, Act.ACCEPT, row) if is_pin and is_open and may_act else "",
        compare=compare_url(row) if is_pin and may_act else "",
        key=_key_url(row) if row.kind in ABOUT_KEYS else "",
        dismiss=act_url(letter, Act.DISMISS, row) if is_open and may_act else "",
        became="" if is_open else _became(row),
    )


def _newer(letter: Letter, told: Told, *, may_act: bool) -> Newer:
    if not (told.waits and may_act):
        return Newer(told, "", "")
    return Newer(told, *(_question_url(letter, act, told.upgrade.pk) for act in (Act.AGREE, Act.DECLINE)))


def _became(row: Advice) -> str:
    if row.state == Advice.State.ACCEPTED:
        return _("Accepted by %(who)s.") % {"who": row.state_by}
    return _("Dismissed by %(who)s.") % {"who": row.state_by} if row.state_by else _("Its time is over.")


def settings_url() -> str:
    """Where a member says what she wants to hear."""
    return f"{settings.PUBLIC_URL}{reverse('people:account')}#letters"


def act_url(letter: Letter, act: Act, row: Advice) -> str:
    """The page on which its member may do this about the advice."""
    return _url("advice:open", Link(act, row.organization_id, letter.user_id, row.pk, row.expires_on))


def stop_url(letter: Letter, act: Act, day: date) -> str:
    """The page, and for mail programs the address, that ends such letters; `day` is when it was made."""
    last_day = day + timedelta(days=LETTERS_LINK_DAYS)
    return _url("advice:letters", Link(act, letter.reason.organization_id, letter.user_id, 0, last_day))


def _question_url(letter: Letter, act: Act, row_id: int = 0) -> str:
    """The page on which its member may answer what a digest asks beside its advice."""
    digest = letter.reason
    assert isinstance(digest, Digest)
    last_day = monday_of(digest.week) + timedelta(days=QUESTION_LINK_DAYS)
    return _url(QUESTION_PAGES[act], Link(act, digest.organization_id, letter.user_id, row_id, last_day))


def _url(page: str, link: Link) -> str:
    return f"{settings.PUBLIC_URL}{reverse(page, args=[link.token])}"


def headers_of(letter: Letter, off: str) -> dict[str, str]:
    """What mail programs and servers need to know; `off` is the address that ends such letters."""
    return {
        "Message-ID": letter.message_id,
        "List-Unsubscribe": f"<{off}>",  # with the next: RFC 8058
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",  # RFC 3834: no answer of an absent person comes back
    }


def compare_url(row: Advice) -> str:
    """The playground with both models and a typical prompt of the organization's, where one is kept when it is opened.

    Else it begins with the stand-in that the link has. No prompt of anybody's stands in a letter, where nobody could
    delete it, or in an address. It starts nothing by itself.
    """
    query = {
        "organization": row.organization_id,
        "models": f"{row.subject},{row.model}",
        "task": row.task,
        "sample": "yes",
        "prompt": stand_in(row.task),
    }
    return f"{settings.PUBLIC_URL}{reverse('playground:show')}?{urlencode(query)}"


def _key_url(row: Advice) -> str:
    return _page_url("keys:one", row.organization_id, row.subject)


def _page_url(page: str, organization_id: int, *args: str) -> str:
    """A page of the dashboard, of that organization."""
    return f"{settings.PUBLIC_URL}{reverse(page, args=args)}?{urlencode({'organization': organization_id})}"


def _headline(figures: Figures) -> str:
    if not figures.nano:
        return _("Nothing was spent on chats last week")
    return _("%(money)s for chats last week") % {"money": dollars(figures.nano)}


def _change_words(figures: Figures) -> str:
    before = dollars(figures.before_nano)
    if not figures.before_nano:
        return _("Nothing in the week before.")
    change = _change(figures.nano, figures.before_nano)
    if not change:
        return _("As much as in the week before (%(before)s).") % {"before": before}
    return _("%(change)s against the week before (%(before)s).") % {"change": change, "before": before}


def _change(nano: int, before_nano: int) -> str:
    """`+12 %` or, with a true minus sign, `-8 %`; empty where it is about the same."""
    percent = round(100 * (nano - before_nano) / before_nano) if before_nano else 0
    return "" if percent == 0 else f"{'+' if percent > 0 else MINUS}{abs(percent):,} %"


def _row(line: Line, name: str) -> Row:
    change = _change(line.nano, line.before_nano) if line.before_nano else _("new")
    return Row(name or _("everything else"), dollars(line.nano), change or _("same"))


def _chart_words(figures: Figures) -> str:
    """What the picture shows, for who does not see it."""
    weeks = [sum(figures.days[start : start + 7]) for start in range(0, len(figures.days), 7)]
    shown = ", ".join(dollars(week) for week in weeks)
    return _("Spent on chats on each of the last %(days)s days. Week by week: %(weeks)s.") % {
        "days": len(figures.days),
        "weeks": shown,
    }


def _saving(rows: Any) -> str:
    """All that the open advice would save a month; empty where it is nothing worth naming."""
    total = sum(max(0, row.saving_mid_nano) for row in map(current, rows) if row.state == Advice.State.OPEN)
    return roughly(total) if total >= NANO_PER_USD else ""


def _titles(items: Sequence[Item], told: Sequence[Told]) -> list[str]:
    return [*(item.words.title for item in items), *(each.title for each in told)]


def _subject(name: str, saving: str, titles: Sequence[str]) -> str:
    """The organization first: whoever belongs to several sees which. Then what matters most."""
    short = short_name(name)
    if saving:
        return _("%(organization)s: about %(saving)s a month to save") % {"organization": short, "saving": saving}
    text = ngettext("%(organization)s: %(title)s", "%(organization)s: %(title)s, and more", len(titles))
    return text % {"organization": short, "title": titles[0]}


def short_name(name: str) -> str:
    """Of an organization, as a subject has room for it."""
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
