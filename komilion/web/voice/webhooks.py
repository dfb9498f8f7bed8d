"""Webhooks that tell of jobs: the secret that signs them, shown once, and what became of each message."""

from urllib.parse import quote

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer
from komilion.common.errors import Conflict, NotFound
from komilion.web.guards import with_viewer
from voice.actions.webhooks import do_make_webhook_secret, do_send_again
from voice.page_queries import deliveries_shown
from voice.queries import deliveries_of, secret_state, webhook_secret_made_at

BADGES = {"pending": "info", "delivered": "good", "failed": "bad"}


@require_safe
@with_viewer()
@never_cache
def show(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Whether there is a secret, and the newest messages."""
    rows = [(each, BADGES[each.row.state]) for each in deliveries_shown(viewer.organization_id)]
    made_at = webhook_secret_made_at(viewer.organization_id)
    return render(
        request, "voice/webhooks.html", {"made_at": made_at, "seen": quote(secret_state(made_at)), "rows": rows}
    )


@require_POST
@with_viewer(Right.KEYS)
@never_cache
def make_secret(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    """A new secret, in this one answer; the address names the state that was seen, so a reload does nothing."""
    seen = request.GET.get("seen", "")
    try:
        secret = do_make_webhook_secret(viewer, seen)
    except Conflict as error:
        messages.error(request, error.message)
        return redirect("voice:webhooks")
    response = render(request, "voice/secret.html", {"secret": secret, "had_one": bool(seen)})
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@with_viewer(Right.KEYS)
def send_again(request: HttpRequest, viewer: Viewer, delivery_id: str) -> HttpResponseBase:
    """A message that was given up is tried once more. Raises `NotFound`, `Conflict`."""
    if delivery_id not in {row.pk for row in deliveries_of(viewer.organization_id)}:
        raise NotFound("There is no such message.")
    do_send_again(viewer, delivery_id)
    messages.success(request, "The message is sent again.")
    return redirect("voice:webhooks")
