"""The wallet's page, and what its forms do. Everybody may look; only the right WALLET changes anything."""

from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer
from billing.actions.alerts import do_set_alert
from billing.actions.checkout import do_start_checkout, fee_on
from billing.actions.customers import do_open_portal
from billing.actions.recharge import do_set_auto_recharge, do_stop_auto_recharge
from billing.errors import PaymentError
from billing.payments.mandate import MANDATE_TEXT, MANDATE_VERSION
from billing.payments.mode import has_tax, payment_mode
from billing.payments.objects import ENDED
from billing.payments.queries import disputes_of, open_orders_of, payments_of, refunds_of
from billing.wallet_queries import WalletOverview, wallet_overview
from komilion.common.errors import PaymentsOff
from komilion.common.money import NANO_PER_CENT
from komilion.web.guards import with_viewer
from komilion.web.paying.forms import OFFERED_CENTS, AlertForm, AutoRechargeForm, TopUpForm, dollars
from komilion.web.people.client_ip import client_ip

ROWS = 10
CHECKOUT_IN_SESSION = "checkout"


@require_safe
@with_viewer()
@never_cache
def wallet(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Balance, top-up, card, automatic top-up, alert, payments."""
    return _page(request, viewer)


@require_POST
@with_viewer(Right.WALLET)
def top_up(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """An order, then the page to pay it on. 503 where paying is off."""
    if payment_mode() == "off":
        raise PaymentsOff
    form = TopUpForm(request.POST)
    if not form.is_valid():
        return _page(request, viewer, top_up_form=form)
    saves_card = form.cleaned_data["saves_card"]
    try:
        url = do_start_checkout(
            viewer.organization_id,
            form.credit_cents,
            saves_card=saves_card,
            actor=viewer.email,
            return_url=reverse("paying:returned"),
        )
    except PaymentError as error:
        form.add_error(None, str(error))
        return _page(request, viewer, top_up_form=form)
    if url.startswith("/"):
        return redirect(url)
    # A form's answer may not lead to another site (form-action 'self'); a link on a page of ours may.
    request.session[CHECKOUT_IN_SESSION] = {
        "url": url,
        "organization_id": viewer.organization_id,
        "credit_cents": form.credit_cents,
        "saves_card": saves_card,
    }
    return redirect("paying:checkout")


@require_safe
@with_viewer(Right.WALLET)
@never_cache
def checkout(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """What will be paid, and the link to where."""
    started = request.session.get(CHECKOUT_IN_SESSION)
    if started is None or started["organization_id"] != viewer.organization_id:
        return redirect("paying:wallet")
    credit_cents = started["credit_cents"]
    fee_cents = fee_on(credit_cents)
    context = {
        **started,
        "mode": payment_mode(),
        "credit_nano": credit_cents * NANO_PER_CENT,
        "fee_nano": fee_cents * NANO_PER_CENT,
        "total_nano": (credit_cents + fee_cents) * NANO_PER_CENT,
    }
    return render(request, "paying/checkout.html", context)


@require_safe
@with_viewer(Right.WALLET)
@never_cache
def portal(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Away to the customer's own page at Stripe. 503 where there is none."""
    return redirect(do_open_portal(viewer.organization_id, reverse("paying:wallet")))


@require_POST
@with_viewer(Right.WALLET)
def set_auto_recharge(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Switch automatic top-up on, or change it."""
    form = AutoRechargeForm(request.POST)
    if form.is_valid():
        try:
            do_set_auto_recharge(
                viewer.organization_id,
                threshold_nano=form.cleaned_data["threshold"] * NANO_PER_CENT,
                credit_cents=form.cleaned_data["credit"],
                daily_cap_cents=form.cleaned_data["daily_cap"],
                actor=viewer.email,
                ip=client_ip(request),
            )
        except PaymentError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Automatic top-up is on.")
            return redirect("paying:wallet")
    return _page(request, viewer, recharge_form=form)


@require_POST
@with_viewer(Right.WALLET)
def stop_auto_recharge(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Switch automatic top-up off."""
    do_stop_auto_recharge(viewer.organization_id, actor=viewer.email)
    messages.success(request, "Automatic top-up is off.")
    return redirect("paying:wallet")


@require_POST
@with_viewer(Right.WALLET)
def set_alert(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """Set or drop the e-mail about a low balance."""
    form = AlertForm(request.POST)
    if not form.is_valid():
        return _page(request, viewer, alert_form=form)
    cents = form.cleaned_data["threshold"]
    do_set_alert(viewer.organization_id, None if cents is None else cents * NANO_PER_CENT, actor=viewer.email)
    said = "No e-mail will be sent." if cents is None else f"An e-mail will be sent below ${dollars(cents)}."
    messages.success(request, said)
    return redirect("paying:wallet")


def _page(request: HttpRequest, viewer: Viewer, **refused: Form) -> HttpResponse:
    """The page, with the form that was refused in place of an empty one."""
    overview = wallet_overview(viewer.organization_id)
    disputes = disputes_of(viewer.organization_id, ROWS)
    context: dict[str, Any] = {
        "overview": overview,
        "wallet": overview.wallet,
        "mode": payment_mode(),
        "has_tax": has_tax(),
        "top_up_form": TopUpForm(),
        "recharge_form": AutoRechargeForm(initial=_recharge_terms(overview)),
        "alert_form": AlertForm(initial=_alert_terms(overview)),
        "offers": [(cents * NANO_PER_CENT, fee_on(cents) * NANO_PER_CENT) for cents in OFFERED_CENTS],
        "has_fee": any(fee_on(cents) for cents in OFFERED_CENTS),
        "mandate": MANDATE_TEXT,
        "mandate_version": MANDATE_VERSION,
        "payments": payments_of(viewer.organization_id, ROWS),
        "open_orders": open_orders_of(viewer.organization_id, ROWS),
        "refunds": refunds_of(viewer.organization_id, ROWS),
        "disputes": disputes,
        "is_disputed": any(row.state not in ENDED and not row.state.startswith("warning_") for row in disputes),
        **refused,
    }
    return render(request, "paying/wallet.html", context, status=422 if refused else 200)


def _recharge_terms(overview: WalletOverview) -> dict[str, str]:
    """What the form starts with: what was set up, else something sensible."""
    terms = overview.auto_recharge
    if terms is None:
        return {"threshold": dollars(500), "credit": dollars(2_500), "daily_cap": dollars(10_000)}
    return {
        "threshold": dollars(terms.threshold_nano // NANO_PER_CENT),
        "credit": dollars(terms.credit_cents),
        "daily_cap": dollars(terms.daily_cap_cents),
    }


def _alert_terms(overview: WalletOverview) -> dict[str, str]:
    return {} if overview.alert is None else {"threshold": dollars(overview.alert.threshold_nano // NANO_PER_CENT)}
