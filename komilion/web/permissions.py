"""Which of a browser's senses a page may ask for (Permissions-Policy): none, but the microphone where one speaks."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Permissions-Policy"
SENSES = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb")
NOTHING = ", ".join(f"{sense}=()" for sense in SENSES)
MICROPHONE = NOTHING.replace("microphone=()", "microphone=(self)")

type View = Callable[..., HttpResponseBase]


class PermissionsMiddleware:
    """Pages may ask for nothing, unless their view says otherwise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Any page."""
        response = self._get_response(request)
        response.headers.setdefault(HEADER, NOTHING)
        return response


def may_hear(view: View) -> View:
    """This page, and no other in a frame of it, may ask for the microphone."""

    @wraps(view)
    def hearing(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        response.headers[HEADER] = MICROPHONE
        return response

    return hearing
