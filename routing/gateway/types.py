"""What the steps of a request hand to each other. Only `route` makes a `Plan`, only `reserve` a `Reserved`.

The types prove the order: whoever holds a `Reserved` has been authenticated, limited, routed and paid for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from accounts.access import Caller
from billing.ledger.items import CapEntry, Claim
from routing.catalog.resolve import Resolved
from routing.catalog.snapshot import OfferEntry
from routing.gateway.forms import Form
from routing.gateway.recording import Recording
from routing.limits.admission import Admission, Scope
from routing.providers.base import ChatRequest, UpstreamRequest

type Outcome = Literal[
    "completed",  # the provider finished
    "provider_cut",  # content came, then the stream broke off, failed or fell silent
    "provider_failed",  # nothing came but an error or silence
    "client_left",  # the caller went away and cancelling stops the provider's meter
    "insufficient_balance",  # the wallet could not extend the hold
    "key_cap_reached",  # a cap of the key could not
    "server_stopped",  # this server had to stop after its grace period
]


@dataclass(frozen=True, slots=True)
class Session:
    """A caller whose key was checked, with what is counted for it."""

    caller: Caller
    scopes: tuple[Scope, ...]


class Inbound(msgspec.Struct, frozen=True):
    """A parsed request and the facts about it that its usage row keeps."""

    chat: ChatRequest
    form: Form
    body_bytes: int
    client_request_id: str
    app_url: str
    app_title: str
    claim: Claim | None = None  # of an Idempotency-Key

    @property
    def estimated_tokens(self) -> int:
        """What the token limit reserves until the real figure is known: bytes / 4 and the asked output, capped."""
        return self.body_bytes // 4 + min(self.chat.max_output_tokens or 1_024, 4_096) * self.chat.choices


class Admitted(msgspec.Struct):
    """A request that the limits let in; slot and unused tokens are given back when the call ends."""

    session: Session
    inbound: Inbound
    admission: Admission
    used_tokens: int = 0


class Attempt(msgspec.Struct, frozen=True):
    """One try at one offer, ready to be sent; bounds in tokens, over all choices."""

    offer: OfferEntry
    chat: ChatRequest
    upstream: UpstreamRequest
    input_bound: int
    output_ceiling: int


class Plan(msgspec.Struct, frozen=True):
    """The attempts in the order in which they are made; `named` is what the requested name meant."""

    requested_model: str
    attempts: tuple[Attempt, ...]
    named: Resolved | None = None


class Reserved(msgspec.Struct):
    """A plan with a hold; `held` nano-USD pay for `held_output` output tokens on top of the input."""

    plan: Plan
    attempt: Attempt
    caller: Caller
    held: int
    held_output: int
    adjusted: tuple[dict[str, Any], ...] = ()
    extensions: int = 0
    caps: list[CapEntry] = []  # what was reserved with the key's caps
    recording: Recording | None = None  # of a call with an Idempotency-Key


class Progress(msgspec.Struct):
    """What is noted while a call runs, for its usage row."""

    started_s: float
    started_at: str  # the same moment as "YYYY-MM-DD HH:MM:SS.ffffff" UTC
    first_content_s: float | None = None
    attempts: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Settled(msgspec.Struct, frozen=True):
    """A finished call: the charge in nano-USD, and whether it is durable already."""

    charge: int
    is_pending: bool
    usage: Mapping[str, int]
