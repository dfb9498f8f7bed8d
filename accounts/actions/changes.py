"""What every change to who may do what has in common: the lock, the epoch, the news, the audit entry."""

from typing import Any

from django.db import transaction
from django.db.models import F

from accounts.actions.audit import do_audit
from accounts.models import Organization
from komilion.common import news
from komilion.common.errors import NotFound


def lock_organization(organization_id: int) -> Organization:
    """Nobody else changes its members, invitations or keys until this transaction ends. Raises `NotFound`."""
    organization = Organization.objects.select_for_update(no_key=True).filter(pk=organization_id).first()
    if organization is None:
        raise NotFound
    return organization


def raise_epoch(organization_id: int) -> None:
    """Make every process ask again what the organization's callers may do: holds at once, caches within a second."""
    Organization.objects.filter(pk=organization_id).update(auth_epoch=F("auth_epoch") + 1)
    transaction.on_commit(lambda: news.publish({"kind": "organization_changed", "id": organization_id}))


def announce_key(key_hash: bytes) -> None:
    """After the commit, have every process forget what it knows of this key."""
    transaction.on_commit(lambda: news.publish({"kind": "key_changed", "hash": key_hash.hex()}))


def audit(organization_id: int, actor: str, action: str, subject: str, **detail: Any) -> None:
    """One line of the audit log. `detail` holds neither secrets nor addresses: those stand in actor and subject."""
    do_audit(organization_id, actor=actor[:254], action=action, subject=subject, detail=detail)
