"""Reads of accounts for commands and pages."""

from collections.abc import Sequence
from datetime import datetime

from allauth.account.models import EmailAddress
from django.db.models import Count, Q

from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, Role, TrialGrant, User
from komilion.common.clock import utc_now


def organization_of_email(email: str) -> Organization | None:
    """The organization that the person with this address owns; the oldest where there are several."""
    owner = owner_of_email(email)
    return None if owner is None else owner.organization


def owner_of_email(email: str) -> Membership | None:
    """The person with this address as an owner, of the oldest organization where there are several."""
    return (
        Membership.objects.filter(user__email=email.lower(), role=Role.OWNER)
        .select_related("organization")
        .order_by("organization_id")
        .first()
    )


def is_known_key(key_hash: bytes) -> bool:
    """Whether there is or was such a key, be it revoked or expired by now."""
    return ApiKey.objects.filter(key_hash=key_hash).exists()


def count_keys_before(moment: datetime) -> int:
    """Keys that were made before that and are neither revoked nor expired."""
    valid = ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=utc_now()), revoked_at__isnull=True)
    return valid.filter(created_at__lt=moment).count()


def is_verified(user: User) -> bool:
    """Whether the person has shown that she reads the mail of her address."""
    return bool(EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists())


def pending_email(user: User) -> str | None:
    """The address that the person wants to change to, until she verifies it."""
    pending = EmailAddress.objects.get_new(user)
    return None if pending is None else str(pending.email)


def has_another_email(user_id: int, email: str) -> bool:
    """Whether there is such a person, with another address than this one."""
    return User.objects.filter(pk=user_id, is_active=True).exclude(email=email).exists()


def is_taken(email: str) -> bool:
    """Whether the address is somebody's; one that signed up and never verified it does not count."""
    if EmailAddress.objects.filter(email=email, verified=True).exists():
        return True
    person = User.objects.filter(email=email).first()
    return person is not None and (
        person.last_login is not None or person.is_staff or not person.is_active or person.memberships.exists()
    )


def members_of(organization_id: int) -> Sequence[Membership]:
    """Its members with their `user`, owners first, each with `working_keys`: how many keys she made still work."""
    rows = Membership.objects.filter(organization_id=organization_id).select_related("user")
    working = Count("api_keys", filter=Q(api_keys__revoked_at__isnull=True))
    ranks = {Role.OWNER: 0, Role.DEVELOPER: 1, Role.BILLING: 2, Role.VIEWER: 3}
    return sorted(rows.annotate(working_keys=working), key=lambda row: (ranks[Role(row.role)], row.user.email))


def organizations_of(user_id: int) -> Sequence[Membership]:
    """The person's memberships with their `organization`, the oldest first."""
    return list(Membership.objects.filter(user_id=user_id).select_related("organization").order_by("pk"))


def is_member(user_id: int, organization_id: int) -> bool:
    """Whether the person belongs to the organization."""
    return Membership.objects.filter(user_id=user_id, organization_id=organization_id).exists()


def open_invitations_of(organization_id: int) -> Sequence[Invitation]:
    """Neither accepted nor revoked, the newest first; those that expired are among them, to be sent again."""
    rows = Invitation.objects.filter(organization_id=organization_id, accepted_at__isnull=True, revoked_at__isnull=True)
    return list(rows.order_by("-pk"))


def invitations_to(email: str) -> Sequence[Invitation]:
    """Those that the person with this address can still accept, with their `organization`."""
    rows = Invitation.objects.filter(
        email=email, accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=utc_now()
    )
    return list(rows.select_related("organization").order_by("pk"))


def invitation_by_hash(token_hash: bytes) -> Invitation | None:
    """The invitation behind the hash of a link's token while it can be accepted, with its `organization`."""
    rows = Invitation.objects.filter(
        token_hash=token_hash, accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=utc_now()
    )
    return rows.select_related("organization").first()


def audit_entries(organization_id: int, *, before_id: int | None, limit: int) -> Sequence[AuditEntry]:
    """The organization's audit log, the newest first, from the entry before `before_id` on."""
    rows = AuditEntry.objects.filter(organization_id=organization_id)
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    return list(rows.order_by("-pk")[:limit])


def trial_claim(organization_id: int) -> TrialGrant | None:
    """The organization's claim to trial credit; None where it has none."""
    return TrialGrant.objects.filter(organization_id=organization_id).first()


def founded_by(user_id: int) -> int | None:
    """The oldest organization that the person owns and was the first member of; trial credit is for it alone."""
    for owned in Membership.objects.filter(user_id=user_id, role=Role.OWNER).order_by("pk"):
        first = Membership.objects.filter(organization_id=owned.organization_id).order_by("pk").first()
        if first is not None and first.pk == owned.pk:
            return owned.organization_id
    return None


def suspended_by(organization_id: int) -> str:
    """Who suspended the organization last; empty where nobody ever did."""
    entries = AuditEntry.objects.filter(organization_id=organization_id, action="organization.suspend")
    return entries.order_by("pk").values_list("actor", flat=True).last() or ""
