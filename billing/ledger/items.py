"""What can be asked of the ledger, and what it answers. Amounts are nano-USD; a wallet's id is its organization's."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

type CapEntry = tuple[int, str, int]  # id of a cap, start of its period (YYYY-MM-DD, UTC), amount reserved with it


class Claim(msgspec.Struct, frozen=True):
    """The Idempotency-Key of a call, unique for the API key `key_id` and the path; the HMAC is hexadecimal.

    Below zero, `key_id` is an organization: of a call of our own for somebody without a key.
    """

    key_id: int
    path: str
    key: str
    body_hmac: str


class Place(msgspec.Struct, frozen=True):
    """Reserve credit for one request before anything is sent to a provider.

    The ledger grants min(`ceiling`, available, what the caps of `capped_keys` leave) if that is at least `minimum`.
    With `is_byte_bound` the figures rest on the input's bytes: where they would be refused, would be lowered by a cap,
    or would hold more than a tenth of paid + promo or of a cap, the answer is `NeedsCount`, and the caller asks again
    with counted tokens.
    """

    request_id: str
    wallet_id: int
    key_id: int | None
    key_epoch: int
    organization_epoch: int
    ceiling: int
    minimum: int
    is_byte_bound: bool
    price_ids: list[int]
    process_id: str
    lifetime_s: int
    capped_keys: tuple[int, ...] = ()  # the key and those it comes from, where they have caps
    claim: Claim | None = None  # held with the hold; where somebody has it, the answer is `Claimed`


class Extend(msgspec.Struct, frozen=True):
    """Reserve up to `amount` more for an open hold; `ordinal` counts the hold's extensions from 1.

    `caps` is what the hold was granted with; without it no cap is looked at.
    """

    request_id: str
    wallet_id: int
    ordinal: int
    amount: int
    caps: list[CapEntry] = []


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """Charge `cost` + `fee`, release the rest of the hold and write the usage row.

    Carries everything that is needed to insert a hold the database lost or never saw. `attempt_loss` is what providers
    may bill for attempts that brought the caller nothing: the house pays it.
    """

    request_id: str
    wallet_id: int
    held: int
    cost: int
    fee: int
    price_ids: list[int]
    process_id: str
    usage_row: dict[str, Any]
    caps: list[CapEntry] = []
    claim: Claim | None = None
    answer: str | None = (
        None  # of a claim: encrypted; empty: too large to be kept; None: none that is kept, the key is free
    )
    attempt_loss: int = 0


class Void(msgspec.Struct, frozen=True, tag="void"):
    """Release a hold whose request never reached a provider. Written by the hold's owner only."""

    request_id: str
    wallet_id: int
    is_claimed: bool = False  # there is an Idempotency-Key to be freed


class Expire(msgspec.Struct, frozen=True):
    """Release a hold whose owner is gone or late. Written by the reaper only; a settlement may still follow."""

    request_id: str
    wallet_id: int
    only_if_due: bool  # read again under the lock: past its expiry, or its process gone
    process_gone: bool


class Movement(msgspec.Struct, frozen=True):
    """Money that comes in or goes out other than by a request.

    topup: payment_clearing -> paid · grant: promo_expense -> promo (a lot) · recredit: platform_fee -> paid
    refund: paid -> payment_clearing · adjust: paid -> platform_fee: refused beyond what is paid and available
    breakage: promo, lot `lot_id` -> breakage: takes what the lot still has and no hold may need.
    chargeback: paid, as far as it is paid and available, then debt -> payment_clearing: never refused
    chargeback_reversed: payment_clearing -> paid

    A movement that a payment provider reported carries its event and, where it credits one, the payment: their rows are
    written in the same transaction. A movement that happened before records an event it has not seen, and nothing else.
    """

    reference: str
    kind: Literal["topup", "grant", "recredit", "refund", "adjust", "breakage", "chargeback", "chargeback_reversed"]
    wallet_id: int
    amount: int
    memo: str = ""
    expires_at: str | None = None  # grants: "YYYY-MM-DD HH:MM:SS.ffffff" UTC
    lot_id: int | None = None  # breakage
    payment: dict[str, Any] | None = None  # a row of billing_payment, without its created_at
    event_id: str = ""
    event_type: str = ""


def voiding_of(item: Place) -> Void:
    """What takes a placing back, its claim of an Idempotency-Key too."""
    return Void(item.request_id, item.wallet_id, is_claimed=item.claim is not None)


type Item = Place | Extend | Settle | Void | Expire | Movement


class CapReached(msgspec.Struct, frozen=True):
    """The cap that leaves too little: whose it is, its period (day, month, total) from `starts_on`, what is used."""

    key_id: int
    period: str
    limit: int
    spent: int
    reserved: int
    starts_on: str


class Granted(msgspec.Struct, frozen=True):
    """The hold stands; `available` is what the call may still draw: the wallet's, or less where a cap leaves less.

    `caps` is what was reserved with each cap; extensions and the settlement carry it. `is_capped`: a cap, not the
    wallet, is what bounds the call.
    """

    amount: int
    available: int
    caps: list[CapEntry] = []
    is_capped: bool = False


class Claimed(msgspec.Struct, frozen=True):
    """The Idempotency-Key is another call's, which runs or is finished; `is_kept`: its answer can be had."""

    request_id: str
    body_hmac: str
    is_finished: bool
    is_kept: bool


class NeedsCount(msgspec.Struct, frozen=True):
    """The byte bound is too coarse here; count the tokens and ask again."""


class Refused(msgspec.Struct, frozen=True):
    """The wallet does not cover it, or a cap does not; `debt` must be paid before anything is available again."""

    available: int
    needed: int
    debt: int = 0
    cap: CapReached | None = None


class AuthorizationChanged(msgspec.Struct, frozen=True):
    """Key or organization changed since the caller was authenticated; authenticate again."""


class Done(msgspec.Struct, frozen=True):
    """It is durable. `changed` is False where it had happened before; `available` is the wallet's afterwards."""

    changed: bool
    available: int
    debt: int = 0


class Pending(msgspec.Struct, frozen=True):
    """Not durable in the database yet, but it will be: it is in the journal, or on its way for too long to wait."""


class NotOpen(msgspec.Struct, frozen=True):
    """The hold is not in a state that allows this (settled, voided or expired before)."""

    state: str


class Failure(msgspec.Struct, frozen=True):
    """The database refused this very item; `reason` is for the log."""

    reason: str


type Outcome = Granted | Claimed | NeedsCount | Refused | AuthorizationChanged | Done | Pending | NotOpen | Failure


@dataclass(slots=True)
class WalletState:
    """A locked wallet while a batch runs; `lots` in the order in which they are spent."""

    id: int
    available: int
    held: int
    paid: int
    promo: int
    debt: int
    lots: list["LotState"] = field(default_factory=list)


@dataclass(slots=True)
class LotState:
    """What is left of a promo lot."""

    id: int
    remaining: int


@dataclass(slots=True)
class HoldState:
    """A hold as read under the wallet's lock, then as the batch leaves it. `generation` counts its re-openings."""

    amount: int
    state: str
    is_due: bool
    generation: int
    caps: list[CapEntry] = field(default_factory=list)
