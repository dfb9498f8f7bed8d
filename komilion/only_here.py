"""With TEST_PAYMENTS=1 only this machine is served, whatever server runs the application and whatever it listens on.

Our own web processes refuse to start where test money may not be. Another ASGI server, or `manage.py runserver`, asks
nobody and listens where it is told to; so here each request is looked at. Without test money none of this is there.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse

from billing.payments.pretend import refusal_of_test_money
from komilion.common.errors import Forbidden, KomilionError, Unavailable, render
from komilion.common.play_money import is_loopback
from routing.gateway.exchange import Exchange, Receive, Scope, Send


class _Installation:
    """Settings and database, asked until they allow test money."""

    def __init__(self) -> None:
        self.is_allowed = False

    def refusal(self) -> KomilionError | None:
        """Why not."""
        trouble = refusal_of_test_money(settings)
        self.is_allowed = not trouble
        return Unavailable(f"{trouble}.") if trouble else None


class OnlyHere:
    """Around the ASGI application: what came in by an address that other machines can reach is 403."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._installation = _Installation()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Any ASGI connection; a server that does not say where it listens counts as reachable."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        refusal = _refusal_at((scope.get("server") or ("",))[0])
        if refusal is None and not self._installation.is_allowed:
            refusal = await asyncio.to_thread(self._ask)
        if refusal is None:
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await Exchange(scope, receive, send).fail(refusal)

    def _ask(self) -> KomilionError | None:
        try:
            return self._installation.refusal()
        finally:
            connection.close()  # the thread goes back to its pool


class OnlyHereMiddleware:
    """The same for pages by WSGI, which does not say where a request came in: it must come from this machine."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._installation = _Installation()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Before everything else."""
        refusal = _refusal_at(request.META.get("REMOTE_ADDR", ""))
        if refusal is None and not self._installation.is_allowed:
            refusal = self._installation.refusal()
        if refusal is None:
            return self._get_response(request)
        body = render(refusal, request.path)
        return HttpResponse(body, status=refusal.status, content_type="application/json", headers=refusal.headers)


def _refusal_at(address: str) -> KomilionError | None:
    return (
        None if is_loopback(address) else Forbidden("TEST_PAYMENTS=1 gives credit away: only this machine is served.")
    )
