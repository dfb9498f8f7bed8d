"""E-mail: a template and an address in, a message of Django's out; one look for all of them.

`templates/mail/NAME.txt` is the message; where there is a `NAME.html` (it extends `mail/base.html`) it goes along. Mail
programs drop style sheets, so the styles are written into the elements here, at send time.
"""

import smtplib
from collections.abc import Mapping
from typing import Any

import css_inline
from anymail.exceptions import AnymailError
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import get_template

from komilion.common.metrics import count

SUBJECT_LIMIT_CHARACTERS = 200
TROUBLE = (OSError, smtplib.SMTPException, AnymailError, ValueError)  # the last: an address that no header can hold
SMTP_IS_AWAY = (
    smtplib.SMTPServerDisconnected,
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPAuthenticationError,
)
_inliner = css_inline.CSSInliner(
    inline_style_tags=True,
    keep_style_tags=False,
    keep_at_rules=True,  # those for dark screens and small ones
    load_remote_stylesheets=False,
)


class MailTrouble(Exception):
    """A message did not go out; another one may."""


class MailServerTrouble(MailTrouble):
    """A message did not go out, and none would now: the server is away, or takes nothing from us."""


def send_mail(template: str, to: str, context: Mapping[str, Any], *, subject: str) -> None:
    """Send one message to one address. It may talk to a server, so call it after the commit. Raises `MailTrouble`.

    The templates also see `public_url` and `subject`. The text is plain, so the `.txt` says `{% autoescape off %}`.
    """
    subject = " ".join(subject.split())[:SUBJECT_LIMIT_CHARACTERS]  # a line break would begin another header
    seen = {"public_url": settings.PUBLIC_URL, "subject": subject, **context}
    text = get_template(f"mail/{template}.txt").render(seen)
    message = EmailMultiAlternatives(subject=subject, body=text.strip() + "\n", to=[to])
    html = _html_of(template, seen)
    if html is not None:
        message.attach_alternative(html, "text/html")
    try:
        message.send()
    except TROUBLE as error:
        count("komilion_mails", ("failed",))  # in `/metrics`: a mail server that refuses keeps people from signing up
        kind = MailServerTrouble if _is_of_the_server(error) else MailTrouble
        raise kind(f"{type(error).__name__}: {error}") from error
    count("komilion_mails", ("sent",))


def _is_of_the_server(error: Exception) -> bool:
    """Whether the next message would meet it too. A vendor's refusal of one message has a status of its own."""
    if isinstance(error, smtplib.SMTPException):
        return isinstance(error, SMTP_IS_AWAY)
    status = getattr(error, "status_code", None)
    if status is not None:
        return status in {401, 403, 429} or status >= 500
    return isinstance(error, OSError)


def _html_of(template: str, seen: dict[str, Any]) -> str | None:
    try:
        found = get_template(f"mail/{template}.html")
    except TemplateDoesNotExist:
        return None
    return _inliner.inline(found.render(seen))
