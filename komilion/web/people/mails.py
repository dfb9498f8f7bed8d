"""E-mail to people: after the commit, and never the end of what it is about."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from komilion.common.mail import MailTrouble, send_mail

log = logging.getLogger(__name__)


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
        except MailTrouble as error:
            log.error("mail not sent", extra={"mail": template, "error": str(error)})
            on_done(False)
        else:
            on_done(True)

    transaction.on_commit(send)
