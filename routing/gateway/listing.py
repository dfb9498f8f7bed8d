"""The lists: models, one model, providers, the caller's wallet. No money moves here.

Models come in OpenRouter's form, whose fields OpenAI's clients pass over. What chooses a model by itself (`auto`,
`neo-mode`, ...) stands in the list as well, with the price -1 that OpenRouter gives a model whose price varies; and so
do models that hear or speak, last.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from django.db import DatabaseError, connection

from accounts.access import Caller
from billing.prices import BASIS_POINTS, PriceVersion
from billing.queries import wallet_summary
from komilion.common.errors import LedgerUnavailable, ModelNotFound
from routing.catalog.resolve import Resolved, resolve
from routing.catalog.snapshot import Catalog, ModelEntry
from routing.catalog.voice import Kind, VoiceModel
from routing.gateway.authenticate import has_credential
from routing.gateway.exchange import Exchange
from routing.gateway.limit import count
from routing.gateway.notes import end_headers
from routing.gateway.parameters import TABLE
from routing.gateway.services import Services
from routing.selection.words import VIRTUAL_MODELS, virtual_named

PRICING_NAMES = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "input_audio": "audio",
    "cache_read_audio": "input_cache_read_audio",
    "input_image": "image_token",
    "cache_read_image": "input_cache_read_image",
    "output_audio": "audio_output",
    "web_searches": "web_search",
    "audio_ms": "audio_second",
    "add_on_ms": "audio_add_on_second",
    "characters": "character",
}
UNITS = {"audio_ms": 1_000, "add_on_ms": 1_000}  # of a bucket that make one of what its pricing names
MEDIA: dict[Kind, tuple[list[str], list[str]]] = {
    "transcription": (["audio"], ["text"]),
    "speech": (["text"], ["audio"]),
    "realtime": (["text", "audio"], ["text", "audio"]),
}
AMOUNTS = frozenset({"max_tokens", "max_completion_tokens", "n"})
DENIALS = frozenset({"no_sampling"})  # capabilities that take something away
VARYING = {"prompt": "-1", "completion": "-1"}
SCALE = 9 + 4 + 6  # decimals of nano-USD, basis points and a million tokens together


async def serve_models(exchange: Exchange, services: Services) -> None:
    """`GET /models`: everything without a key, what the key may call with one."""
    caller, catalog = await _caller_and_catalog(exchange, services)
    models = [model for model in catalog.models.values() if _may_call(caller, catalog, model)]
    voices = [voice for _, voice in sorted(catalog.voice.items()) if _may_call(caller, catalog, voice)]
    rows = [*_virtual_rows(models), *map(model_row, models), *map(voice_row, voices)]
    await exchange.respond_json({"object": "list", "data": rows})


async def serve_model(exchange: Exchange, services: Services) -> None:
    """`GET /models/{id}`, the slash raw or as %2F, or another name of it: the row of what would answer a call."""
    caller, catalog = await _caller_and_catalog(exchange, services)
    model_id = unquote(exchange.path.partition("/models/")[2])
    policy = virtual_named(model_id)
    if policy is not None:
        rows = _virtual_rows([model for model in catalog.models.values() if _may_call(caller, catalog, model)])
        if rows:
            await exchange.respond_json(next(row for row in rows if row["id"] == policy))
            return
    known = catalog.canonical(model_id) or ""
    voice = catalog.voice.get(known)
    if voice is not None and _may_call(caller, catalog, voice):
        await exchange.respond_json(voice_row(voice))
        return
    found = await _found(known, caller, catalog, services)
    if found is None or not _may_call(caller, catalog, found.model):
        nearest = catalog.nearest(model_id)
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        raise ModelNotFound(f"There is no model {model_id[:200]!r}.{hint}", param="model")
    await exchange.respond_json(model_row(found.model), headers=end_headers(found))


async def _found(model_id: str, caller: Caller | None, catalog: Catalog, services: Services) -> Resolved | None:
    """What would answer a call to this id. Raises `ModelRetired`."""
    if model_id in catalog.retired:
        may_cost_more = caller is not None and (await services.preferences.of(caller)).follows_successors
        return resolve(catalog, model_id, may_cost_more=may_cost_more)
    model = catalog.models.get(model_id)
    return None if model is None else Resolved(model)


async def serve_providers(exchange: Exchange, services: Services) -> None:
    """`GET /providers`."""
    _, catalog = await _caller_and_catalog(exchange, services)
    rows = [
        {"id": provider.name, "name": provider.name, "object": "provider", "models": provider.models}
        for provider in catalog.providers
        if provider.models
    ]
    await exchange.respond_json({"object": "list", "data": rows})


async def serve_wallet(exchange: Exchange, services: Services) -> None:
    """`GET /api/wallet`: what `manage.py wallet show --json` says, for the caller's organization."""
    session = await services.authenticator.authenticate(exchange, keys_only=True)
    await count(exchange, session, services.limiter)
    try:
        summary = await asyncio.to_thread(_wallet, session.caller.organization_id)
    except DatabaseError as error:
        raise LedgerUnavailable from error
    await exchange.respond_json(summary)


