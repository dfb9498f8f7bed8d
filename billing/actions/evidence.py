"""Who ordered a top-up, gave one back or agreed to automatic ones: evidence while a payment can be disputed.

It stays when the account is deleted, for as long as a bank may take money back, and names nobody after that.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from accounts.models import User
from billing.models import AutoRecharge, Refund, TopUpOrder
from komilion.common.clock import utc_now

FORGOTTEN = "a deleted account"  # no address, as every other value that names no person


def do_forget_payers() -> int:
    """Take the addresses of people without an account out of what no bank disputes any more; how many rows."""
    since = utc_now() - timedelta(days=settings.PAYMENT_EVIDENCE_DAYS)
    orders = _of_nobody(TopUpOrder.objects.filter(created_at__lt=since), "created_by")
    refunds = _of_nobody(Refund.objects.filter(created_at__lt=since), "created_by")
    mandates = _of_nobody(_ended_mandates(since), "agreed_by")
    count = orders.update(created_by=FORGOTTEN) + refunds.update(created_by=FORGOTTEN)
    return count + mandates.update(agreed_by=FORGOTTEN, agreed_from=None)


def _ended_mandates(since: datetime) -> QuerySet[AutoRecharge]:
    """Nothing is charged by them any more, and nothing was lately."""
    charged = TopUpOrder.objects.filter(
        wallet_id=OuterRef("wallet_id"), kind=TopUpOrder.Kind.RECHARGE, created_at__gte=since
    )
    over = Q(is_on=False) | Q(wallet__organization__suspended_at__isnull=False)
    return AutoRecharge.objects.filter(over, ~Exists(charged), agreed_at__lt=since)


def _of_nobody[M: Model](rows: QuerySet[M], column: str) -> QuerySet[M]:
    named: dict[str, Any] = {f"{column}__contains": "@"}
    return rows.filter(~Exists(User.objects.filter(email=OuterRef(column))), **named)
