"""Money from outside: orders, what was paid, refunds, disputes. Stripe's amounts are cents, the wallet's nano-USD.

An order is ours and comes first; a payment is what Stripe's verified webhook said about it, inserted in the ledger's
transaction that credits the wallet.
"""

from typing import override

from django.db import models
from django.db.models import Q

from billing.models.wallet import Wallet


class PayingCustomer(models.Model):
    """The organization as Stripe knows it, and the card kept for automatic top-ups."""

    wallet = models.OneToOneField(Wallet, on_delete=models.PROTECT, primary_key=True, related_name="customer")
    customer_id = models.CharField(max_length=64, unique=True)
    livemode = models.BooleanField()
    payment_method_id = models.CharField(max_length=64, blank=True)
    card_brand = models.CharField(max_length=20, blank=True)
    card_last4 = models.CharField(max_length=4, blank=True)
    card_expires = models.CharField(max_length=7, blank=True)  # YYYY-MM
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return f"customer {self.customer_id}"


class TopUpOrder(models.Model):
    """Somebody (or the automatic top-up) asked to buy credit. `id` is `top-...` and travels in Stripe's metadata."""

    class Kind(models.TextChoices):
        """How it is paid."""

        CHECKOUT = "checkout"  # a person on Stripe's page
        RECHARGE = "recharge"  # the saved card, nobody present
        TEST = "test"  # our own page, no money; only with TEST_PAYMENTS

    class State(models.TextChoices):
        """`open` until one of the others; `unknown` is a recharge whose outcome must be looked up at Stripe."""

        OPEN = "open"
        UNKNOWN = "unknown"
        PAID = "paid"
        FAILED = "failed"
        EXPIRED = "expired"

    WAITING = (State.OPEN, State.UNKNOWN)  # may still be paid

    id = models.CharField(max_length=40, primary_key=True)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="orders")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    credit_cents = models.PositiveIntegerField()  # what the wallet gets
    fee_cents = models.PositiveIntegerField(default=0)  # for paying by card; shown apart
    currency = models.CharField(max_length=3, default="usd")
    livemode = models.BooleanField()
    saves_card = models.BooleanField(default=False)
    customer_id = models.CharField(max_length=64, blank=True)  # Stripe's, as it was when the order was made
    payment_method_id = models.CharField(max_length=64, blank=True)  # of a recharge: a retry must not differ
    created_by = models.CharField(max_length=254)
    checkout_session_id = models.CharField(max_length=128, blank=True, db_index=True)
    payment_intent_id = models.CharField(max_length=64, blank=True, db_index=True)
    attempts = models.PositiveSmallIntegerField(default=0)  # of a recharge
    first_attempt_at = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["wallet"],
                condition=Q(kind="recharge", state__in=["open", "unknown"]),
                name="one_open_recharge_per_wallet",
            ),
        ]
        indexes = [models.Index(fields=["wallet", "created_at"], name="order_by_wallet")]

    @override
    def __str__(self) -> str:
        return f"order {self.id} ({self.state})"


class PaymentEvent(models.Model):
    """One verified event of Stripe's that was acted on; a second delivery finds it here."""

    id = models.CharField(max_length=64, primary_key=True)
    type = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Payment(models.Model):
    """A payment that was credited. `id` is Stripe's PaymentIntent: whatever events speak of it, it is credited once."""

    id = models.CharField(max_length=64, primary_key=True)
    order = models.OneToOneField(TopUpOrder, on_delete=models.PROTECT, related_name="payment", db_constraint=False)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="payments", db_constraint=False)
    credit_cents = models.PositiveIntegerField()
    fee_cents = models.PositiveIntegerField()
    tax_cents = models.PositiveIntegerField()
    total_cents = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    livemode = models.BooleanField()
    charge_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    receipted_at = models.DateTimeField(null=True, blank=True)  # when the receipt went out by e-mail

    @override
    def __str__(self) -> str:
        return f"payment {self.id}"


class Refund(models.Model):
    """Credit given back as money. The wallet is debited before Stripe is asked.

    `id` is ours (`ref-...`), or Stripe's (`re_...`) where the operator gave the money back at Stripe.
    """

    class State(models.TextChoices):
        """`failed` has put the credit back."""

        OPEN = "open"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.CharField(max_length=40, primary_key=True)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="refunds")
    credit_cents = models.PositiveIntegerField()
    refund_cents = models.PositiveIntegerField()  # with fee and tax in proportion
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    stripe_refund_id = models.CharField(max_length=64, blank=True, db_index=True)
    created_by = models.CharField(max_length=254)
    failure = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    @override
    def __str__(self) -> str:
        return f"refund {self.id} ({self.state})"


class Dispute(models.Model):
    """A charge-back. Opening it takes the credit back (debt where it is spent) and suspends the organization."""

    id = models.CharField(max_length=64, primary_key=True)  # Stripe's
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="disputes")
    amount_cents = models.PositiveIntegerField()  # what Stripe took, with fee and tax
    credit_cents = models.PositiveIntegerField()  # the part of it that is credit
    state = models.CharField(max_length=32)  # Stripe's words
    respond_by = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)  # when the organization was, because of a dispute
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    @override
    def __str__(self) -> str:
        return f"dispute {self.id} ({self.state})"


class AutoRecharge(models.Model):
    """Top up by the saved card when paid + promo - debt falls below the threshold."""

    wallet = models.OneToOneField(Wallet, on_delete=models.PROTECT, primary_key=True, related_name="auto_recharge")
    is_on = models.BooleanField(default=False)
    threshold_nano = models.BigIntegerField()
    credit_cents = models.PositiveIntegerField()
    daily_cap_cents = models.PositiveIntegerField()
    off_reason = models.CharField(max_length=200, blank=True)  # why it switched itself off
    declines = models.PositiveSmallIntegerField(default=0)  # in a row
    agreed_by = models.CharField(max_length=254, blank=True)  # the mandate: who, when, from where, to which text
    agreed_at = models.DateTimeField(null=True, blank=True)
    agreed_from = models.GenericIPAddressField(null=True, blank=True)
    agreed_version = models.CharField(max_length=20, blank=True)

    @override
    def __str__(self) -> str:
        return f"auto-recharge of wallet {self.wallet_id}"


class BalanceAlert(models.Model):
    """When to write that the credit runs low; told once for each fall below the threshold."""

    wallet = models.OneToOneField(Wallet, on_delete=models.PROTECT, primary_key=True, related_name="balance_alert")
    threshold_nano = models.BigIntegerField()
    told_at = models.DateTimeField(null=True, blank=True)

    @override
    def __str__(self) -> str:
        return f"balance alert of wallet {self.wallet_id}"
