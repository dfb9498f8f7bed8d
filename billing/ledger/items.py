"""What can be asked of the ledger, and what it answers. Amounts are nano-USD; a wallet's id is its organization's."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Reserve credit for one request before anything is sent to a provider.

    The ledger grants min(`ceiling`, available) if that is at least `minimum`. With `is_byte_bound` the figures rest on
    the input's bytes: where they would be refused, or would hold more than a tenth of paid + promo, the answer is
    `NeedsCount`, and the caller asks again with counted tokens.
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


class Extend(msgspec.Struct, frozen=True):
    """Reserve up to `amount` more for an open hold; `ordinal` counts the hold's extensions from 1."""

    request_id: str
    wallet_id: int
    ordinal: int
    amount: int


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """Charge `cost` + `fee`, release the rest of the hold and write the usage row.

    Carries everything that is needed to insert a hold the database lost or never saw.
    """

    request_id: str
    wallet_id: int
    held: int
    cost: int
    fee: int
    price_ids: list[int]
    process_id: str
    usage_row: dict[str, Any]


class Void(msgspec.Struct, frozen=True, tag="void"):
    """Release a hold whose request never reached a provider. Written by the hold's owner only."""

    request_id: str
    wallet_id: int


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
    """

    reference: str
    kind: Literal["topup", "grant", "recredit", "refund", "adjust", "breakage"]
    wallet_id: int
    amount: int
    memo: str = ""
    expires_at: str | None = None  # grants: "YYYY-MM-DD HH:MM:SS.ffffff" UTC
    lot_id: int | None = None  # breakage


type Item = Place | Extend | Settle | Void | Expire | Movement


class Granted(msgspec.Struct, frozen=True):
    """The hold stands; `available` is what the wallet has beside it."""

    amount: int
    available: int


class NeedsCount(msgspec.Struct, frozen=True):
    """The byte bound is too coarse here; count the tokens and ask again."""


class Refused(msgspec.Struct, frozen=True):
    """The wallet does not cover it; `debt` must be paid before anything is available again."""

    available: int
    needed: int
    debt: int = 0


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


type Outcome = Granted | NeedsCount | Refused | AuthorizationChanged | Done | Pending | NotOpen | Failure


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
