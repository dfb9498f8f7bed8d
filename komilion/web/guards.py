"""Decorators of views: who may come in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from accounts.access import Right, Viewer, other_viewers
from komilion.common.errors import Conflict, KomilionError, NotFound

ORGANIZATION_IN_LINK = "organization"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
ORGANIZATION_FIELD = "in_organization"  # hidden, in every form below /dashboard: see the tag `csrf_token`

type View = Callable[..., HttpResponseBase]


def with_viewer(right: Right | None = None) -> Callable[[View], View]:
    """The view gets `viewer: Viewer` after the request; others are sent to log in, or to 403 where `right` lacks.

    A form that was shown for another organization is refused with 409: it would take effect in the wrong one. A link to
    what belongs to another one of hers offers to switch; in a mail a link can name it: `?organization=12`.
    Whatever changes something of the organization demands a right here or by `viewer.must`, which also refuses it while
    the organization is suspended.
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
            other = _other_that_is_named(request, viewer)
            if other is not None:
                return _offer_to_switch(request, other)
            if right is not None:
                viewer.must(right)
            try:
                return view(request, viewer, *args, **kwargs)
            except NotFound:
                found = _other_that_has_it(request, viewer, lambda other: view(request, other, *args, **kwargs))
                if found is None:
                    raise
                return _offer_to_switch(request, found)

        return guarded

    return decorate


def _must_be_shown_for(viewer: Viewer, organization_id: str | None) -> None:
    """None is no form of ours: ours carry the field beside the token without which nothing comes this far."""
    if organization_id not in (None, str(viewer.organization_id)):
        raise Conflict(f"You switched to {viewer.organization_name} after this page was opened. Open the page anew.")


def _other_that_is_named(request: HttpRequest, viewer: Viewer) -> Viewer | None:
    """The one that the link names, where she belongs to it and looks at another one."""
    named = request.GET.get(ORGANIZATION_IN_LINK)
    if request.method not in SAFE_METHODS or named in (None, str(viewer.organization_id)):
        return None
    return next((other for other in other_viewers(viewer) if str(other.organization_id) == named), None)


def _other_that_has_it(
    request: HttpRequest, viewer: Viewer, look: Callable[[Viewer], HttpResponseBase]
) -> Viewer | None:
    """Where the page would be there: looked up by the page itself, which changes nothing when it is only read."""
    if request.method not in SAFE_METHODS or request.headers.get("HX-Request"):  # of a part no whole page can come
        return None
    for other in other_viewers(viewer):
        try:
            look(other)
        except KomilionError:
            continue
        return other
    return None


def _offer_to_switch(request: HttpRequest, other: Viewer) -> HttpResponseBase:
    return render(request, "people/elsewhere.html", {"other": other})
