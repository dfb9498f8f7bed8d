"""Making, changing, rotating and revoking API keys. A secret exists in the answer of these and nowhere else.

A key that was made by another (its child) never has more than that one: it is given no more, and it is narrowed when
its parent is narrowed, so a row always says what its key may do. It ends when its parent is revoked. All changes of an
organization's keys happen one after the other, under the lock of the organization's row.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.actions.changes import announce_key, audit, lock_organization
from accounts.models import ApiKey, Membership, Organization
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, Forbidden, NotFound, Unprocessable
from komilion.common.ids import hash_api_key, hint_of_api_key, new_api_key
from komilion.common.names import hidden_characters
from komilion.common.tiers import LIMIT_NAMES, limits_for

NAME_CHARACTERS = 200
MODELS_PER_KEY = 500
MODEL_CHARACTERS = 200
GENERATIONS = 3  # a key, its children, theirs: every call looks at the caps of the whole line


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a key may do; `limits` by the names of `komilion.common.tiers`, `models_allowed` None for every model."""

    name: str
    expires_at: datetime | None = None
    models_allowed: frozenset[str] | None = None
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    can_manage: bool = False


@dataclass(frozen=True, slots=True)
class Grantor:
    """Who makes or changes keys: a member, or (with `key_id`) a key that gives away no more than it has."""

    organization_id: int
    membership_id: int
    actor: str  # for the audit log
    key_id: int | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made or got a new secret; `secret` is shown once."""

    row: ApiKey
    secret: str


def terms_of(key: ApiKey) -> KeyTerms:
    """What the key may do now."""
    allowed = None if key.models_allowed is None else frozenset(key.models_allowed)
    return KeyTerms(key.name, key.expires_at, allowed, MappingProxyType(dict(key.limits)), key.can_manage)


def do_create_key(
    membership: Membership,
    name: str,
    *,
    actor: str,
    models_allowed: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """A key without limits of its own; `models_allowed` None means every model. For commands and sign-up."""
    terms = KeyTerms(name, expires_at, None if models_allowed is None else frozenset(models_allowed))
    with transaction.atomic():
        return _insert(Grantor(membership.organization_id, membership.pk, actor), terms)


def do_grant_key(grantor: Grantor, terms: KeyTerms, form_token: str | None = None) -> NewKey:
    """A key on these terms. A child takes from its parent what the terms leave open: expiry, models, limits.

    `form_token` is good for one key. Raises `Unprocessable` with `param`, `Forbidden` for more than the grantor has,
    `Conflict` for too many keys or a token that was used.
    """
    with transaction.atomic():
        organization = lock_organization(grantor.organization_id)
        _check(terms, organization)
        _check_room(organization.pk)
        parent = None if grantor.key_id is None else _granting_key(grantor.organization_id, grantor.key_id)
        if parent is not None:
            _check_generation(parent, terms)
            terms = _inherit(terms, parent)
            _check_within(terms, terms_of(parent))
        return _insert(grantor, terms, parent, form_token)


def do_change_key(grantor: Grantor, key: ApiKey, terms: KeyTerms, epoch: int | None = None) -> None:
    """Put the key on these terms at once, and narrow what it made to them.

    `epoch` is the `auth_epoch` that the grantor saw. Raises like `do_grant_key`; `Conflict` when the key was changed
    since or is revoked.
    """
    with transaction.atomic():
        organization = lock_organization(grantor.organization_id)
        row = _fresh(key, epoch)
        _check(terms, organization, allow_past=terms.expires_at == row.expires_at)
        bounds = [_granting_key(organization.pk, grantor.key_id)] if grantor.key_id is not None else []
        if row.parent_id is not None:
            bounds.append(ApiKey.objects.get(pk=row.parent_id))
        for bound in bounds:
            _check_within(terms, terms_of(bound))
        before = terms_of(row)
        _store(row, terms, grantor.actor, _difference(before, terms))
        for child in _below(row):
            narrowed = _narrow(terms_of(child), terms)
            if narrowed != terms_of(child) or before.limits != terms.limits:  # its calls count in these limits too
                _store(child, narrowed, grantor.actor, {"narrowed with": row.hint})
    key.refresh_from_db()


def do_rotate_key(key: ApiKey, *, actor: str, epoch: int | None = None) -> NewKey:
    """A new secret for the same key: its caps, usage and children go on, the old secret is refused from now on.

    `epoch` is the `auth_epoch` that the asker saw, so a request that is sent twice rotates once. Raises `Conflict`
    when the key was changed since or is revoked.
    """
    secret = new_api_key()
    with transaction.atomic():
        lock_organization(key.organization_id)
        row = _fresh(key, epoch)
        old_hash, old_hint = bytes(row.key_hash), row.hint
        row.key_hash = hash_api_key(secret, settings.KEY_PEPPER)
        row.hint = hint_of_api_key(secret)
        row.auth_epoch += 1
        row.save(update_fields=["key_hash", "hint", "auth_epoch"])
        _audit(row, actor, "key.rotate", {"before": old_hint})
        announce_key(old_hash)
    return NewKey(row, secret)


def do_revoke_key(key: ApiKey, *, actor: str) -> None:
    """End the key and everything it made: refused by the next hold at once, and by every process within a second."""
    with transaction.atomic():
        lock_organization(key.organization_id)
        if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).exists():
            _end(key, actor, {})
        for child in _below(key):
            _end(child, actor, {"revoked with": key.hint})
    key.refresh_from_db()


def _insert(grantor: Grantor, terms: KeyTerms, parent: ApiKey | None = None, form_token: str | None = None) -> NewKey:
    secret = new_api_key()
    try:
        with transaction.atomic():  # a savepoint, so that the caller's transaction survives a token that was used
            row = ApiKey.objects.create(
                organization_id=grantor.organization_id,
                membership_id=grantor.membership_id,
                parent=parent,
                key_hash=hash_api_key(secret, settings.KEY_PEPPER),
                hint=hint_of_api_key(secret),
                form_token=form_token,
                **_columns(terms),
            )
    except IntegrityError as error:
        if form_token is None:
            raise
        raise Conflict("This form was sent already and its key is made; open the form anew for another.") from error
    detail = {"made by": parent.hint} if parent is not None else {}
    _audit(row, grantor.actor, "key.create", detail)
    return NewKey(row, secret)


def _columns(terms: KeyTerms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "expires_at": terms.expires_at,
        "models_allowed": None if terms.models_allowed is None else sorted(terms.models_allowed),
        "limits": dict(terms.limits),
        "can_manage": terms.can_manage,
    }


def _store(key: ApiKey, terms: KeyTerms, actor: str, detail: dict[str, Any]) -> None:
    ApiKey.objects.filter(pk=key.pk).update(auth_epoch=F("auth_epoch") + 1, **_columns(terms))
    _audit(key, actor, "key.change", detail)
    announce_key(bytes(key.key_hash))


def _end(key: ApiKey, actor: str, detail: dict[str, Any]) -> None:
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=utc_now(), auth_epoch=F("auth_epoch") + 1)
    _audit(key, actor, "key.revoke", detail)
    announce_key(bytes(key.key_hash))


def _below(key: ApiKey) -> Iterator[ApiKey]:
    """Keys that descend from this one and are not revoked."""
    level = [key.pk]
    while level:
        rows = list(ApiKey.objects.filter(parent_id__in=level).order_by("pk"))
        level = [row.pk for row in rows]
        yield from (row for row in rows if row.revoked_at is None)


def _fresh(key: ApiKey, epoch: int | None) -> ApiKey:
    """The key as it is under the lock."""
    row = ApiKey.objects.get(pk=key.pk)
    if row.revoked_at is not None:
        raise Conflict("This key is revoked; it cannot be changed any more.")
    if epoch is not None and row.auth_epoch != epoch:
        raise Conflict("This key was changed meanwhile; look at it again and decide anew.")
    return row


def _granting_key(organization_id: int, key_id: int) -> ApiKey:
    """The key that grants, still entitled to: it may have been revoked since it was authenticated."""
    keys = ApiKey.objects.select_related("parent__parent").filter(organization_id=organization_id)
    parent = keys.filter(pk=key_id, revoked_at__isnull=True).first()
    if parent is None:
        raise NotFound
    if not parent.can_manage:
        raise Forbidden("This key may not manage keys; it was made without that right.")
    return parent


# checks


def _check(terms: KeyTerms, organization: Organization, *, allow_past: bool = False) -> None:
    """Raise `Unprocessable` for terms that make no sense in this organization."""
    if not terms.name.strip() or len(terms.name) > NAME_CHARACTERS:
        raise Unprocessable(f"Give the key a name of at most {NAME_CHARACTERS} characters.", param="name")
    if hidden_characters(terms.name):
        raise Unprocessable("The name has characters that nobody sees; write it without them.", param="name")
    if terms.expires_at is not None and terms.expires_at <= utc_now() and not allow_past:
        raise Unprocessable("The key would have expired already.", param="expires_in")
    _check_models(terms.models_allowed)
    _check_limits(terms.limits, organization)


def _check_models(models: Collection[str] | None) -> None:
    if models is None:
        return
    if not models:
        raise Unprocessable("A key without any model is of no use; leave the models out to allow all.", param="models")
    if len(models) > MODELS_PER_KEY or any(len(name) > MODEL_CHARACTERS for name in models):
        raise Unprocessable(f"Name at most {MODELS_PER_KEY} models.", param="models")


def _check_limits(limits: Mapping[str, int], organization: Organization) -> None:
    unknown = sorted(set(limits) - LIMIT_NAMES)
    if unknown:
        names = ", ".join(sorted(LIMIT_NAMES))
        raise Unprocessable(f"There is no limit {unknown[0][:40]!r}; the limits are {names}.", param="limits")
    most = limits_for(organization.tier, organization.limits)
    for name, value in limits.items():
        ceiling = getattr(most, name)
        if type(value) is not int or not 0 <= value <= ceiling:
            raise Unprocessable(
                f"{name} must be a whole number from 0 to {ceiling:,}, which is what the organization may do.",
                param=f"limits.{name}",
            )


def _check_room(organization_id: int) -> None:
    working = ApiKey.objects.filter(organization_id=organization_id, revoked_at__isnull=True).count()
    if working >= settings.KEYS_PER_ORGANIZATION:
        raise Conflict(f"An organization may have {settings.KEYS_PER_ORGANIZATION:,} keys; revoke some first.")


def _check_generation(parent: ApiKey, terms: KeyTerms) -> None:
    depth, above = 2, parent.parent
    while above is not None:
        depth, above = depth + 1, above.parent
    if depth > GENERATIONS or (depth == GENERATIONS and terms.can_manage):
        raise Forbidden(f"Keys make keys for {GENERATIONS} generations, and the last may not manage.", param="manage")


def _inherit(terms: KeyTerms, parent: ApiKey) -> KeyTerms:
    above = terms_of(parent)
    return replace(
        terms,
        expires_at=terms.expires_at or above.expires_at,
        models_allowed=above.models_allowed if terms.models_allowed is None else terms.models_allowed,
        limits={**above.limits, **terms.limits},
    )


def _check_within(terms: KeyTerms, most: KeyTerms) -> None:
    """Raise `Forbidden` where `terms` go beyond `most`."""
    if terms.can_manage and not most.can_manage:
        raise Forbidden("A key that may not manage keys cannot let another do so.", param="manage")
    if most.expires_at is not None and (terms.expires_at is None or terms.expires_at > most.expires_at):
        raise Forbidden("A key cannot outlive the key that makes it.", param="expires_in")
    if most.models_allowed is not None and not (terms.models_allowed or {""}) <= most.models_allowed:
        raise Forbidden("A key may name only models that the key that makes it may call.", param="models")
    for name, ceiling in most.limits.items():
        if name not in terms.limits or terms.limits[name] > ceiling:
            raise Forbidden(
                f"{name} is {ceiling:,} for the key that makes it; no more can be given.", param=f"limits.{name}"
            )


def _narrow(terms: KeyTerms, most: KeyTerms) -> KeyTerms:
    """`terms` as far as `most` allows; the child of a key that lost a model may end up with none."""
    ends = [moment for moment in (terms.expires_at, most.expires_at) if moment is not None]
    allowed = terms.models_allowed
    if most.models_allowed is not None:
        allowed = most.models_allowed if allowed is None else allowed & most.models_allowed
    limits = {name: min(terms.limits.get(name, value), value) for name, value in most.limits.items()}
    return replace(
        terms,
        expires_at=min(ends, default=None),
        models_allowed=allowed,
        limits={**terms.limits, **limits},
        can_manage=terms.can_manage and most.can_manage,
    )


def _difference(before: KeyTerms, after: KeyTerms) -> dict[str, Any]:
    """What changed, for the audit log, as JSON."""
    old, new = _columns(before), _columns(after)
    return {name: [_plain(old[name]), _plain(new[name])] for name in old if old[name] != new[name]}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _audit(key: ApiKey, actor: str, action: str, detail: Mapping[str, Any]) -> None:
    audit(key.organization_id, actor, action, key.hint, **{"name": key.name, **detail})
