"""Writing the audit log."""

from collections.abc import Mapping
from typing import Any

from accounts.models import AuditEntry


def do_audit(
    organization_id: int | None, *, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """One entry, in the caller's transaction where there is one; `detail` never holds a secret."""
    AuditEntry.objects.create(
        organization_id=organization_id,
        actor=actor,
        action=action,
        subject=subject[:200],
        detail=dict(detail or {}),
    )
