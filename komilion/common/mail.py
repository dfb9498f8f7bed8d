"""E-mail: a template and an address in, a message of Django's out; one look for all of them.

`templates/mail/NAME.txt` is the message; where there is a `NAME.html` (it extends `mail/base.html`) it goes along. Mail
programs drop style sheets, so the styles are written into the elements here, at send time.
"""

import re
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage, MIMEPart
from email.policy import EmailPolicy, Policy
from email.policy import default as default_policy
from typing import Any, override

import css_inline
from anymail.exceptions import AnymailError, AnymailRecipientsRefused
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
# RFC 3463 and 7505, after the 5 that says for good: there is no such mailbox, or domain, or it takes no mail. What else
# a server refuses for good is about us or this message (policy 5.7, a full mailbox 5.2.2).
NO_MAILBOX = frozenset({b"1.1", b"1.2", b"1.3", b"1.6", b"1.10", b"2.1"})
DETAIL = re.compile(rb"\s*\d\.(\d{1,3}\.\d{1,3})\b")
NO_MAILBOX_WITHOUT_DETAIL = frozenset({550, 551, 553})  # RFC 5321, from servers that say no more
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


class MailRefused(MailTrouble):
    """No message to this address will ever go out: there is no such mailbox."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG that the HTML shows by `<img src="cid:CID">`: it comes along, so that nothing is loaded from afar."""

    cid: str  # unlike any other's in the world: `name@host` (RFC 2392)
    file_name: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Extras:
    """What a message has beside subject and bodies."""

    headers: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


NOTHING = Extras()


class _OneLine(UnstructuredHeader, BaseHeader):
    """A header that holds a URL: a long one would be folded into encoded words (RFC 2047), which nobody follows."""

    @override
    def fold(self, *, policy: Policy) -> str:
        """Up to 998 characters may stand in a line (RFC 5322)."""
        return f"{self.name}: {self}{policy.linesep}"


class _Headers(HeaderRegistry):
    def __init__(self) -> None:
        super().__init__()
        self.map_to_type("list-unsubscribe", _OneLine)


class _Message(EmailMultiAlternatives):
    """A message whose attachments are pictures of its HTML, which stand with it in one part (RFC 2387).

    They are attachments for the sake of vendors' APIs, which never see the message as it is composed here.
    """

    @override
    def message(self, *, policy: "EmailPolicy[EmailMessage]" = default_policy) -> EmailMessage:  # type: ignore[override]  # as Django has it
        pictures, self.attachments = self.attachments, []
        try:
            message: EmailMessage = super().message(policy=policy.clone(header_factory=_Headers()))
        finally:
            self.attachments = pictures
        html = message.get_body(("html",)) if pictures else None
        if html is not None:
            html.make_related()
            for picture in pictures:
                html.attach(picture)
        return message


def send_mail(template: str, to: str, context: Mapping[str, Any], *, subject: str, extras: Extras = NOTHING) -> None:
    """Send one message to one address. It may talk to a server, so call it after the commit. Raises `MailTrouble`.

    The templates also see `public_url` and `subject`. The text is plain, so the `.txt` says `{% autoescape off %}`.
    """
    subject = " ".join(subject.split())[:SUBJECT_LIMIT_CHARACTERS]  # a line break would begin another header
    text, html = bodies(template, context, subject=subject)
    message = _Message(subject=subject, body=text, to=[to], headers=dict(extras.headers))
    if html is not None:
        message.attach_alternative(html, "text/html")
        for picture in extras.pictures:
            message.attach(_part_of(picture))
    try:
        message.send()
    except TROUBLE as error:
        count("komilion_mails", ("failed",))  # in `/metrics`: a mail server that refuses keeps people from signing up
        raise _kind_of(error)(f"{type(error).__name__}: {error}") from error
    count("komilion_mails", ("sent",))


def bodies(template: str, context: Mapping[str, Any], *, subject: str) -> tuple[str, str | None]:
    """The text of a message, and its HTML where it has one."""
    seen = {"public_url": settings.PUBLIC_URL, "subject": subject, **context}
    text = get_template(f"mail/{template}.txt").render(seen)
    return text.strip() + "\n", _html_of(template, seen)


def _part_of(picture: Picture) -> MIMEPart:
    part = MIMEPart()
    part.set_content(
        picture.png, "image", "png", disposition="inline", filename=picture.file_name, cid=f"<{picture.cid}>"
    )
    return part


def _kind_of(error: Exception) -> type[MailTrouble]:
    if _is_of_the_server(error):
        return MailServerTrouble
    return MailRefused if _has_no_mailbox(error) else MailTrouble


def _has_no_mailbox(error: Exception) -> bool:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        said = list(error.recipients.values())
        return bool(said) and all(_says_no_mailbox(code, text) for code, text in said)
    if isinstance(error, smtplib.SMTPDataError) and isinstance(error.smtp_error, bytes):
        return _names_no_mailbox(error.smtp_code, error.smtp_error)  # a code alone may mean what the letter says
    return isinstance(error, AnymailRecipientsRefused)  # a vendor says so of what bounced or complained before


def _says_no_mailbox(code: int, text: bytes) -> bool:
    """By the enhanced status code (RFC 3463) where the server sends one."""
    return _names_no_mailbox(code, text) if DETAIL.match(text) else code in NO_MAILBOX_WITHOUT_DETAIL


def _names_no_mailbox(code: int, text: bytes) -> bool:
    detail = DETAIL.match(text)
    return detail is not None and 500 <= code < 600 and detail[1] in NO_MAILBOX


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
