"""Who asks the REST API: an API key in one of the gateway's headers, or a person by her session.

A session counts only together with proof that our own page asks: for anything but reading, the CSRF token and an
`Origin` (or `Referer`) of ours. A request with a key never falls back to the cookie beside it.
"""

from typing import override
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from accounts.access import Asker, Viewer, access_asker, access_ticketed_asker, asker_of
from accounts.session_tokens import read_token
from komilion.common.credentials import CREDENTIAL_HEADERS, bare_token
from komilion.common.errors import Forbidden, Suspended, Unauthenticated
from komilion.common.ids import hash_api_key, is_well_formed_api_key

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer ck_...`, `x-api-key`, `x-litellm-api-key` or `api-key`."""

    @override
    def authenticate(self, request: Request) -> tuple[Asker, None] | None:
        """The key's asker; None without a key. Raises `Unauthenticated`, `Suspended`."""
        key = _credential_of(request)
        if not key:
            return None
        return _working(access_asker(hash_api_key(key, settings.KEY_PEPPER)) if is_well_formed_api_key(key) else None)


class SessionTokenAuthentication(BaseAuthentication):
    """A session token `cs_...` in their place: for the views of routing, which ask this class first."""

    @override
    def authenticate(self, request: Request) -> tuple[Asker, None] | None:
        """The person as her session would be; None without a token that is one. Raises like the others."""
        ticket = read_token(_credential_of(request))
        return None if ticket is None else _working(access_ticketed_asker(ticket))


def _credential_of(request: Request) -> str:
    """Empty where there is none. Raises `Unauthenticated` for two that differ."""
    sent = (request.META.get(f"HTTP_{name.decode().upper().replace('-', '_')}", "") for name in CREDENTIAL_HEADERS)
    found = {bare_token(value.encode("utf-8", "replace")) for value in sent} - {b""}
    if len(found) > 1:
        raise Unauthenticated("The request carries two different API keys.")
    return found.pop().decode("utf-8") if found else ""


def _working(asker: Asker | None) -> tuple[Asker, None]:
    if asker is None:
        raise Unauthenticated
    if asker.is_suspended:
        raise Suspended
    return asker, None


class PersonAuthentication(BaseAuthentication):
    """The session cookie of our pages."""

    @override
    def authenticate(self, request: Request) -> tuple[Asker, None] | None:
        """The person as an asker for the organization she looks at; None without a session. Raises `Forbidden`."""
        inner = request._request
        viewer: Viewer | None = getattr(inner, "viewer", None) or None
        if viewer is None:
            return None
        if inner.method not in READING:
            _demand_our_origin(inner)
            _demand_csrf_token(inner)
        return asker_of(viewer), None


def _demand_our_origin(request: HttpRequest) -> None:
    ours = {f"{request.scheme}://{request.get_host()}", settings.PUBLIC_URL.rstrip("/")}
    sender = request.headers.get("Origin") or _origin_of(request.headers.get("Referer", ""))
    if sender not in ours:
        raise Forbidden("A session may ask only from this server's own pages; use an API key instead.")


def _nothing(request: HttpRequest) -> HttpResponse:
    """In the place of a view: the check wants one and calls none."""
    return HttpResponse()


def _origin_of(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _demand_csrf_token(request: HttpRequest) -> None:
    check = CSRFCheck(_nothing)
    check.process_request(request)
    if check.process_view(request, _nothing, (), {}) is not None:
        raise Forbidden("The CSRF token is missing or wrong; send it as X-CSRFToken, or use an API key instead.")


WITH_TOKENS = (SessionTokenAuthentication, KeyAuthentication, PersonAuthentication)
"""For views that a session token may ask too."""
