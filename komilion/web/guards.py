"""Decorators of views: who may come in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.access import Right, Viewer
from komilion.common.errors import Conflict

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
ORGANIZATION_FIELD = "in_organization"  # hidden, in every form below /dashboard: see the tag `csrf_token`

type View = Callable[..., HttpResponseBase]


def with_viewer(right: Right | None = None) -> Callable[[View], View]:
    """The view gets `viewer: Viewer` after the request; others are sent to log in, or to 403 where `right` lacks.

    A form that was shown for another organization is refused with 409: it would take effect in the wrong one.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            viewer: Viewer | None = request.viewer or None  # type: ignore[attr-defined]
            if viewer is None and request.user.is_authenticated:  # she belongs to no organization (any more)
                return redirect("people:organizations")
            if viewer is None:
                return redirect_to_login(request.get_full_path(), "account_login")
            if request.method not in SAFE_METHODS:
                _must_be_shown_for(viewer, request.POST.get(ORGANIZATION_FIELD))
            if right is not None:
                viewer.must(right)
            return view(request, viewer, *args, **kwargs)

        return guarded

    return decorate


def _must_be_shown_for(viewer: Viewer, organization_id: str | None) -> None:
    """None is no form of ours: ours carry the field beside the token without which nothing comes this far."""
    if organization_id not in (None, str(viewer.organization_id)):
        raise Conflict(f"You switched to {viewer.organization_name} after this page was opened. Open the page anew.")
