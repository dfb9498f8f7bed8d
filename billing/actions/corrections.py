"""Operators' corrections of a wallet: a posting with a reason, never an edited balance."""

from dataclasses import dataclass
from typing import Literal

from accounts.actions.audit import do_audit
from accounts.actions.upgrade import do_end_trial
from billing.actions.wallets import do_move
from billing.ledger.items import Done, Movement
from komilion.common.money import format_usd

type CorrectionKind = Literal["topup", "recredit", "grant", "adjust"]


@dataclass(frozen=True, slots=True)
class Correction:
    """`reference` makes it happen once, however often it is sent; `amount_nano` > 0.

    topup: paid elsewhere, which ends the trial · recredit: given back by us · grant: promo credit · adjust: taken from
    paid credit.
    """

    reference: str
    kind: CorrectionKind
    organization_id: int
    amount_nano: int
    reason: str


def do_correct(correction: Correction, *, actor: str) -> Done:
    """Post it and note it in the audit log. Raises `MovementRefused`, `StoreUnavailable`, `StoreBusy`.

    The audit entry follows the posting; the posting's own memo names the actor, so a crash between them loses nothing.
    """
    done = do_move(
        Movement(
            reference=correction.reference,
            kind=correction.kind,
            wallet_id=correction.organization_id,
            amount=correction.amount_nano,
            memo=f"{correction.reason}, by {actor}"[:200],
        )
    )
    if done.changed:
        do_audit(
            correction.organization_id,
            actor=actor,
            action=f"wallet.{correction.kind}",
            subject=f"${format_usd(correction.amount_nano)}",
            detail={"reason": correction.reason, "reference": correction.reference},
        )
    if correction.kind == "topup":
        do_end_trial(correction.organization_id, actor=actor)
    return done
