"""An address that only takes forms, opened as a page: by Enter after a refused form, or after logging in anew."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import is_valid_path

from komilion.common.errors import MethodNotAllowed

WITH_PAGES_ABOVE = ("/dashboard/", "/auth/", "/playground/")


class WrongMethodMiddleware:
    """Leads who opens such an address to the page above it; where there is none, says why nothing is there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Changes a 405 of Django's, which has no body, and no other answer."""
        response = self._get_response(request)
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        above = _page_above(request.path) if request.method in ("GET", "HEAD") else None
        if above is not None:
            return redirect(above)
        page = render(request, "error.html", {"error": MethodNotAllowed()}, status=response.status_code)
        page["Allow"] = response["Allow"]
        return page


def _page_above(path: str) -> str | None:
    """`/dashboard/keys/9/rotate` -> `/dashboard/keys/9`; the nearest address that there is, which may lead on."""
    while path.startswith(WITH_PAGES_ABOVE):
        path = path.rstrip("/").rpartition("/")[0]
        for address in (path, f"{path}/"):
            if is_valid_path(address):
                return address
    return None
