"""Who stands before the pages and the REST API in tests: members of organizations, logged in, with keys."""

from dataclasses import dataclass
from typing import Any

from django.test import Client

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Person:
    """A member of one organization; `browser` is logged in as her."""

    email: str
    organization_id: int
    membership_id: int
    browser: Client

    def key(self, name: str = "a key", **terms: Any):
        """A key of hers, with `caps` in nano-USD; returns row and secret."""
        from accounts.actions.keys import Grantor, KeyTerms
        from billing.actions.keys import do_make_key

        caps = terms.pop("caps", {})
        grantor = Grantor(self.organization_id, self.membership_id, self.email)
        return do_make_key(grantor, KeyTerms(name, **terms), caps)


def new_owner(email: str, tier: str = "standard") -> Person:
    """Somebody with an organization and a wallet of her own."""
    from django.db import transaction

    from accounts.actions.organizations import do_create_organization
    from billing.actions.wallets import do_open_wallet

    with transaction.atomic():
        membership = do_create_organization(email=email, tier=tier, actor="test")
        do_open_wallet(membership.organization_id)
    return Person(email, membership.organization_id, membership.pk, browser_of(membership.user))


def new_member(email: str, organization_id: int, role: str) -> Person:
    """Somebody with this role in an organization that is there."""
    from accounts.models import Membership, User

    user = User.objects.create_user(email)
    membership = Membership.objects.create(organization_id=organization_id, user=user, role=role)
    return Person(email, organization_id, membership.pk, browser_of(membership.user))


def browser_of(user: Any) -> Client:
    """A client that is logged in as this user."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


class Api:
    """The REST API asked with a key, or with a session from our own page; answers are Django's test responses."""

    def __init__(self, secret: str | None = None, browser: Client | None = None) -> None:
        self._client = browser or Client()
        self._headers = {"origin": "http://testserver"} if browser else {}
        if secret is not None:
            self._headers["authorization"] = f"Bearer {secret}"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request; `body` goes as JSON, bytes as they are."""
        options: dict[str, Any] = {}
        if body is not None:
            options = {"data": body, "content_type": "application/json"}
        return self._client.generic(method, path, headers={**self._headers, **headers}, **_encoded(options))


def _encoded(options: dict[str, Any]) -> dict[str, Any]:
    import json

    data = options.get("data")
    if data is not None and not isinstance(data, bytes):
        options["data"] = json.dumps(data).encode()
    return options
