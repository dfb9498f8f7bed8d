"""What became of an order: the page that one comes back to. It only looks; credit comes by the verified event."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Viewer
from billing.models import TopUpOrder
from billing.payments.mode import payment_mode
from billing.payments.queries import order_of
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from komilion.common.money import NANO_PER_CENT
from komilion.web.guards import with_viewer

LOOK_AGAIN_EVERY_S = 2
STOP_LOOKING_AFTER = timedelta(minutes=30)


@require_safe
@with_viewer()
def returned(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Where the payment provider sends the browser, paid or not; `order` says of what."""
    order_id = request.GET.get("order", "")
    if not order_id:
        raise NotFound
    return redirect("paying:order", order_of(viewer.organization_id, order_id).pk)


@require_safe
@with_viewer()
@never_cache
def order(request: HttpRequest, viewer: Viewer, order_id: str) -> HttpResponse:
    """The order, asking again by itself while nothing is known; for htmx only the part that changes."""
    found = order_of(viewer.organization_id, order_id)
    is_waiting = found.state in TopUpOrder.WAITING
    context = {
        "order": found,
        "mode": payment_mode(),
        "credit_nano": found.credit_cents * NANO_PER_CENT,
        "fee_nano": found.fee_cents * NANO_PER_CENT,
        "total_nano": (found.credit_cents + found.fee_cents) * NANO_PER_CENT,
        "is_waiting": is_waiting,
        "looks_again": is_waiting and utc_now() - found.created_at < STOP_LOOKING_AFTER,
        "every_s": LOOK_AGAIN_EVERY_S,
    }
    template = "paying/order_state.html" if request.headers.get("HX-Request") else "paying/order.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    return response
