"""E-mail about money, to the members of an organization who may pay."""

import logging
from collections.abc import Mapping
from typing import Any

from accounts.access import RIGHTS, Right
from accounts.models import Membership
from komilion.common.mail import send_mail

log = logging.getLogger(__name__)


def payers_of(organization_id: int) -> list[str]:
    """Addresses of the members who may pay."""
    roles = [role for role, rights in RIGHTS.items() if Right.WALLET in rights]
    members = Membership.objects.filter(organization_id=organization_id, role__in=roles, user__is_active=True)
    return list(members.order_by("pk").values_list("user__email", flat=True))


def do_tell(organization_id: int, template: str, subject: str, context: Mapping[str, Any]) -> bool:
    """Write to each of them; whether every message went out. A mail server's trouble is logged, never raised."""
    is_sent = True
    for address in payers_of(organization_id):
        try:
            send_mail(template, address, context, subject=subject)
        except Exception:
            log.exception("mail not sent", extra={"template": template, "organization_id": organization_id})
            is_sent = False
    return is_sent
