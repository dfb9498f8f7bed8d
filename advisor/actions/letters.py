"""Sending letters: lease one, hand it to the mail server, mark it. Nothing is held in a transaction meanwhile.

A sender that dies between sending and marking leaves the letter leased. When the lease is over it goes out again, with
the same `Message-ID`: one letter to every mail program, and one in our own count.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from threading import Event
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet

from accounts.models import Membership, User
from advisor.alert_letter import write_alert
from advisor.letter import Written, write
from advisor.models import Alert, ClosedAddress, Letter, MailWishes
from advisor.weeks import is_over
from komilion.common.clock import monotonic_s, utc_now
from komilion.common.failpoints import failpoint
from komilion.common.mail import MailRefused, MailServerTrouble, MailTrouble, send_mail

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=10)  # far more than the seconds that a mail server may take
TRIES_MOST = 8
FIRST_PAUSE = timedelta(minutes=5)  # after a try that failed; twice as long after each further one
SERVER_PAUSE = timedelta(minutes=5)  # where the mail server takes nothing from anybody
ERROR_CHARACTERS = 500


@dataclass(slots=True)
class Sending:
    """What one run did."""

    sent: int = 0
    left_out: int = 0
    failed: int = 0  # for good; what is tried again is in none of these
    trouble: str = ""  # that ended the run: the mail server is away


def do_send_letters(organization_id: int | None = None, *, within_s: float = inf) -> Sending:
    """Send what waits, the oldest first, ADVISOR_LETTERS_PER_S at most; of one organization if it is named.

    None is begun after `within_s`. A server that is away is not asked again for each letter.
    """
    done, pause, end_s = Sending(), Event(), monotonic_s() + within_s
    while monotonic_s() < end_s:
        letter = _lease(utc_now(), organization_id)
        if letter is None:
            break
        began = monotonic_s()
        try:
            _deal_with(letter, done)
        except MailServerTrouble as error:
            done.trouble = str(error)
            break
        pause.wait(max(0.0, 1 / settings.ADVISOR_LETTERS_PER_S - (monotonic_s() - began)))
    return done


def _due(now: datetime) -> QuerySet[Letter]:
    """What waits for its first or next try, and what was leased by somebody who is gone."""
    is_waiting = Q(state=Letter.State.WAITING) & (Q(leased_until__isnull=True) | Q(leased_until__lte=now))
    return Letter.objects.filter(is_waiting | Q(state=Letter.State.SENDING, leased_until__lte=now))


def _lease(now: datetime, organization_id: int | None) -> Letter | None:
    """The next letter, for us alone; None where none is due."""
    due = _due(now)
    if organization_id is not None:
        due = due.filter(Q(digest__organization_id=organization_id) | Q(alert__organization_id=organization_id))
    for letter_id in _one_after_the_other(due):
        values = {"state": Letter.State.SENDING, "leased_until": now + LEASE, "tries": F("tries") + 1}
        if _due(now).filter(pk=letter_id).update(**values):  # else another sender was faster
            rows = Letter.objects.select_related("digest__organization", "alert__organization", "user")
            return rows.get(pk=letter_id)
    return None


def _one_after_the_other(due: QuerySet[Letter]) -> Iterator[int]:
    """Alerts first: a Monday's digests can wait for them, and not they for those."""
    in_order = due.order_by(F("alert").asc(nulls_last=True), "pk")
    while (letter_id := in_order.values_list("pk", flat=True).first()) is not None:
        yield letter_id


