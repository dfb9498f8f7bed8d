"""E-mail to people: after the commit, and never the end of what it is about."""

import logging
import smtplib
from collections.abc import Callable, Mapping
from typing import Any

from anymail.exceptions import AnymailError
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from komilion.common.mail import send_mail

log = logging.getLogger(__name__)

TROUBLE = (OSError, smtplib.SMTPException, AnymailError)


def link_to(name: str, *args: object) -> str:
    """The address of one of our pages as it stands in a mail: under PUBLIC_URL, whatever the request's Host said."""
    return f"{settings.PUBLIC_URL}{reverse(name, args=args)}"


def deliver(
    template: str, to: str, context: Mapping[str, Any], *, subject: str, on_done: Callable[[bool], None]
) -> None:
    """Send a mail once the transaction (if there is one) is over; `on_done` hears whether the server took it."""

    def send() -> None:
        try:
            send_mail(template, to, context, subject=subject)
        except TROUBLE as error:
            log.error("mail not sent", extra={"mail": template, "error": f"{type(error).__name__}: {error}"})
            on_done(False)
        else:
            on_done(True)

    transaction.on_commit(send)
