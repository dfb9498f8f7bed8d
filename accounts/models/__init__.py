"""Users, organizations (the tenants), who belongs to which, and their API keys."""

from accounts.models.api_key import ApiKey
from accounts.models.audit import AuditEntry
from accounts.models.organization import Membership, Organization, Role, Tier
from accounts.models.user import User

__all__ = ["ApiKey", "AuditEntry", "Membership", "Organization", "Role", "Tier", "User"]
