"""Setting what a key may spend. The use of a cap is the ledger's: nothing here touches it but a cap's removal."""

from collections.abc import Mapping

from django.db import transaction
from django.db.models import F

from accounts.access import visible_to_key
from accounts.actions.changes import announce_key
from accounts.models import ApiKey, Organization
from billing.models import Cap, Wallet
from komilion.common.errors import NotFound, Unprocessable
from komilion.common.money import MAX_NANO


def do_set_caps(organization_id: int, key_id: int, limits: Mapping[str, int | None]) -> None:
    """Limits in nano-USD by period (`day`, `month`, `total`); None removes one, a period that is absent stays as it is.

    What was spent stays counted where only the limit changes; a cap that is removed forgets it. Calls that run were
    reserved without a new cap and are not counted on it. Under the lock of the wallet's row, so that no hold is placed
    half-way. Raises `NotFound` for another organization's key, `Unprocessable` for an unknown period or an amount that
    is none.
    """
    _check(limits)
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).filter(pk=organization_id).first()  # changes of keys queue
        wallet = Wallet.objects.select_for_update(no_key=True).filter(pk=organization_id).first()
        if wallet is None or not ApiKey.objects.filter(pk=key_id, organization_id=organization_id).exists():
            raise NotFound("There is no such key.")
        caps = Cap.objects.filter(kind=Cap.Kind.KEY, subject_id=key_id)
        for period, limit in limits.items():
            if limit is None:
                caps.filter(period=period).delete()
            else:
                Cap.objects.update_or_create(
                    kind=Cap.Kind.KEY,
                    subject_id=key_id,
                    period=period,
                    defaults={"limit_nano": limit},
                    create_defaults={"limit_nano": limit, "wallet": wallet},
                )
        ApiKey.objects.filter(pk=key_id).update(has_caps=caps.exists())
        _announce(key_id)


def _check(limits: Mapping[str, int | None]) -> None:
    for period, limit in limits.items():
        if period not in Cap.Period.values:
            raise Unprocessable(f"A cap is per {', '.join(Cap.Period.values)}.", param=f"caps.{period}")
        if limit is not None and not 0 <= limit <= MAX_NANO:
            raise Unprocessable("This amount is no cap.", param=f"caps.{period}")


def _announce(key_id: int) -> None:
    """The caps of a key hold for those it made too: whoever has any of them cached must look again."""
    keys = ApiKey.objects.filter(visible_to_key(key_id))
    keys.update(auth_epoch=F("auth_epoch") + 1)
    for key_hash in keys.values_list("key_hash", flat=True):
        announce_key(bytes(key_hash))
