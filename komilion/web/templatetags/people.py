"""The audit log in words: `{% load people %}`."""

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()

ACTIONS = {
    "organization.create": "Organization made",
    "organization.rename": "Organization renamed",
    "organization.tier": "Tier changed",
    "organization.suspend": "Organization suspended",
    "organization.unsuspend": "Suspension lifted",
    "organization.close": "Organization closed",
    "member.role": "Role changed",
    "member.remove": "Member removed",
    "invitation.create": "Invitation sent",
    "invitation.revoke": "Invitation revoked",
    "invitation.accept": "Invitation accepted",
    "invitation.decline": "Invitation declined",
    "trial.grant": "Trial credit given",
    "trial.end": "Trial ended",
    "trial.resume": "On trial again, as all money is back",
    "key.create": "Key made",
    "key.change": "Key changed",
    "key.caps": "Caps of a key set",
    "key.rotate": "Key rotated",
    "key.revoke": "Key revoked",
    "topup.order": "Top-up ordered",
    "topup.paid": "Top-up paid",
    "topup.test": "Test payment decided",
    "recharge.on": "Automatic top-up switched on",
    "recharge.off": "Automatic top-up switched off",
    "refund.order": "Refund ordered",
    "refund.at_stripe": "Refunded at Stripe",
    "refund.succeeded": "Refund done",
    "refund.failed": "Refund failed, the credit is back",
    "dispute.chargeback": "Payment charged back",
    "dispute.chargeback_reversed": "Charge-back reversed",
    "customer.create": "Customer made at Stripe",
    "alert.set": "Low-balance e-mail set",
    "wallet.topup": "Correction: paid credit added",
    "wallet.recredit": "Correction: credit returned",
    "wallet.grant": "Correction: promo credit given",
    "wallet.adjust": "Correction: credit taken",
    "person.second_factor": "Second factor removed",
    "pin.set": "Model pinned to a task type",
    "pin.upgrades": "What becomes of a pin when a newer model appears",
    "pin.ceiling": "Price ceiling of a pin's upgrades set",
    "pin.trial": "A newer model answers a share of a pin's requests",
    "pin.trial_ended": "Trial of a newer model ended",
    "pin.upgrade": "Pin moved to a newer model",
    "pin.remove": "Pin removed",
    "routing.follow_successors": "Successors of retired models",
    "advice.accept": "Advice accepted",
    "advice.dismiss": "Advice dismissed",
    "upgrade.ask": "Upgrade of a pin proposed",
    "upgrade.agree": "Upgrade of a pin agreed to",
    "upgrade.decline": "Upgrade of a pin declined",
    "upgrade.refuse": "Upgrade of a pin refused by its checks",
    "samples.allow": "Keeping prompts allowed",
    "samples.refuse": "Keeping prompts refused",
    "samples.delete": "Kept prompts deleted",
    "case.add": "Evaluation case added",
    "case.delete": "Evaluation case deleted",
    "share.create": "Run of the playground shared",
    "share.delete": "Shared run deleted",
}
CHANGES = {"key.change", "key.caps"}
IN_DOLLARS = {"usd": "amount", "day": "a day", "month": "a month", "total": "ever"}


@register.filter
def action_in_words(action: str) -> str:
    """`topup.order` -> `Top-up ordered`; one without words of its own is still read more easily than its code."""
    return ACTIONS.get(action) or action.replace(".", ": ").replace("_", " ").capitalize()


@register.filter
def detail_in_words(detail: Mapping[str, Any], action: str) -> str:
    """`{"name": "batch", "day": [None, "2.00"]}` of `key.caps` -> `name: batch, a day: $2.00 instead of none`."""
    return ", ".join(_named(name, value, is_change=action in CHANGES) for name, value in detail.items())


def _named(name: str, value: Any, *, is_change: bool) -> str:
    sign = "$" if name in IN_DOLLARS else ""
    if is_change and isinstance(value, list):  # before and after
        value = f"{_said(value[1], sign)} instead of {_said(value[0], sign)}"
        sign = ""
    return f"{IN_DOLLARS.get(name, name.replace('_', ' '))}: {_said(value, sign)}"


def _said(value: Any, sign: str = "") -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " and ".join(_said(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_said(item)}" for name, item in value.items())
    return f"{sign}{value}"
