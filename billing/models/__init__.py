"""Wallets, the ledger, holds, prices and usage rows."""

from billing.models.hold import Hold, HoldState
from billing.models.ledger import Account, LedgerEntry, Posting
from billing.models.price import Price
from billing.models.process import GatewayProcess
from billing.models.usage import UsageRow
from billing.models.wallet import PromoLot, Wallet

__all__ = [
    "Account",
    "GatewayProcess",
    "Hold",
    "HoldState",
    "LedgerEntry",
    "Posting",
    "Price",
    "PromoLot",
    "UsageRow",
    "Wallet",
]
