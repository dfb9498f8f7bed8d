"""Who answers a spoken conversation: the model that was named, or the one that a policy means, and who takes over.

Best and cheapest follow from the catalogue alone: every realtime model that can be called is priced by one conversation
(`estimate`). `premium` is the dearest, `balanced` the cheapest of them; of equals one whose end is not announced, then
the highest version. `frugal`, and any policy where no provider of a realtime model has a key here, is the cascade.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from komilion.common.errors import KomilionError, ModelNotAllowed, ModelNotServed
from routing.catalog.resolve import resolve_voice
from routing.catalog.snapshot import Catalog
from routing.catalog.voice import VoiceModel
from routing.gateway.services import Services
from routing.gateway.types import Session as CallerSession
from routing.selection.words import VIRTUAL_MODELS
from voice.realtime.cascade import CascadeEngine
from voice.realtime.cascade_ahead import next_turn
from voice.realtime.cascade_parts import Parts, parts_of
from voice.realtime.estimate import cascaded_per_minute, relayed_per_minute, written_per_minute
from voice.realtime.events import Event
from voice.realtime.relay import RelayEngine
from voice.realtime.session import Make

MODELS_MOST = 3
FRUGAL = "frugal"


@dataclass(frozen=True, slots=True)
class Answerer:
    """`model` answers unless it cannot be reached; `per_minute_nano` is what a minute likely costs, with the fee.

    `parts` are those of the cascade where it is who answers; `per_minute_nano` is then by the dearest chat model that
    the caller may use, and `estimated_per_minute` knows better.
    `writes` transcribes beside it what the caller says, at the same provider; empty where none does, and of a cascade,
    which tells what it has heard by itself.
    """

    model: str
    engines: tuple[Make, ...]
    per_minute_nano: int
    parts: Parts | None = None
    writes: str = ""


async def estimated_per_minute(answerer: Answerer, services: Services, caller: CallerSession, config: Event) -> int:
    """What a minute likely costs, in nano-USD with the fee: of a cascade, with the chat model that would be chosen now.

    `config` is the GA `session`.
    """
    parts = answerer.parts
    if parts is None:
        return answerer.per_minute_nano
    try:
        turn = await next_turn(services, caller, parts, config)
    except KomilionError:
        return answerer.per_minute_nano
    return cascaded_per_minute(parts.hears.offers[0], turn.thinks, parts.speaks.offers[0])


def answerer_of(catalog: Catalog, name: str, caller: CallerSession) -> Answerer:
    """Who answers to a name: a realtime model's, `neo-mode` (balanced) or one of its policies.

    Raises `UnknownModel`, `ModelNotServed`, `ModelNotAllowed`.
    """
    policy = VIRTUAL_MODELS.get(name)
    if policy is not None:
        return answerer_for(catalog, policy, caller)
    model = resolve_voice(catalog, name, "realtime")
    if not catalog.allows(caller.caller.models_allowed, model.id):
        raise ModelNotAllowed(f"This key may not call {model.id}.")
    return _relayed(model)


def answerer_for(catalog: Catalog, policy: str, caller: CallerSession) -> Answerer:
    """Who answers under a policy, and who takes over. Raises `ModelNotServed`, `ModelNotAllowed`."""
    try:
        parts = parts_of(catalog, caller, policy)
    except (ModelNotServed, ModelNotAllowed):
        return _relayed_for(catalog, policy, caller)
    cascade = partial(CascadeEngine, parts=parts)
    if policy != FRUGAL:
        with suppress(ModelNotServed, ModelNotAllowed):
            relayed = _relayed_for(catalog, policy, caller)
            return replace(relayed, engines=(*relayed.engines, cascade))
    thinks = [
        model.offers[0].price
        for model in catalog.models.values()
        if catalog.allows(caller.caller.models_allowed, model.id)
    ]
    hears, speaks = parts.hears.offers[0], parts.speaks.offers[0]
    per_minute = max((cascaded_per_minute(hears, price, speaks) for price in thinks), default=0)
    return Answerer(parts.thinks, (cascade,), per_minute, parts)


def _relayed_for(catalog: Catalog, policy: str, caller: CallerSession) -> Answerer:
    models = catalog.voices("realtime")
    allowed = [model for model in models if catalog.allows(caller.caller.models_allowed, model.id)]
    if models and not allowed:
        raise ModelNotAllowed("This key may call none of the models that hold a spoken conversation.")
    if not allowed:
        raise ModelNotServed("This installation has no key for a provider of a realtime model.", param="model")
    newest_first = sorted(allowed, key=lambda model: (model.sunset_on is None, model.id), reverse=True)  # 2.1 before 2
    ranked = sorted(newest_first, key=_per_minute)
    if policy == "premium":
        ranked.sort(key=_per_minute, reverse=True)
    return _with_writer(_relayed(*ranked[:MODELS_MOST]), catalog, caller, ranked[0].offers[0].provider)


def _with_writer(answerer: Answerer, catalog: Catalog, caller: CallerSession, provider: str) -> Answerer:
    """With the cheapest transcription model of the provider."""
    costs = {
        model.id: written_per_minute(offer)
        for model in catalog.voices("transcription")
        if catalog.allows(caller.caller.models_allowed, model.id)
        for offer in model.offers
        if offer.provider == provider
    }
    if not costs:
        return answerer
    writes = min(costs, key=lambda name: (costs[name], name))
    return replace(answerer, writes=writes, per_minute_nano=answerer.per_minute_nano + costs[writes])


def _relayed(*models: VoiceModel) -> Answerer:
    """The first of them; the others take over where it cannot be reached."""
    engines = tuple(partial(RelayEngine, offers=model.offers) for model in models)
    return Answerer(models[0].id, engines, _per_minute(models[0]))


def _per_minute(model: VoiceModel) -> int:
    return relayed_per_minute(model.offers[0].price)
