"""Reads of accounts for commands and pages."""

from accounts.models import Organization, Role


def organization_of_email(email: str) -> Organization | None:
    """The organization that the person with this address owns; the oldest where there are several."""
    return (
        Organization.objects.filter(memberships__user__email=email.lower(), memberships__role=Role.OWNER)
        .order_by("pk")
        .first()
    )