def _wallet(organization_id: int) -> dict[str, str]:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return wallet_summary(organization_id)
    finally:
        connection.close()


def model_row(model: ModelEntry) -> dict[str, Any]:
    """One model as OpenAI and OpenRouter clients expect it; prices per token in US dollars."""
    offer = model.offers[0]
    capabilities = offer.target.capabilities
    inputs = ["text", "image"] if "vision" in capabilities else ["text"]
    return {
        "id": model.id,
        "canonical_slug": model.id,
        "object": "model",
        "created": model.created_unix_s,
        "owned_by": model.id.partition("/")[0],
        "name": model.name,
        "context_length": offer.context_length,
        "architecture": _architecture(inputs),
        "supported_parameters": _supported_parameters(capabilities),
        "top_provider": {
            "context_length": offer.context_length,
            "max_completion_tokens": offer.max_output,
            "is_moderated": False,
        },
        "pricing": _pricing(offer.price, fee=True),
        "provider_pricing": _pricing(offer.price, fee=False),
        "expiration_date": None if model.sunset_on is None else model.sunset_on.isoformat(),
    }


def voice_row(model: VoiceModel) -> dict[str, Any]:
    """Likewise one that hears or speaks; prices per token, per second of audio and per character."""
    offer, (inputs, outputs) = model.offers[0], MEDIA[model.kind]
    return {
        "id": model.id,
        "canonical_slug": model.id,
        "object": "model",
        "created": model.created_unix_s,
        "owned_by": model.id.partition("/")[0],
        "name": model.name,
        "kind": model.kind,
        "context_length": None,
        "architecture": _architecture(inputs, outputs),
        "supported_parameters": [],
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": False},
        "pricing": _pricing(offer.price, fee=True),
        "provider_pricing": _pricing(offer.price, fee=False),
        "expiration_date": None if model.sunset_on is None else model.sunset_on.isoformat(),
    }


def _virtual_rows(models: Sequence[ModelEntry]) -> list[dict[str, Any]]:
    """A row for each name that leaves the choice among these models to us; none where there is no choice."""
    if not models:
        return []
    offers = [model.offers[0] for model in models]
    inputs = [name for name in ("text", "image") if any(name in model.modalities for model in models)]
    context = max(offer.context_length for offer in offers)
    parameters = _supported_parameters(frozenset().union(*(offer.target.capabilities for offer in offers)) - DENIALS)
    return [
        {
            "id": name,
            "canonical_slug": name,
            "object": "model",
            "created": max(model.created_unix_s for model in models),
            "owned_by": "komilion",
            "name": f"{name}: chosen for each request, {policy}",
            "context_length": context,
            "architecture": _architecture(inputs),
            "supported_parameters": parameters,
            "top_provider": {
                "context_length": context,
                "max_completion_tokens": max(offer.max_output for offer in offers),
                "is_moderated": False,
            },
            "pricing": VARYING,
            "provider_pricing": VARYING,
            "expiration_date": None,
        }
        for name, policy in VIRTUAL_MODELS.items()
    ]


def _architecture(inputs: list[str], outputs: list[str] | None = None) -> dict[str, Any]:
    outputs = outputs or ["text"]
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
    }


@lru_cache(maxsize=256)
def _supported_parameters(capabilities: frozenset[str]) -> Sequence[str]:
    """Names of the parameters that reach this model or have an effect here, in the order of the table."""
    return [
        name
        for name, row in TABLE.items()
        if (row.then == "forward" or name in AMOUNTS)
        and (not row.need or row.need in capabilities)
        and (not row.unless_lacking or row.unless_lacking in capabilities)
        and (not row.unless or row.unless not in capabilities)
    ]


def _pricing(price: PriceVersion, *, fee: bool) -> Mapping[str, str]:
    """Per token (second, character), as exact decimal strings; with our fee or as the provider lists it."""
    basis_points = BASIS_POINTS + (price.fee_basis_points if fee else 0)
    return {
        PRICING_NAMES[bucket]: _per_unit(nano * basis_points * UNITS.get(bucket, 1))
        for bucket, nano in price.components.items()
        if bucket in PRICING_NAMES
    }


def _per_unit(nano_basis_points: int) -> str:
    """Nano-USD x basis points per million units -> US dollars per unit; 3.00 $/M at 25 % fee is `0.00000375`."""
    digits = f"{nano_basis_points:0{SCALE + 1}d}"
    whole, fraction = digits[:-SCALE], digits[-SCALE:].rstrip("0")
    return f"{int(whole)}.{fraction}" if fraction else str(int(whole))


def _may_call(caller: Caller | None, catalog: Catalog, model: ModelEntry | VoiceModel) -> bool:
    return caller is None or catalog.allows(caller.models_allowed, model.id)


async def _caller_and_catalog(exchange: Exchange, services: Services) -> tuple[Caller | None, Catalog]:
    """A key that is sent must be good; none is fine."""
    caller = None
    if has_credential(exchange):
        session = await services.authenticator.authenticate(exchange)
        await count(exchange, session, services.limiter)
        caller = session.caller
    return caller, await services.fresh_catalog()
