"""A payment's receipt, to be printed, and giving a payment back."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import Right, Viewer
from billing.actions.refunds import do_refund, refundable_cents
from billing.errors import NotRefundable
from billing.models import Refund, TopUpOrder
from billing.payments.mode import payment_mode
from billing.payments.queries import payment_of
from billing.wallet_queries import payment_aftermath, wallet_of
from komilion.web.guards import with_viewer
from komilion.web.paying.forms import dollars


@require_safe
@with_viewer()
@never_cache
def receipt(request: HttpRequest, viewer: Viewer, payment_id: str) -> HttpResponse:
    """What was paid, by whom, for what, and what of it went back."""
    payment = payment_of(viewer.organization_id, payment_id)
    context = {"payment": payment, "after": payment_aftermath(payment), "seller": settings.SELLER}
    return render(request, "paying/receipt.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_viewer(Right.WALLET)
@never_cache
def refund(request: HttpRequest, viewer: Viewer, payment_id: str) -> HttpResponse:
    """What can be given back, and why not more; a POST gives it back. 503 where paying is off."""
    payment = payment_of(viewer.organization_id, payment_id)
    refusal = ""
    if request.method == "POST":
        try:
            made = do_refund(viewer.organization_id, payment.pk, actor=viewer.email)
        except NotRefundable as error:
            refusal = str(error)
        else:
            _say(request, made)
            return redirect("paying:receipt", payment.pk)
    context = {
        "payment": payment,
        "after": payment_aftermath(payment),
        "wallet": wallet_of(viewer.organization_id),
        "refundable_cents": refundable_cents(viewer.organization_id, payment.pk),
        "mode": payment_mode(),
        "refusal": refusal,
    }
    return render(request, "paying/refund.html", context, status=409 if refusal else 200)


def _say(request: HttpRequest, made: Refund) -> None:
    amounts = f"${dollars(made.credit_cents)} of credit is taken off the wallet, ${dollars(made.refund_cents)}"
    if made.state == Refund.State.SUCCEEDED:
        is_play = made.payment.order.kind == TopUpOrder.Kind.TEST
        messages.success(request, f"{amounts} {'of test money is given back' if is_play else 'goes back to the card'}.")
    elif made.state == Refund.State.OPEN:
        messages.info(request, f"{amounts} is on its way to the card; this page says when it is done.")
    else:
        messages.error(request, "The payment provider refused the refund. The credit is in the wallet again.")
