"""Runs that members share: making one, the list, opening one by its link, deleting one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import Right, Viewer
from komilion.web.guards import with_viewer
from komilion.web.playground.answers import in_json, json
from komilion.web.playground.form import context_of
from routing.actions.shares import do_delete_share, do_share, may_delete
from routing.playground.content import read_run
from routing.playground.queries import share_of, shares_of


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def list_or_share(request: HttpRequest) -> HttpResponseBase:
    """What is shared; a POST shares one more."""
    return _share(request) if request.method == "POST" else _list(request)


@with_viewer()
def _list(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    rows = [(row, may_delete(viewer, row.author_id)) for row in shares_of(viewer.organization_id)]
    return render(request, "playground/shares.html", {"rows": rows})


@in_json
@with_viewer(Right.KEYS)
def _share(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """The page sends it; `url` is the link."""
    share_id = do_share(viewer, read_run(request.POST.get("content", "")))
    path = reverse("playground:share", args=[share_id])
    return json({"id": share_id, "url": request.build_absolute_uri(path)}, 201)


@require_safe
@with_viewer()
@never_cache
def open_share(request: HttpRequest, viewer: Viewer, share_id: str) -> HttpResponse:
    """The playground as it was then. Only members find it."""
    share = share_of(viewer.organization_id, share_id)
    context = {**context_of(share.run), "share": share.row, "may_delete": may_delete(viewer, share.row.author_id)}
    return render(request, "playground/playground.html", context)


@require_POST
@with_viewer()
def delete(request: HttpRequest, viewer: Viewer, share_id: str) -> HttpResponseBase:
    """Its link leads nowhere from now on."""
    do_delete_share(viewer, share_id)
    messages.success(request, "It is not shared any more.")
    return redirect("playground:shares")
