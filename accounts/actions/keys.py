"""Making and revoking API keys. The key itself exists in the answer of `do_create_key` and nowhere else."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Membership
from komilion.common import news
from komilion.common.ids import hash_api_key, hint_of_api_key, new_api_key


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `secret` is shown once."""

    row: ApiKey
    secret: str


def do_create_key(
    membership: Membership,
    name: str,
    *,
    actor: str,
    models_allowed: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """A key of the member's organization; `models_allowed` None means every model."""
    secret = new_api_key()
    with transaction.atomic():
        row = ApiKey.objects.create(
            organization_id=membership.organization_id,
            membership=membership,
            name=name,
            key_hash=hash_api_key(secret, settings.KEY_PEPPER),
            hint=hint_of_api_key(secret),
            models_allowed=None if models_allowed is None else sorted(models_allowed),
            expires_at=expires_at,
        )
        _audit(row, actor, "key.create")
    return NewKey(row, secret)


def do_revoke_key(key: ApiKey, *, actor: str) -> None:
    """Refused by the next hold at once, and by every process' cache within a second."""
    with transaction.atomic():
        ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now(), auth_epoch=F("auth_epoch") + 1
        )
        _audit(key, actor, "key.revoke")
        transaction.on_commit(lambda: news.publish({"kind": "key_changed", "hash": bytes(key.key_hash).hex()}))
    key.refresh_from_db()


def _audit(key: ApiKey, actor: str, action: str) -> None:
    AuditEntry.objects.create(
        organization_id=key.organization_id,
        actor=actor,
        action=action,
        subject=key.hint,
        detail={"name": key.name},
    )
