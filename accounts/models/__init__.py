"""Users, organizations (the tenants), who belongs to which, and their API keys."""

from accounts.models.api_key import ApiKey
from accounts.models.audit import AuditEntry
from accounts.models.invitation import Invitation
from accounts.models.organization import Membership, Organization, Role, Tier
from accounts.models.trial import TrialDay, TrialGrant
from accounts.models.user import User

__all__ = [
    "ApiKey",
    "AuditEntry",
    "Invitation",
    "Membership",
    "Organization",
    "Role",
    "Tier",
    "TrialDay",
    "TrialGrant",
    "User",
]
