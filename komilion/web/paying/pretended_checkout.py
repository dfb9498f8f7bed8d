"""A page that plays the payment provider, with no money behind it. It exists only where TEST_PAYMENTS is set."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import Right, Viewer
from billing.actions.pretended_checkout import do_pay_test_order
from billing.models import TopUpOrder
from billing.payments.queries import order_of
from komilion.common.errors import NotFound
from komilion.common.money import NANO_PER_CENT
from komilion.web.guards import with_viewer

OUTCOMES = {"pay": "paid", "decline": "declined"}


@require_http_methods(["GET", "HEAD", "POST"])
@with_viewer(Right.WALLET)
@never_cache
def pretended_checkout(request: HttpRequest, viewer: Viewer, order_id: str) -> HttpResponse:
    """Pay or decline; both lead to the order. 404 without TEST_PAYMENTS, and for orders that real money pays."""
    if not settings.TEST_PAYMENTS:
        raise NotFound
    order = order_of(viewer.organization_id, order_id)
    if order.kind != TopUpOrder.Kind.TEST:
        raise NotFound
    outcome = OUTCOMES.get(request.POST.get("outcome", ""))
    if outcome is not None and order.state == TopUpOrder.State.OPEN:
        do_pay_test_order(viewer.organization_id, order.pk, actor=viewer.email, outcome=outcome)
    if outcome is not None or order.state != TopUpOrder.State.OPEN:
        return redirect("paying:order", order.pk)
    context = {
        "order": order,
        "credit_nano": order.credit_cents * NANO_PER_CENT,
        "fee_nano": order.fee_cents * NANO_PER_CENT,
        "total_nano": (order.credit_cents + order.fee_cents) * NANO_PER_CENT,
    }
    return render(request, "paying/pretended_checkout.html", context)
