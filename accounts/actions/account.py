"""What a person does with her own account."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.db.models import F

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.actions.keys import do_revoke_key
from accounts.actions.members import do_remove_member
from accounts.actions.signup import do_drop_unverified
from accounts.errors import AccountError, AccountInUse, EmailTaken
from accounts.models import ApiKey, AuditEntry, Invitation, Membership, Organization, Role, User
from accounts.queries import is_taken
from komilion.common.clock import utc_now

CLOSED_NAME = "Closed organization"
NOT_A_PLACE = ("Etc/", "SystemV/", "US/")
SHORT_ZONES = {"UTC"}


@cache
def time_zones() -> tuple[str, ...]:
    """Zones of the IANA database that are named after a place, and UTC, in alphabetical order."""
    zones = available_timezones()
    return tuple(sorted(zone for zone in zones if zone in SHORT_ZONES or _is_place(zone)))


def _is_place(zone: str) -> bool:
    return "/" in zone and not zone.startswith(NOT_A_PLACE)


def do_set_time_zone(user_id: int, zone: str) -> bool:
    """Show times in this zone; False, and nothing changed, where the IANA database has no such place."""
    if zone not in time_zones():
        return False
    User.objects.filter(pk=user_id).update(time_zone=zone)
    return True


def do_end_sessions(user: User) -> None:
    """Log the person out everywhere. `user` carries the new epoch, so that one session can be kept by it."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    user.refresh_from_db(fields=["session_epoch"])


def do_restore_email(user_id: int, email: str, *, changed_at: datetime) -> None:
    """Give the account back to who reads mail at the address that it had before `changed_at`.

    Whoever changed it knows the password and may have added other ways to log in since, so these go, and sessions end.
    Raises `EmailTaken` where the address is another's by now.
    """
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user_id)
        do_drop_unverified(email, keep_user_id=user.pk)
        if is_taken(email):
            raise EmailTaken(f"{email} belongs to another account by now.")
        EmailAddress.objects.filter(user=user).delete()
        EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
        Authenticator.objects.filter(user=user, created_at__gte=changed_at).delete()
        SocialAccount.objects.filter(user=user, date_joined__gte=changed_at).delete()
        user.email = email
        user.session_epoch += 1
        user.set_unusable_password()
        user.save()


@dataclass(frozen=True, slots=True)
class Gone:
    """What a deleted account leaves to others to clear: where the address stood, what stands there, what was closed."""

    email: str
    anonymous: str
    closed_ids: tuple[int, ...]  # organizations


def do_delete_account(user_id: int) -> Gone:
    """End the person: her memberships, ways to log in and everything that names her.

    Organizations of which she is the only member are closed: suspended, their keys revoked, their name gone. What the
    ledger and the usage log hold stays, it names nobody; so does the hash of the address that had trial credit. Who
    paid is evidence, which billing keeps for its time. Whether money is left is for the caller to see to, and what
    other apps keep of the person and of closed organizations. Raises `AccountInUse` where another member would be left
    without owner.
    """
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        email, anonymous = user.email, f"deleted-{user.pk}@deleted.invalid"
        memberships = list(Membership.objects.filter(user=user).order_by("organization_id"))
        closed = tuple(membership.organization_id for membership in memberships if _leave(membership, email))
        _forget(email, anonymous)
        EmailAddress.objects.filter(user=user).delete()
        Authenticator.objects.filter(user=user).delete()
        SocialAccount.objects.filter(user=user).delete()
        user.email, user.first_name, user.last_name, user.time_zone = anonymous, "", "", "UTC"
        user.is_active = user.is_staff = user.is_superuser = False
        user.session_epoch += 1
        user.set_unusable_password()
        user.save()
    return Gone(email, anonymous, closed)


def organizations_owned_alone(user_id: int) -> list[Organization]:
    """Organizations that would have no owner without her; inside a transaction they are locked."""
    owned = Membership.objects.filter(user_id=user_id, role=Role.OWNER).order_by("organization_id")
    rows = [lock_organization(membership.organization_id) for membership in owned]
    others = Membership.objects.filter(organization__in=rows, role=Role.OWNER).exclude(user_id=user_id)
    shared = set(others.values_list("organization_id", flat=True))
    return [row for row in rows if row.pk not in shared]


def _leave(membership: Membership, email: str) -> bool:
    """Whether that closed the organization."""
    organization = lock_organization(membership.organization_id)
    if Membership.objects.filter(organization=organization).exclude(pk=membership.pk).exists():
        try:
            do_remove_member(organization.pk, membership.pk, revoke_keys=True, actor=email)
        except AccountError as error:
            raise AccountInUse(
                f"{organization.name} has other members and no other owner: make one of them an owner first."
            ) from error
        return False
    for key in ApiKey.objects.filter(organization=organization, revoked_at__isnull=True):
        do_revoke_key(key, actor=email)
    Invitation.objects.filter(organization=organization).delete()
    audit(organization.pk, email, "organization.close", CLOSED_NAME)
    Organization.objects.filter(pk=organization.pk).update(name=CLOSED_NAME, suspended_at=utc_now())
    raise_epoch(organization.pk)
    return True


def _forget(email: str, anonymous: str) -> None:
    """Take the address out of what others may still read."""
    AuditEntry.objects.filter(actor=email).update(actor=anonymous)
    AuditEntry.objects.filter(subject=email).update(subject=anonymous)
    Invitation.objects.filter(email=email, accepted_at__isnull=True).delete()
    Invitation.objects.filter(email=email).update(email=anonymous)
    Invitation.objects.filter(invited_by=email).update(invited_by=anonymous)
