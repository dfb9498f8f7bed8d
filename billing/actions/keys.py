"""Keys together with their caps: what accounts and billing know of a key changes in one transaction.

A key that was made by another spends from that one's caps too (the ledger reserves the caps of the whole line), so
nobody escapes a cap by making keys. Its own caps may not be above those of the key that made it, where that has any.
"""

from collections.abc import Mapping

from django.db import transaction

from accounts.access import Asker
from accounts.actions.audit import do_audit
from accounts.actions.keys import Grantor, KeyTerms, NewKey, do_change_key, do_grant_key
from accounts.models import ApiKey
from billing.actions.caps import do_set_caps
from billing.queries import caps_of_keys
from komilion.common.errors import Forbidden
from komilion.common.money import format_usd

type Caps = Mapping[str, int | None]
"""Nano-USD by period (`day`, `month`, `total`); None lifts the cap, a period that is absent stays as it is."""


def grantor_of(asker: Asker) -> Grantor:
    """The asker as someone who makes keys. Raises `Forbidden` for whoever may not."""
    asker.must_manage()
    key_id = None if asker.key is None else asker.key.pk
    return Grantor(asker.organization_id, asker.membership_id, asker.name, key_id)


def do_make_key(grantor: Grantor, terms: KeyTerms, caps: Caps, form_token: str | None = None) -> NewKey:
    """A key with caps. Raises what `do_grant_key` raises, and `Forbidden` for a cap above its maker's."""
    with transaction.atomic():
        made = do_grant_key(grantor, terms, form_token)
        _check_within(made.row, caps)
        _set_caps(grantor, made.row, {period: nano for period, nano in caps.items() if nano is not None})
    return made


def do_alter_key(grantor: Grantor, key: ApiKey, terms: KeyTerms, caps: Caps, epoch: int | None = None) -> None:
    """Change terms and caps together. Raises what `do_change_key` raises, and `Forbidden` for a cap above its bound."""
    with transaction.atomic():
        do_change_key(grantor, key, terms, epoch)
        _check_within(key, caps)
        if grantor.key_id == key.pk:
            _check_not_raised(key, caps)
        _set_caps(grantor, key, caps)
    key.refresh_from_db()


def _set_caps(grantor: Grantor, key: ApiKey, caps: Caps) -> None:
    """Set what differs from now, and say so in the audit log."""
    now = caps_of_keys(grantor.organization_id, [key.pk]).get(key.pk, {})
    before = {period: now[period].limit_nano if period in now else None for period in caps}
    changed = {period: nano for period, nano in caps.items() if nano != before[period]}
    if changed:
        do_set_caps(grantor.organization_id, key.pk, changed)
        detail = {period: [_dollars(before[period]), _dollars(nano)] for period, nano in changed.items()}
        do_audit(
            grantor.organization_id,
            actor=grantor.actor[:254],
            action="key.caps",
            subject=key.hint,
            detail={"name": key.name, **detail},
        )


def _dollars(nano: int | None) -> str | None:
    return None if nano is None else format_usd(nano)


def _check_within(key: ApiKey, caps: Caps) -> None:
    """Every cap that the maker has bounds the one given here."""
    if key.parent_id is not None:
        _check_below(key.organization_id, key.parent_id, caps)


def _check_not_raised(key: ApiKey, caps: Caps) -> None:
    """A key that changes itself may lower its caps, never raise or lift them."""
    own = caps_of_keys(key.organization_id, [key.pk]).get(key.pk, {})
    for period, nano in caps.items():
        if period in own and nano is None:
            raise Forbidden("A key cannot lift its own cap.", param=f"caps.{period}")
    _check_below(key.organization_id, key.pk, caps)


def _check_below(organization_id: int, bound_id: int, caps: Caps) -> None:
    bounds = caps_of_keys(organization_id, [bound_id]).get(bound_id, {})
    for period, nano in caps.items():
        bound = bounds.get(period)
        if bound is not None and nano is not None and nano > bound.limit_nano:
            raise Forbidden(
                f"{format_usd(bound.limit_nano)} is the cap ({period}) of the key that grants it; no more can be had.",
                param=f"caps.{period}",
            )
