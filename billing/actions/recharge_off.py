"""Automatic top-up switches itself off, and says why."""

from django.db import transaction

from accounts.actions.audit import do_audit
from billing.models import AutoRecharge
from billing.payments.letters import about, do_tell

SYSTEM = "automatic top-up"  # who did it, in the audit log


def do_switch_off(wallet_id: int, reason: str) -> bool:
    """Off, for a reason that the payers can read, here and in an e-mail; False where it was off already."""
    with transaction.atomic():
        is_new = AutoRecharge.objects.filter(wallet_id=wallet_id, is_on=True).update(is_on=False, off_reason=reason)
        if not is_new:
            return False
        do_audit(wallet_id, actor=SYSTEM, action="recharge.off", subject=reason)
        context = {"reason": reason, **about(wallet_id)}
        transaction.on_commit(lambda: do_tell(wallet_id, "recharge_off", "Automatic top-up is off", context))
    return True
