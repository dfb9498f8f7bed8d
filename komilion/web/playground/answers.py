"""JSON for the playground's own scripts: what a view returns, and what it raises, in the shape of the API's errors."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from komilion.common.errors import KomilionError, render

API_DIALECT = "/api/"


def in_json(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """An error of ours is answered as the API would; nothing of it is kept by a cache."""

    @wraps(view)
    def answering(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except KomilionError as error:
            body = render(error, API_DIALECT)
            response = HttpResponse(body, status=error.status, content_type="application/json")
        response["Cache-Control"] = "no-store"
        return response

    return answering


def json(value: dict[str, Any], status: int = 200) -> JsonResponse:
    """One object."""
    return JsonResponse(value, status=status)
