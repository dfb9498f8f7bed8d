"""E-mail that somebody waits for: the credit runs low, a payment's receipt. Sent by the minute's sweep."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Model, QuerySet

from accounts.actions.audit import do_audit
from billing.errors import PaymentError
from billing.models import BalanceAlert, Payment, TopUpOrder, Wallet
from billing.payments.letters import about, do_write
from billing.payments.mode import is_test_money
from komilion.common.clock import utc_now
from komilion.common.money import MAX_NANO, NANO_PER_CENT, format_usd

RECEIPT_DAYS = 3  # a mail server that was gone for longer gets no heap of old receipts
BALANCE = F("wallet__paid_nano") + F("wallet__promo_nano") - F("wallet__debt_nano")


def do_set_alert(organization_id: int, threshold_nano: int | None, *, actor: str = "") -> None:
    """Write when paid + promo - debt falls below the threshold; None: never. Raises `PaymentError`."""
    if threshold_nano is not None and not 0 < threshold_nano <= MAX_NANO:
        raise PaymentError("The threshold must be more than nothing.")
    with transaction.atomic():
        if threshold_nano is None:
            BalanceAlert.objects.filter(wallet_id=organization_id).delete()
        else:
            BalanceAlert.objects.update_or_create(
                wallet_id=organization_id, defaults={"threshold_nano": threshold_nano, "told_at": None}
            )
        subject = "off" if threshold_nano is None else f"${format_usd(threshold_nano)}"
        do_audit(organization_id, actor=actor or "wallet", action="alert.set", subject=subject)


def do_send_alerts() -> int:
    """One e-mail for each fall below the threshold; how many went out. Rising above it arms the alert again.

    Raises `MailServerTrouble` at the first letter that meets it.
    """
    alerts = BalanceAlert.objects.annotate(balance=BALANCE)
    BalanceAlert.objects.filter(
        pk__in=alerts.filter(told_at__isnull=False, balance__gte=F("threshold_nano")).values("pk")
    ).update(told_at=None)
    due = alerts.filter(told_at__isnull=True, balance__lt=F("threshold_nano")).select_related("wallet")
    return sum(_send_once(BalanceAlert.objects.filter(pk=alert.pk), "told_at", _alert(alert)) for alert in due)


def do_send_receipts() -> int:
    """An e-mail for each payment that was credited; how many went out. Raises `MailServerTrouble` as the alerts do."""
    since = utc_now() - timedelta(days=RECEIPT_DAYS)
    due = Payment.objects.filter(receipted_at__isnull=True, created_at__gte=since).order_by("created_at")
    return sum(_send_once(Payment.objects.filter(pk=payment.pk), "receipted_at", _receipt(payment)) for payment in due)


def _send_once[M: Model](row: QuerySet[M], mark: str, send: Callable[[], bool]) -> bool:
    """Mark, then send, so that two sweeps send one; where nothing could be sent the mark goes, for the next sweep."""
    if not row.filter(**{f"{mark}__isnull": True}).update(**{mark: utc_now()}):
        return False
    is_done = False
    try:
        is_done = send()
    finally:
        if not is_done:
            row.update(**{mark: None})
    return is_done


def _alert(alert: BalanceAlert) -> Callable[[], bool]:
    wallet: Wallet = alert.wallet
    balance = wallet.paid_nano + wallet.promo_nano - wallet.debt_nano
    context = {
        "balance": format_usd(balance),
        "threshold": format_usd(alert.threshold_nano),
        **about(alert.wallet_id),
    }
    return lambda: do_write(alert.wallet_id, "low_balance", "Your credit runs low", context)


def _receipt(payment: Payment) -> Callable[[], bool]:
    figures = {
        name: format_usd(getattr(payment, f"{name}_cents") * NANO_PER_CENT)
        for name in ("credit", "fee", "tax", "total")
    }
    context = {
        **figures,
        **about(payment.wallet_id),
        "payment": payment,
        "is_automatic": TopUpOrder.objects.filter(pk=payment.order_id, kind=TopUpOrder.Kind.RECHARGE).exists(),
        "is_test": is_test_money(payment.pk),
        "receipt_url": f"{settings.PUBLIC_URL}/dashboard/wallet/receipts/{payment.pk}",
    }
    subject = f"Receipt for your top-up of ${figures['credit']}"
    return lambda: do_write(payment.wallet_id, "receipt", subject, context)
