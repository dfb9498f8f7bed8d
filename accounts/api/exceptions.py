"""What goes wrong in the REST API, in the one shape of errors and the dialect of the path; never Django's or DRF's."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions

from komilion.common.errors import (
    BadRequest,
    Forbidden,
    KomilionError,
    LedgerUnavailable,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
    render,
)

OURS: Mapping[type[Exception], type[KomilionError]] = {
    exceptions.ParseError: BadRequest,
    exceptions.AuthenticationFailed: Unauthenticated,
    exceptions.NotAuthenticated: Unauthenticated,
    exceptions.PermissionDenied: Forbidden,
    PermissionDenied: Forbidden,
    exceptions.NotFound: NotFound,
    Http404: NotFound,
    exceptions.NotAcceptable: NotAcceptable,
    exceptions.UnsupportedMediaType: UnsupportedMediaType,
    RequestDataTooBig: PayloadTooLarge,
    SuspiciousOperation: BadRequest,
    OperationalError: LedgerUnavailable,
    InterfaceError: LedgerUnavailable,
}


def handle_exception(exception: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """The answer to an exception of a view; None for what nobody foresaw, which becomes a 500 further up."""
    error = _as_ours(exception, context)
    if error is None:
        return None
    return HttpResponse(
        render(error, context["request"].path),
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )


def _as_ours(exception: Exception, context: Mapping[str, Any]) -> KomilionError | None:
    if isinstance(exception, KomilionError):
        return exception
    if isinstance(exception, exceptions.ValidationError):
        return invalid_fields(exception.detail)
    if isinstance(exception, exceptions.MethodNotAllowed):
        return MethodNotAllowed(headers={"Allow": ", ".join(context["view"].allowed_methods)})
    if isinstance(exception, exceptions.Throttled):
        wait_s = max(1, int(exception.wait or 1))  # type: ignore[attr-defined] # the stubs forget it
        return RateLimited(
            f"Too many management requests; try again in {wait_s} s.", headers={"Retry-After": str(wait_s)}
        )
    return next((kind() for foreign, kind in OURS.items() if isinstance(exception, foreign)), None)


def invalid_fields(detail: Any, kind: type[KomilionError] = Unprocessable) -> KomilionError:
    """DRF's tree of complaints as one error that names every field, the first one in `param` too."""
    complaints = list(_flatten(detail, ""))
    text = "; ".join(f"{name}: {complaint}" if name else complaint for name, complaint in complaints)
    return kind(text[:1_000], param=complaints[0][0] or None if complaints else None)


def _flatten(detail: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else str(name)[:100]
            yield from _flatten(inner, f"{path}.{step}" if path and step else path or step)
    elif isinstance(detail, list | tuple):
        for inner in detail:
            yield from _flatten(inner, path)
    else:
        yield path, str(detail)
