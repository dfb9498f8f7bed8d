"""route: request -> Plan. Pure and in memory: which offers can serve this, in order, each with its frozen price."""

from accounts.access import Caller
from komilion.common.errors import (
    BadRequest,
    ContextLengthExceeded,
    KomilionError,
    ModelNotAllowed,
)
from routing.catalog.resolve import Resolved, resolve
from routing.catalog.snapshot import Catalog, OfferEntry
from routing.gateway.adapt import adapt
from routing.gateway.count_tokens import MEDIA_NEEDS, TOKENS_PER_MEDIUM, count_media
from routing.gateway.types import Attempt, Inbound, Plan
from routing.providers.base import ChatRequest

BYTES_PER_TOKEN_AT_MOST = 12  # no tokenizer packs more of ordinary text; beyond it the prompt cannot fit
CAPABILITY_WORDS = {
    "tools": "tools",
    "vision": "images",
    "json_schema": "JSON schema output",
    "audio": "audio input",
    "files": "files",
    "reasoning": "reasoning",
}


def route(inbound: Inbound, caller: Caller, catalog: Catalog) -> Plan:
    """The plan for this request.

    Raises 400 for an unknown model or one that cannot do it, 403 for one not allowed, 404 for a retired one.
    """
    chat = inbound.chat
    found = find_model(chat.model, caller, catalog)
    refusals: list[KomilionError] = []
    attempts = []
    for offer in found.model.offers:
        refusal = _why_not(offer, chat)
        if refusal is None:
            attempts.append(_attempt(offer, chat))
        else:
            refusals.append(refusal)
    if not attempts:
        raise refusals[0]
    return Plan(chat.model, tuple(attempts[:1]), named=found)


def find_model(name: str, caller: Caller, catalog: Catalog, *, may_cost_more: bool = False) -> Resolved:
    """The model that a name means, and the retired one that it was asked for by.

    Raises `UnknownModel` with the nearest names, `ModelNotServed`, `ModelRetired`, or `ModelNotAllowed`.
    """
    found = resolve(catalog, name, may_cost_more=may_cost_more)
    if not catalog.allows(caller.models_allowed, found.model.id):
        raise ModelNotAllowed(f"This key may not call {found.model.id}.", param="model")
    return found


def _why_not(offer: OfferEntry, chat: ChatRequest) -> KomilionError | None:
    """The first hard filter that this offer fails."""
    missing = chat.needs - offer.target.capabilities
    if missing:
        words = ", ".join(CAPABILITY_WORDS.get(name, name) for name in sorted(missing))
        return BadRequest(f"{offer.model_id} does not support {words}.", param=_param_of(missing))
    return None


def _param_of(missing: frozenset[str]) -> str:
    return "tools" if "tools" in missing else "response_format" if "json_schema" in missing else "messages"


def _attempt(offer: OfferEntry, chat: ChatRequest) -> Attempt:
    chat = adapt(chat, offer.target)
    wanted = min(chat.max_output_tokens or offer.max_output, offer.max_output)
    upstream = offer.dialect.chat_request(chat, offer.target, None if chat.max_output_tokens is None else wanted)
    input_bound = len(upstream.body)
    if chat.needs & MEDIA_NEEDS:  # a link is short, what it links to is not
        input_bound = min(input_bound + count_media(chat.messages) * TOKENS_PER_MEDIUM, offer.context_length)
    if input_bound > offer.context_length * BYTES_PER_TOKEN_AT_MOST:
        raise ContextLengthExceeded(
            f"The request has at least {input_bound // BYTES_PER_TOKEN_AT_MOST} tokens;"
            f" {offer.model_id} takes {offer.context_length}.",
            param="messages",
        )
    return Attempt(offer, chat, upstream, input_bound, wanted * chat.choices)
