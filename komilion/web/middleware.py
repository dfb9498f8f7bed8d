"""What every page needs before its view runs, and what becomes of our errors after it."""

import logging
from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import redis
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts.access import access_viewer
from billing.errors import StoreBusy, StoreUnavailable
from komilion.common.errors import KomilionError, LedgerUnavailable, Unavailable
from komilion.common.errors import render as render_error

log = logging.getLogger(__name__)

RETRY_SOON = {"Retry-After": "5"}
ORGANIZATION_IN_SESSION = "organization_id"
API_PREFIXES = ("/api/", "/v1/", "/key/", "/spend/")
DATABASE_TROUBLE = (OperationalError, InterfaceError, StoreUnavailable, StoreBusy)


class ViewerMiddleware:
    """`request.viewer`: the logged-in person in the organization that she looks at, or None. Times are in her zone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Looks nothing up until somebody asks."""
        request.viewer = SimpleLazyObject(lambda: _viewer_of(request))  # type: ignore[attr-defined]
        try:
            return self._get_response(request)
        finally:
            timezone.deactivate()


def _viewer_of(request: HttpRequest) -> object:
    if not request.user.is_authenticated:
        return None
    try:
        timezone.activate(ZoneInfo(request.user.time_zone))
    except (ZoneInfoNotFoundError, ValueError):
        timezone.deactivate()
    return access_viewer(request.user.pk, request.session.get(ORGANIZATION_IN_SESSION))


class ErrorPageMiddleware:
    """A `KomilionError` that a view raises becomes a page, or JSON under the paths of the APIs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing to do until something is raised."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Django calls this; None leaves what is not ours to Django. Without Redis there are no limits to count by."""
        asker: HttpRequest | None = request
        if isinstance(exception, DATABASE_TROUBLE):
            log.error("page needs the database", extra={"path": request.path, "error": str(exception)})
            exception = LedgerUnavailable(headers=RETRY_SOON)
            asker = None  # who it is, and what she was told before, stands in the database
        elif isinstance(exception, redis.RedisError):
            log.error("page needs Redis", extra={"path": request.path, "error": str(exception)})
            exception = Unavailable("This is not possible for a moment. Try again soon.", headers=RETRY_SOON)
        if not isinstance(exception, KomilionError):
            return None
        if request.path.startswith(API_PREFIXES):
            body = render_error(exception, request.path)
            return HttpResponse(
                body, status=exception.status, content_type="application/json", headers=exception.headers
            )
        page = HttpResponse(render_to_string("error.html", {"error": exception}, asker), status=exception.status)
        for name, value in exception.headers.items():
            page[name] = value
        return page
