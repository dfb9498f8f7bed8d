"""`/api/auth`: making, listing, changing, rotating and revoking API keys."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import access_key
from accounts.actions.keys import KeyTerms, NewKey, do_revoke_key, do_rotate_key, terms_of
from accounts.api.base import Api, Strict
from accounts.api.json import amount
from accounts.key_queries import keys_page, state_of
from accounts.models import ApiKey
from billing.actions.keys import do_alter_key, do_make_key, grantor_of
from billing.api import documented
from billing.api.fields import CapsField, LimitsField, PageQuery
from billing.key_usage import caps_in_order
from billing.queries import CapStatus
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest
from komilion.common.money import format_usd
from komilion.common.row_ids import row_id

EXPIRES_IN_MOST_S = 10 * 366 * 86_400


@extend_schema_serializer(component_name="Key")
class KeyRequest(Strict):
    """What a new key may do; what is left out is not restricted (or, for a key that asks, as restricted as itself)."""

    name = serializers.CharField(max_length=200, help_text="what you call it")
    expires_in = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=EXPIRES_IN_MOST_S,
        help_text="seconds from now; null for never",
    )
    models = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=500,
        help_text="ids of the models that it may call; null for all",
    )
    caps = CapsField(required=False, help_text="most that it may spend in a day, a month, ever")
    limits = LimitsField(required=False, help_text="replaces all limits of the key")
    manage = serializers.BooleanField(
        required=False, help_text="whether it may make and revoke keys with no more rights than its own"
    )


class KeysView(Api):
    """The keys of the organization; for a key that asks, itself and what it made."""

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": PageQuery}

    @extend_schema(**documented.LIST_KEYS, parameters=[PageQuery])
    def get(self, request: Request) -> Response:
        """The newest first."""
        self.asker.must_see_keys()
        before_id = _cursor(self.parameters.get("cursor"))
        rows, next_id = keys_page(self.asker, before_id=before_id, limit=self.parameters["limit"])
        caps = caps_in_order(self.asker.organization_id, [row.pk for row in rows])
        data = [key_json(row, caps.get(row.pk, {})) for row in rows]
        return Response({"data": data, "next_cursor": None if next_id is None else str(next_id)})

    @extend_schema(**documented.MAKE_KEY, request=KeyRequest)
    def post(self, request: Request) -> Response:
        """Make one; its secret is in this answer and nowhere else."""
        grantor = grantor_of(self.asker)
        body = self.body(KeyRequest)
        made = do_make_key(grantor, _terms(body, KeyTerms(body["name"])), body.get("caps", {}))
        return Response(_with_secret(made), status=201)


class KeyView(Api):
    """One key."""

    @extend_schema(**documented.READ_KEY)
    def get(self, request: Request, key_id: int) -> Response:
        """As it is now."""
        self.asker.must_see_keys()
        return Response(_json(access_key(self.asker, key_id)))

    @extend_schema(**documented.CHANGE_KEY, request=KeyRequest)
    def patch(self, request: Request, key_id: int) -> Response:
        """Change what the body names, and nothing else."""
        grantor = grantor_of(self.asker)
        key = access_key(self.asker, key_id)
        body = self.body(KeyRequest, partial=True)
        do_alter_key(grantor, key, _terms(body, terms_of(key)), body.get("caps", {}), key.auth_epoch)
        return Response(_json(key))

    @extend_schema(**documented.REVOKE_KEY)
    def delete(self, request: Request, key_id: int) -> Response:
        """Revoke it and everything it made."""
        self.asker.must_manage()
        key = access_key(self.asker, key_id)
        do_revoke_key(key, actor=self.asker.name)
        return Response(_json(key))


class RotateView(Api):
    """A new secret for a key."""

    @extend_schema(**documented.ROTATE_KEY, request=None)
    def post(self, request: Request, key_id: int) -> Response:
        """The old secret is refused from now on."""
        self.asker.must_manage()
        made = do_rotate_key(access_key(self.asker, key_id), actor=self.asker.name)
        return Response(_with_secret(made))


def key_json(key: ApiKey, caps: Mapping[str, CapStatus]) -> dict[str, Any]:
    """A key as the API shows it; `caps` are those of `caps_in_order`."""
    return {
        "id": key.pk,
        "object": "key",
        "name": key.name,
        "hint": key.hint,
        "state": state_of(key),
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "created_by": key.membership.user.email,
        "parent_id": key.parent_id,
        "models": key.models_allowed,
        "limits": key.limits,
        "manage": key.can_manage,
        "caps": {period: format_usd(cap.limit_nano) for period, cap in caps.items()},
        "cap_use": {
            period: {**amount("limit", cap.limit_nano), **amount("used", cap.spent_nano + cap.reserved_nano)}
            for period, cap in caps.items()
        },
    }


def moment(value: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def _json(key: ApiKey) -> dict[str, Any]:
    return key_json(key, caps_in_order(key.organization_id, [key.pk]).get(key.pk, {}))


def _with_secret(made: NewKey) -> dict[str, Any]:
    return {"key": made.secret, **_json(made.row)}


def _terms(body: Mapping[str, Any], before: KeyTerms) -> KeyTerms:
    """`before` with what the body names put in its place."""
    expires_at = before.expires_at
    if "expires_in" in body:
        seconds = body["expires_in"]
        expires_at = None if seconds is None else utc_now() + timedelta(seconds=seconds)
    models = before.models_allowed
    if "models" in body:
        models = None if body["models"] is None else frozenset(body["models"])
    return KeyTerms(
        name=body.get("name", before.name),
        expires_at=expires_at,
        models_allowed=models,
        limits=body.get("limits", before.limits),
        can_manage=body.get("manage", before.can_manage),
    )


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    before_id = row_id(text)
    if before_id is None:
        raise BadRequest("This is no cursor of ours.", param="cursor")
    return before_id
