"""What the steps of a request hand to each other. Only `route` makes a `Plan`, only `reserve` a `Reserved`.

The types prove the order: whoever holds a `Reserved` has been authenticated, limited, routed and paid for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from accounts.access import Caller
from billing.ledger.items import CapEntry, Claim
from komilion.common.money import ceil_div
from routing.catalog.resolve import Resolved
from routing.catalog.snapshot import OfferEntry
from routing.gateway.cache_marks import is_priced
from routing.gateway.choice.selected import Selected
from routing.gateway.count_tokens import (
    LIKELY_TOKENS_PER_MEDIUM,
    MEDIA_NEEDS,
    count_media,
    media_bytes,
    tokens_per_medium,
)
from routing.gateway.forms import Form
from routing.gateway.recording import Recording
from routing.limits.admission import Admission, Scope
from routing.providers.base import ChatRequest, UpstreamRequest
from routing.selection.health import Key

type Outcome = Literal[
    "completed",  # the provider finished
    "provider_cut",  # content came, then the stream broke off, failed or fell silent
    "provider_failed",  # nothing came but an error or silence
    "client_left",  # the caller went away and cancelling stops the provider's meter
    "insufficient_balance",  # the wallet could not extend the hold
    "key_cap_reached",  # a cap of the key could not
    "server_stopped",  # this server had to stop after its grace period
]

# What a call may spend at most is bounded by: the wallet, a cap of the key, or its part of the wallet (`shares`).
type Bound = Literal["insufficient_balance", "key_cap_reached", "shared_balance"]


BYTES_PER_TOKEN = 4


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
    request_id: str = ""

    @property
    def input_tokens(self) -> int:
        """Bytes / 4."""
        return self.body_bytes // 4

    @property
    def estimated_tokens(self) -> int:
        """What the token limit reserves until the real figure is known: bytes / 4 and the asked output, capped."""
        return self.input_tokens + min(self.chat.max_output_tokens or 1_024, 4_096) * self.chat.choices


class Admitted(msgspec.Struct):
    """A request that the limits let in; slot and unused tokens are given back when the call ends."""

    session: Session
    inbound: Inbound
    admission: Admission
    used_tokens: int = 0


class Attempt(msgspec.Struct):
    """One offer that may be tried; bounds in tokens, over all choices. Its body is written when it is needed."""

    offer: OfferEntry
    chat: ChatRequest  # as this offer takes it
    max_output: int | None  # tokens of one choice to ask for; None leaves it to the provider
    input_bound: int
    output_ceiling: int
    is_named: bool = False  # by the request, beside the model it asks for
    without_hours: ChatRequest | None = None  # what the caller asks, where it marks anything to be cached for an hour
    lowered: tuple[dict[str, Any], ...] = ()  # for `adjusted`, where less is asked for than the request does
    _upstream: UpstreamRequest | None = None

    @property
    def likely_input(self) -> int:
        """Input tokens by our own count: one for every 4 bytes of text in the body, and some for each medium."""
        size, media = len(self.upstream.body), 0
        if self.chat.needs & MEDIA_NEEDS:
            media = count_media(self.chat.messages) * LIKELY_TOKENS_PER_MEDIUM
            size = max(0, size - media_bytes(self.chat.messages))
        return min(self.input_bound, ceil_div(size, BYTES_PER_TOKEN) + media)

    @property
    def upstream(self) -> UpstreamRequest:
        """The request to the provider."""
        if self._upstream is None:
            self._upstream = self.offer.dialect.chat_request(self.chat, self.offer.target, self.max_output)
        return self._upstream

    @property
    def media_bound(self) -> int:
        """What its pictures and other media come to at most, in tokens."""
        if not self.chat.needs & MEDIA_NEEDS:
            return 0
        return count_media(self.chat.messages) * tokens_per_medium(self.offer.model_id)

    @property
    def caches_for_an_hour(self) -> bool:
        """Whether what it writes to the cache costs the price for that; an offer without one gets no such mark."""
        return self.without_hours is not None and is_priced(self.offer.price)

    def ask(self, chat: ChatRequest) -> None:
        """Ask this instead."""
        self.chat = chat
        self._upstream = None

    def lower(self, max_output: int, reason: str) -> None:
        """Ask for so many tokens of each choice, and no more."""
        asked = self.chat.max_output_tokens
        note = {"param": "max_tokens", "action": "lowered", "from": asked, "to": max_output, "reason": reason}
        self.lowered = (note,)
        self.max_output = max_output
        self.output_ceiling = max_output * self.chat.choices
        self._upstream = None


class Plan(msgspec.Struct, frozen=True):
    """The attempts in the order in which they are made. `model` is who should answer; why, `choice` says."""

    requested_model: str
    attempts: tuple[Attempt, ...]
    choice: Selected | None = None  # None where the request names its model
    model: str = ""
    adjusted: tuple[dict[str, Any], ...] = ()  # fallbacks of the request that cannot serve it
    named: Resolved | None = None  # what the requested name meant
    share: int | None = None  # nano-USD that it may hold and spend at most; the rest is for the calls compared with it
    probe: Key | None = None  # the breaker whose offer the first attempt has on loan


class Reserved(msgspec.Struct):
    """A plan with a hold; `held` nano-USD pay for `held_output` output tokens of `attempt` on top of the input.

    `attempt` is the one that runs, in the end the one that is charged; `attempts` are those that the hold pays for.
    `spare` is what `bounded_by` left beside the hold.
    """

    plan: Plan
    attempt: Attempt
    attempts: tuple[Attempt, ...]
    caller: Caller
    held: int
    held_output: int = 0
    spare: int = 0
    bounded_by: Bound = "insufficient_balance"
    adjusted: tuple[dict[str, Any], ...] = ()
    joins: list[dict[str, Any]] = msgspec.field(default_factory=list)  # of one attempt's answer to another's
    extensions: int = 0
    caps: list[CapEntry] = []  # what was reserved with the key's caps
    recording: Recording | None = None  # of a call with an Idempotency-Key


class Settled(msgspec.Struct, frozen=True):
    """A finished call: the charge in nano-USD, and whether it is durable already.

    `savings` are against the best model of the task, in nano-USD: negative where the call was dearer, 0 where the
    caller named the model, None where they are not known.
    """

    charge: int
    is_pending: bool
    usage: Mapping[str, int]
    savings: int | None = 0
