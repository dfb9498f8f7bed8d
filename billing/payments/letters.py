"""E-mail about money, to the members of an organization who may pay."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings

from accounts.access import RIGHTS, Right
from accounts.models import Membership, Organization
from komilion.common.mail import MailServerTrouble, MailTrouble, send_mail

log = logging.getLogger(__name__)


def about(organization_id: int) -> dict[str, str]:
    """What every letter says: whose money it is about, and where that wallet is, whichever the reader looks at."""
    name = Organization.objects.values_list("name", flat=True).get(pk=organization_id)
    wallet_url = f"{settings.PUBLIC_URL}/dashboard/wallet?organization={organization_id}"
    return {"organization": name, "wallet_url": wallet_url}


def payers_of(organization_id: int) -> list[str]:
    """Addresses of the members who may pay."""
    roles = [role for role, rights in RIGHTS.items() if Right.WALLET in rights]
    members = Membership.objects.filter(organization_id=organization_id, role__in=roles, user__is_active=True)
    return list(members.order_by("pk").values_list("user__email", flat=True))


def do_write(organization_id: int, template: str, subject: str, context: Mapping[str, Any]) -> bool:
    """Write to each of them; whether it is done: somebody was told, or there is nobody. Who was told is not told again.

    Raises `MailServerTrouble` where that kept everybody from being told; then the next letter has no chance either.
    """
    addresses = payers_of(organization_id)
    is_done = not addresses
    for address in addresses:
        try:
            send_mail(template, address, context, subject=subject)
        except MailTrouble as error:
            extra = {"mail": template, "organization_id": organization_id, "error": str(error)}
            log.error("mail not sent", extra=extra)
            if isinstance(error, MailServerTrouble):
                if is_done:
                    break
                raise
        else:
            is_done = True
    return is_done


def do_tell(organization_id: int, template: str, subject: str, context: Mapping[str, Any]) -> None:
    """Write to each of them, for what goes on without it: trouble with the mail is logged, never raised."""
    with suppress(MailServerTrouble):  # it is in the log
        do_write(organization_id, template, subject, context)
