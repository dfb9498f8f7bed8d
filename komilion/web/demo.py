"""The demo tenant of a fresh installation, and the file with its key that the start screen prints from."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from accounts.access import access_api_key
from accounts.actions.keys import do_create_key
from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.errors import AccountError
from accounts.models import Tier
from accounts.queries import is_known_key, owner_of_email, suspended_by
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from komilion.common.ids import hash_api_key
from komilion.common.money import parse_usd
from komilion.web.tenants import do_open_tenant

DEMO_EMAIL = "demo@komilion.local"
DEMO_CREDIT_USD = "5.00"
ACTOR = "start"


@dataclass(frozen=True, slots=True)
class DemoKey:
    """Whether the key in the file can be called with, and what the operator should know about it (may be empty)."""

    works: bool
    note: str = ""


def do_ensure_demo_key(path: Path) -> DemoKey:
    """See that the key in `path` belongs to this database and its pepper, and make a new one where it does not.

    On the first start that makes the demo tenant. A file that was taken away is not made again while the tenant is
    there, and a key that was revoked is not replaced. The file is 0600 afterwards. Without TEST_PAYMENTS there is no
    demo tenant: one from earlier starts is suspended until a start with it. Raises `OSError`.
    """
    if not settings.TEST_PAYMENTS:
        return _retire()
    _bring_back()
    if not path.exists():
        return _open_tenant(path, "") if owner_of_email(DEMO_EMAIL) is None else DemoKey(works=False)
    _tighten(path)
    key_hash = hash_api_key(path.read_text(errors="replace").strip(), settings.KEY_PEPPER)
    caller = access_api_key(key_hash)
    if caller is not None:
        return DemoKey(works=True) if not caller.is_suspended else DemoKey(works=False, note="Its owner is suspended.")
    if is_known_key(key_hash):
        return DemoKey(works=False, note=f"The key in {path} is revoked or has expired.")
    stale = f"The key in {path} belonged to another database or another KEY_PEPPER"
    owner = owner_of_email(DEMO_EMAIL)
    if owner is None:
        return _open_tenant(path, f"{stale}; a new demo tenant with a new key takes its place.")
    if owner.organization.suspended_at is not None:
        return DemoKey(works=False, note=f"{stale}, and the demo tenant is suspended.")
    _write_private(path, do_create_key(owner, "demo key", actor=ACTOR).secret)
    return DemoKey(works=True, note=f"{stale}; the demo tenant has a new key.")


def _retire() -> DemoKey:
    owner = owner_of_email(DEMO_EMAIL)
    if owner is None or owner.organization.suspended_at is not None:
        return DemoKey(works=False)
    do_suspend(owner.organization, actor=ACTOR)
    return DemoKey(
        works=False, note="The demo tenant is suspended: its credit is test money, and TEST_PAYMENTS is off."
    )


def _bring_back() -> None:
    """Only what `_retire` suspended; what an operator suspended stays so."""
    owner = owner_of_email(DEMO_EMAIL)
    if (
        owner is not None
        and owner.organization.suspended_at is not None
        and suspended_by(owner.organization_id) == ACTOR
    ):
        do_unsuspend(owner.organization, actor=ACTOR)


def _open_tenant(path: Path, note: str) -> DemoKey:
    credit = parse_usd(DEMO_CREDIT_USD)
    try:
        tenant = do_open_tenant(DEMO_EMAIL, tier=Tier.STANDARD.value, credit_nano=credit, actor=ACTOR)
    except (AccountError, MovementRefused, StoreBusy, StoreUnavailable) as error:
        return DemoKey(works=False, note=f"No demo tenant was made: {error}")
    _write_private(path, tenant.key)
    return DemoKey(works=True, note=note)


def _tighten(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):  # the folder is closed to others anyway
            path.chmod(0o600)


def _write_private(path: Path, key: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
