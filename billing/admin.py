"""What operators see of the money. Rows of the ledger are read only; a wallet changes by a posting with a reason."""

import secrets
from datetime import timedelta
from typing import Any, override

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse

from billing.actions.corrections import Correction, do_correct
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from billing.models import (
    AutoRecharge,
    BalanceAlert,
    BalanceMark,
    Cap,
    CapUse,
    Dispute,
    GatewayProcess,
    Hold,
    IdempotentCall,
    LabelSum,
    LedgerEntry,
    PayingCustomer,
    Payment,
    PaymentEvent,
    Posting,
    Price,
    PromoLot,
    Refund,
    TopUpOrder,
    UsageMark,
    UsageRow,
    UsageSum,
    Wallet,
)
from komilion.common.admin import CompositeKeyAdmin, ReadOnlyAdmin, show
from komilion.common.clock import utc_now
from komilion.common.money import InvalidAmount, format_usd, parse_usd

SESSIONS_SOUGHT_DAYS = 31


class CorrectionForm(forms.Form):
    """An amount of US dollars with a reason."""

    kind = forms.ChoiceField(
        choices=[
            ("recredit", "Give back: credit from our fee"),
            ("grant", "Give away: promo credit"),
            ("topup", "Paid elsewhere: credit for money received"),
            ("adjust", "Take back: from paid credit that is neither spent nor held, all of it or nothing"),
        ]
    )
    amount = forms.CharField(label="Amount in US dollars", max_length=30)
    reason = forms.CharField(min_length=5, max_length=120)
    reference = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def clean_amount(self) -> int:
        """In nano-USD."""
        try:
            amount = parse_usd(self.cleaned_data["amount"])
        except InvalidAmount as error:
            raise forms.ValidationError(str(error)) from error
        if not amount:
            raise forms.ValidationError("The amount must be more than nothing.")
        return amount


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    """Balances."""

    list_display = ("organization", "available", "held", "paid", "promo", "debt")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__memberships__user__email")
    change_form_template = "operator/wallet.html"

    @admin.display(ordering="available_nano")
    def available(self, wallet: Wallet) -> str:
        """In US dollars, as are the others."""
        return format_usd(wallet.available_nano)

    @admin.display(ordering="held_nano")
    def held(self, wallet: Wallet) -> str:
        """Reserved by running calls."""
        return format_usd(wallet.held_nano)

    @admin.display(ordering="paid_nano")
    def paid(self, wallet: Wallet) -> str:
        """Paid for."""
        return format_usd(wallet.paid_nano)

    @admin.display(ordering="promo_nano")
    def promo(self, wallet: Wallet) -> str:
        """Given away."""
        return format_usd(wallet.promo_nano)

    @admin.display(ordering="debt_nano")
    def debt(self, wallet: Wallet) -> str:
        """Owed."""
        return format_usd(wallet.debt_nano)

    @override
    def get_urls(self) -> list[URLPattern]:
        """And the page that posts a correction."""
        correct = path("<id:pk>/correct/", self.admin_site.admin_view(self.correct), name="billing_wallet_correct")
        return [correct, *super().get_urls()]

    def correct(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for amount and reason, then post; sent twice it happens once."""
        if not request.user.is_superuser:
            raise PermissionDenied
        wallet = get_object_or_404(Wallet.objects.select_related("organization"), pk=pk)
        form = CorrectionForm(request.POST or None, initial={"reference": f"operator-{secrets.token_hex(12)}"})
        if request.method == "POST" and form.is_valid() and self._post(request, form, pk):
            return HttpResponseRedirect(reverse("admin:billing_wallet_change", args=[pk]))
        context = {
            **self.admin_site.each_context(request),
            "form": form,
            "wallet": wallet,
            "title": "Correct the balance",
        }
        return render(request, "operator/correct.html", context)

    def _post(self, request: HttpRequest, form: CorrectionForm, pk: int) -> bool:
        data = form.cleaned_data
        correction = Correction(data["reference"], data["kind"], pk, data["amount"], data["reason"])
        try:
            done = do_correct(correction, actor=f"operator {request.user.get_username()}")
        except (MovementRefused, StoreBusy, StoreUnavailable) as error:
            form.add_error(None, f"Nothing was posted: {error}")
            return False
        text = "Posted." if done.changed else "That had been posted before; nothing changed."
        messages.success(request, f"{text} Available: ${format_usd(done.available)}.")
        return True


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """What happened."""

    list_display = ("id", "created_at", "kind", "reference", "wallet_id", "amount_nano", "memo")
    list_filter = ("kind",)
    search_fields = ("reference__startswith", "wallet_id__exact")
    ordering = ("-id",)


@admin.register(Posting)
class PostingAdmin(ReadOnlyAdmin):
    """What moved."""

    list_display = ("id", "entry_id", "wallet_id", "source", "target", "amount_nano")
    search_fields = ("entry_id__exact", "wallet_id__exact")
    ordering = ("-id",)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Reservations."""

    list_display = ("request_id", "wallet_id", "state", "amount_nano", "created_at", "expires_at")
    list_filter = ("state",)
    search_fields = ("request_id__exact", "wallet_id__exact")


@admin.register(TopUpOrder)
class TopUpOrderAdmin(ReadOnlyAdmin):
    """Orders and automatic top-ups."""

    list_display = ("id", "created_at", "wallet_id", "kind", "state", "credit_cents", "livemode", "failure")
    list_filter = ("state", "kind", "livemode")
    search_fields = ("id__exact", "payment_intent_id__exact", "checkout_session_id__exact", "wallet_id__exact")


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """Credited payments."""

    list_display = (
        "id",
        "created_at",
        "wallet_id",
        "credit_cents",
        "fee_cents",
        "tax_cents",
        "total_cents",
        "livemode",
    )
    search_fields = ("id__exact", "order__id__exact", "wallet_id__exact")


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    """Money given back."""

    list_display = ("id", "created_at", "wallet_id", "credit_cents", "refund_cents", "state", "failure")
    list_filter = ("state",)


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    """Charge-backs."""

    list_display = ("id", "created_at", "wallet_id", "amount_cents", "state", "respond_by", "ended_at")
    list_filter = ("state",)


@admin.register(IdempotentCall)
class IdempotentCallAdmin(ReadOnlyAdmin):
    """Calls with an Idempotency-Key, without the answers: those are the tenants'."""

    list_display = ("request_id", "key_id", "path", "is_finished", "created_at", "expires_at")
    search_fields = ("request_id__exact", "idempotency_key__exact")
    exclude = ("answer", "body_hmac")


class UsageRowAdmin(CompositeKeyAdmin):
    """Calls, found by their request id, or by the id of the conversation that they are answers of."""

    list_display = ("created_at", "request_id", "organization_id", "model", "provider", "outcome", "charge_nano")
    search_fields = ("request_id__exact",)
    ordering = ("-created_at", "-request_id")

    @override
    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The calls of a conversation where its id is asked for; no index has it, so only the last days are read."""
        if search_term.strip().startswith("sess-"):
            since = utc_now() - timedelta(days=SESSIONS_SOUGHT_DAYS)
            return queryset.filter(created_at__gte=since, detail__session_id=search_term.strip()), False
        return super().get_search_results(request, queryset, search_term)


class UsageSumAdmin(CompositeKeyAdmin):
    """Sums of calls by the quarter-hour, the hour and the day."""

    list_display = ("starts_at", "grain_s", "organization_id", "key_id", "model", "outcome", "requests", "charge_nano")
    search_fields = ("organization_id__exact",)
    ordering = ("-pk",)  # by organization; the order of the index


class LabelSumAdmin(CompositeKeyAdmin):
    """Sums of calls by tag and end user."""

    list_display = ("starts_at", "grain_s", "organization_id", "kind", "label", "requests", "charge_nano")
    search_fields = ("organization_id__exact", "label__exact")
    ordering = ("-pk",)


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    """What calls were and are charged by."""

    list_display = ("id", "figures", "fee_basis_points", "created_at")


class Listed(ReadOnlyAdmin):
    """Rows with every field as a column."""

    @override
    def get_list_display(self, request: HttpRequest) -> Any:
        """Every column of the table."""
        return [field.name for field in self.model._meta.concrete_fields]


admin.site.register(
    [
        *(AutoRecharge, BalanceAlert, BalanceMark, Cap, CapUse, GatewayProcess, PayingCustomer, PaymentEvent),
        *(PromoLot, UsageMark),
    ],
    Listed,
)
show(UsageRow, UsageRowAdmin)
show(UsageSum, UsageSumAdmin)
show(LabelSum, LabelSumAdmin)
