"""route: request -> Plan. Pure and in memory: which offers can serve this, in order, each with its frozen price.

The offers of the model come first, then those of the models that the request names as fallbacks. A fallback that
cannot serve is left out and named in `adjusted`.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from accounts.access import Caller
from komilion.common.errors import (
    BadRequest,
    ContextLengthExceeded,
    KomilionError,
    ModelNotAllowed,
)
from komilion.common.numbers import numbers
from routing.catalog.resolve import Resolved, resolve
from routing.catalog.snapshot import Catalog, OfferEntry
from routing.gateway.adapt import adapt
from routing.gateway.cache_marks import without_hours
from routing.gateway.count_tokens import MEDIA_NEEDS
from routing.gateway.types import Attempt, Inbound, Plan
from routing.selection.words import virtual_named

BYTES_PER_TOKEN_AT_MOST = 12  # no tokenizer packs more of ordinary text; beyond it the prompt cannot fit
BODY_SLACK_BYTES = 256  # by which the body for one offer may be longer than that for another: names, limits
CAPABILITY_WORDS = {
    "tools": "tools",
    "vision": "images",
    "json_schema": "JSON schema output",
    "audio": "audio input",
    "files": "files",
    "reasoning": "reasoning",
}


def route(inbound: Inbound, caller: Caller, catalog: Catalog, *, may_cost_more: bool = False) -> Plan:
    """The plan for a request that names its model; `may_cost_more`: the successor of a retired one may.

    Raises 400 for an unknown model or one that cannot do it, 403 for one not allowed, 404 for a retired one.
    """
    chat = inbound.chat
    found = find_model(chat.model, caller, catalog, may_cost_more=may_cost_more)
    attempts: list[Attempt] = []
    refusal = _add_offers(attempts, found.model.offers, inbound)
    if not chat.fallbacks:
        if refusal is not None:
            raise refusal
        return Plan(chat.model, tuple(attempts), model=found.model.id, named=found)
    adjusted = [] if refusal is None else [_skipped(chat.model, refusal.reason)]
    adjusted += _add_fallbacks(attempts, inbound, caller, catalog)
    if not attempts:
        assert refusal is not None, "no attempt without a reason"
        raise refusal
    return Plan(chat.model, tuple(_in_turn(attempts)), model=found.model.id, adjusted=tuple(adjusted), named=found)


def plan_of(inbound: Inbound, offers: Sequence[OfferEntry], caller: Caller, catalog: Catalog) -> Plan:
    """The plan for a choice of ours: the offers of the first model, the request's own fallbacks, then the others.

    Raises what the first of them cannot do where none can serve the request.
    """
    attempts: list[Attempt] = []
    model = offers[0].model_id
    chosen = list(takewhile(lambda offer: offer.model_id == model, offers))
    refusal = _add_offers(attempts, chosen, inbound, is_named=True)
    skipped = _add_fallbacks(attempts, inbound, caller, catalog)
    attempts = _in_turn(attempts)
    asked = {attempt.offer.model_id for attempt in attempts} - {model}
    others = [offer for offer in offers[len(chosen) :] if offer.model_id not in asked]
    refusal = _add_offers(attempts, others, inbound, is_named=True) or refusal
    if not attempts:
        assert refusal is not None, "no attempt without a reason"
        raise refusal
    return Plan(inbound.chat.model, tuple(attempts), model=model, adjusted=tuple(skipped))


def find_model(name: str, caller: Caller, catalog: Catalog, *, may_cost_more: bool = False) -> Resolved:
    """The model that a name means, and the retired one that it was asked for by.

    Raises `UnknownModel` with the nearest names, `ModelNotServed`, `ModelRetired`, or `ModelNotAllowed`.
    """
    found = resolve(catalog, name, may_cost_more=may_cost_more)
    if not catalog.allows(caller.models_allowed, found.model.id):
        raise ModelNotAllowed(f"This key may not call {found.model.id}.", param="model")
    return found


def _add_fallbacks(attempts: list[Attempt], inbound: Inbound, caller: Caller, catalog: Catalog) -> list[dict[str, Any]]:
    """Add the offers of the models that the request names beside its own; those that cannot serve, for `adjusted`."""
    skipped = []
    planned = {attempt.offer.model_id for attempt in attempts}
    for name in inbound.chat.fallbacks:
        if virtual_named(name) is not None:  # a choice is made once, for the model that is asked for
            skipped.append(_skipped(name, "policy_as_fallback"))
            continue
        try:
            model = find_model(name, caller, catalog).model
            error = None if model.id in planned else _add_offers(attempts, model.offers, inbound, is_named=True)
            planned.add(model.id)
        except KomilionError as unfit:
            error = unfit
        if error is not None:
            skipped.append(_skipped(name, error.reason))
    return skipped


def _in_turn(attempts: list[Attempt]) -> list[Attempt]:
    """The same, so that as many models as possible are among those that are made; more offers of theirs come last."""
    most = numbers.ATTEMPTS_MOST
    if len(attempts) <= most:
        return attempts
    firsts = {attempt.offer.model_id: place for place, attempt in reversed(list(enumerate(attempts)))}
    made = sorted(firsts.values())[:most]
    others = [place for place in range(len(attempts)) if place not in made]
    spare = most - len(made)
    return [attempts[place] for place in (*sorted(made + others[:spare]), *others[spare:])]


def _add_offers(
    attempts: list[Attempt], offers: Iterable[OfferEntry], inbound: Inbound, *, is_named: bool = False
) -> KomilionError | None:
    """Add the offers that can serve the request; why none can, where that is so."""
    refusal: KomilionError | None = None
    is_served = False
    for offer in offers:
        try:
            attempts.append(_attempt(offer, inbound, attempts[0] if attempts else None, is_named=is_named))
            is_served = True
        except BadRequest as error:
            refusal = refusal or error
    return None if is_served else refusal


def _skipped(model: str, reason: str) -> dict[str, Any]:
    return {"param": "models", "action": "skipped", "model": model, "reason": reason}


def _param_of(missing: frozenset[str]) -> str:
    return "tools" if "tools" in missing else "response_format" if "json_schema" in missing else "messages"


def _attempt(offer: OfferEntry, inbound: Inbound, first: Attempt | None, *, is_named: bool) -> Attempt:
    """Raises `BadRequest` with the first hard filter that the offer fails."""
    asked = inbound.chat
    missing = asked.needs - offer.target.capabilities
    if missing:
        words = ", ".join(CAPABILITY_WORDS.get(name, name) for name in sorted(missing))
        raise BadRequest(f"{offer.model_id} does not support {words}.", param=_param_of(missing))
    chat = adapt(asked, offer.target)
    wanted = min(chat.max_output_tokens or offer.max_output, offer.max_output)
    attempt = Attempt(
        offer=offer,
        chat=chat,
        max_output=None if chat.max_output_tokens is None else wanted,
        input_bound=0,
        output_ceiling=wanted * chat.choices,
        is_named=is_named,
    )
    if first is None:
        size = len(attempt.upstream.body)
        attempt.without_hours = without_hours(asked, attempt.upstream.body)
    else:  # unwritten yet; the caller's own bytes are what a provider that passes unknown parameters may get
        size = max(first.input_bound, inbound.body_bytes) + BODY_SLACK_BYTES
        if size > offer.context_length * BYTES_PER_TOKEN_AT_MOST:
            size = len(attempt.upstream.body)
        attempt.without_hours = first.without_hours
    if attempt.without_hours is not None and not attempt.caches_for_an_hour:
        attempt.ask(adapt(attempt.without_hours, offer.target))
    attempt.input_bound = _bound(size, attempt)
    return attempt


def _bound(size: int, attempt: Attempt) -> int:
    """Input tokens at most, by the bytes of the body."""
    offer = attempt.offer
    if attempt.chat.needs & MEDIA_NEEDS:  # a link is short, what it links to is not
        size = min(size + attempt.media_bound, offer.context_length)
    if size > offer.context_length * BYTES_PER_TOKEN_AT_MOST:
        raise ContextLengthExceeded(
            f"The request has at least {size // BYTES_PER_TOKEN_AT_MOST} tokens;"
            f" {offer.model_id} takes {offer.context_length}.",
            param="messages",
        )
    return size