def _deal_with(letter: Letter, done: Sending) -> None:
    """Send it, or say why not. Raises `MailServerTrouble`; then it waits as if nothing had been tried."""
    if _is_too_late(letter, utc_now()) or letter.tries > TRIES_MOST:
        done.failed += _mark(letter, Letter.State.FAILED, letter.error or "its time was over before it could be sent")
        return
    if reason := _why_left_out(letter):
        done.left_out += _mark(letter, Letter.State.LEFT_OUT, reason)
        return
    try:
        written = write_alert(letter) if letter.alert else write(letter)
    except Exception:  # whatever one letter cannot be written for, the others go out
        log.exception("a letter cannot be written", extra={"letter": letter.pk})
        _later(letter, "it could not be written; the log says why", done)
        return
    try:
        _send(letter, written)
    except MailServerTrouble as error:
        _again(letter, str(error), SERVER_PAUSE, tries=letter.tries - 1)
        raise
    except MailRefused as error:
        do_close_address(letter.user.email, ClosedAddress.Why.BOUNCE)
        done.failed += _mark(letter, Letter.State.FAILED, str(error))
    except MailTrouble as error:
        _later(letter, str(error), done)
    else:
        failpoint("letter-sent")
        done.sent += _mark(letter, Letter.State.SENT, "")


def _send(letter: Letter, written: Written) -> None:
    send_mail(written.template, letter.user.email, written.context, subject=written.subject, extras=written.extras)


def _is_too_late(letter: Letter, now: datetime) -> bool:
    reason = letter.reason
    return reason.expires_at <= now if isinstance(reason, Alert) else is_over(reason.week, now)


def _why_left_out(letter: Letter) -> str:
    """What may have changed since it was written: nobody gets a letter that she does not want any more."""
    organization = letter.reason.organization
    members = Membership.objects.filter(organization=organization, user_id=letter.user_id, user__is_active=True)
    membership = members.first()
    if membership is None:
        return "no member any more"
    if organization.suspended_at is not None:
        return "the organization is suspended"
    never = Q(wants_alerts=False) if letter.alert else Q(often=MailWishes.Often.OFF)
    if MailWishes.objects.filter(never, membership=membership).exists():
        return "wants no letters"
    closed = ClosedAddress.objects.filter(address=letter.user.email.lower()).first()
    return "" if closed is None else f"the address is closed: {closed.why}"


def _mark(letter: Letter, state: Letter.State, error: str) -> int:
    """The end of it: 1, or 0 where another sender, after the end of our lease, came to an end first."""
    values: dict[str, Any] = {"state": state, "error": error[:ERROR_CHARACTERS], "leased_until": None}
    if state == Letter.State.SENT:
        values["sent_at"] = utc_now()
    elif state == Letter.State.FAILED:
        log.warning("letter not sent", extra={"letter": letter.pk, "error": error})
    return Letter.objects.filter(pk=letter.pk, state=Letter.State.SENDING).update(**values)


def _later(letter: Letter, error: str, done: Sending) -> None:
    """It is tried again after a while, so often."""
    if letter.tries >= TRIES_MOST:
        done.failed += _mark(letter, Letter.State.FAILED, error)
    else:
        _again(letter, error, FIRST_PAUSE * 2 ** (letter.tries - 1), tries=letter.tries)


def _again(letter: Letter, error: str, pause: timedelta, *, tries: int) -> None:
    log.warning("letter waits", extra={"letter": letter.pk, "error": error})
    Letter.objects.filter(pk=letter.pk, state=Letter.State.SENDING, leased_until=letter.leased_until).update(
        state=Letter.State.WAITING,
        leased_until=utc_now() + pause,
        tries=tries,
        error=error[:ERROR_CHARACTERS],
    )


def do_close_address(address: str, why: ClosedAddress.Why) -> None:
    """Send no letter of the advisor there any more. A complaint stays one, whatever is heard of the address later."""
    row, is_new = ClosedAddress.objects.get_or_create(
        address=address.lower(), defaults={"why": why, "closed_at": utc_now()}
    )
    if not is_new and why == ClosedAddress.Why.COMPLAINT and row.why != why:
        ClosedAddress.objects.filter(pk=row.pk).update(why=why)


def do_close_known_address(address: str, why: ClosedAddress.Why) -> bool:
    """The same where the address is somebody's who is here; whether it is. Nothing is kept of others."""
    is_known = User.objects.filter(email__iexact=address).exists()
    if is_known:
        do_close_address(address, why)
    return is_known


def do_open_address(address: str) -> bool:
    """Send letters there again: it was closed by mistake; whether it was closed."""
    return bool(ClosedAddress.objects.filter(address=address.lower()).delete()[0])
