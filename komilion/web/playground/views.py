"""`/playground`: one question to several models side by side. The page asks the gateway itself, by a session token."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer, ticket_of
from accounts.session_tokens import LIFETIME_S, make_token
from advisor.queries import newest_sample
from komilion.web.guards import with_viewer
from komilion.web.playground.answers import in_json, json
from komilion.web.playground.form import context_of, filled_by, left_out_of
from routing.selection.words import task_named


@require_safe
@with_viewer()
@never_cache
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """The form, filled as the link says. A link never starts a run.

    With `sample` a prompt of the organization's own that is kept for the task type goes before the link's, for whoever
    may ask anything here.
    """
    query, context = request.GET.dict(), dict[str, Any]()
    if "sample" in query:
        task = task_named(query.get("task", "")) or ""
        own = newest_sample(viewer.organization_id, task) if viewer.may(Right.KEYS) else ""
        query["prompt"] = own or query.get("prompt", "")
        context["begins_with"] = "sample" if own else "stand-in"
    context |= {**context_of(filled_by(query)), "left_out": left_out_of(query)}
    return render(request, "playground/playground.html", context)


@require_POST
@in_json
@with_viewer(Right.KEYS)
def token(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """A session token for the person in the organization that she looks at."""
    return json({"token": make_token(ticket_of(viewer)), "expires_in": LIFETIME_S})
