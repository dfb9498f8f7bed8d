"""Wallets, the ledger, holds, caps, prices, usage rows and their sums, payments."""

from billing.models.cap import EVER, Cap, CapUse
from billing.models.hold import Hold, HoldState
from billing.models.idempotency import IdempotentCall
from billing.models.ledger import Account, LedgerEntry, Posting
from billing.models.payment import (
    AutoRecharge,
    BalanceAlert,
    Dispute,
    PayingCustomer,
    Payment,
    PaymentEvent,
    Refund,
    TopUpOrder,
)
from billing.models.price import Price
from billing.models.process import GatewayProcess
from billing.models.rollup import LabelSum, UsageMark, UsageSum
from billing.models.statement import BalanceMark
from billing.models.usage import UsageRow
from billing.models.wallet import PromoLot, Wallet

__all__ = [
    "EVER",
    "Account",
    "AutoRecharge",
    "BalanceAlert",
    "BalanceMark",
    "Cap",
    "CapUse",
    "Dispute",
    "GatewayProcess",
    "Hold",
    "HoldState",
    "IdempotentCall",
    "LabelSum",
    "LedgerEntry",
    "PayingCustomer",
    "Payment",
    "PaymentEvent",
    "Posting",
    "Price",
    "PromoLot",
    "Refund",
    "TopUpOrder",
    "UsageMark",
    "UsageRow",
    "UsageSum",
    "Wallet",
]
