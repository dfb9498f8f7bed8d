"""Decorators of views: who may come in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from accounts.access import Right, Viewer

type View = Callable[..., HttpResponseBase]


def with_viewer(right: Right | None = None) -> Callable[[View], View]:
    """The view gets `viewer: Viewer` after the request; others are sent to log in, or to 403 where `right` lacks."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            viewer: Viewer | None = request.viewer or None  # type: ignore[attr-defined]
            if viewer is None and request.user.is_authenticated:  # she belongs to no organization (any more)
                return redirect("people:organizations")
            if viewer is None:
                return redirect_to_login(request.get_full_path(), "account_login")
            if right is not None:
                viewer.must(right)
            return view(request, viewer, *args, **kwargs)

        return guarded

    return decorate
