"""Which model hears or speaks, and who offers it.

A request that names none gets the cheapest that can do what it asks for, and where its offers fail the next ones; a
model that runs on this machine only where nothing else has a key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from accounts.access import Caller
from komilion.common.errors import BadRequest, KomilionError, ModelNotAllowed, ModelNotServed, UnknownModel
from komilion.common.usage import Usage
from routing.catalog.resolve import resolve_voice
from routing.catalog.snapshot import Catalog
from routing.catalog.voice import Kind, VoiceModel, VoiceOffer
from routing.gateway.services import Services
from routing.providers.deepgram import voice_of

LOCAL = "local/"
DEEPGRAM = "deepgram"
OTHERS_MOST = 2  # models that may take over

WORDS = {
    "word_timestamps": "gives the times of what it hears",
    "diarization": "tells speakers apart",
    "translation": "translates",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model must be: `name` is empty where any will do; `needs` are capabilities, one of each set enough."""

    kind: Kind
    name: str
    needs: tuple[frozenset[str], ...] = ()
    dialect: str = ""  # rather one at a provider of this dialect, where the request names no model
    voice: str = ""  # that it must have, as far as the voices of a model are known


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model and those of its offers that can serve, the first choice first.

    `others` may take over, in this order: offers of the next models, where the request names none.
    """

    model: VoiceModel
    offers: tuple[VoiceOffer, ...]
    others: tuple[VoiceOffer, ...] = ()


def choose(wanted: Wanted, catalog: Catalog, caller: Caller, likely: Callable[[VoiceOffer], Usage]) -> Chosen:
    """The model that is named, else the cheapest for what is `likely` used.

    Raises `UnknownModel`, `ModelNotServed`, `ModelNotAllowed`, and `BadRequest` where it cannot do what is asked.
    """
    if wanted.name:
        model = _named(wanted, catalog)
        if not catalog.allows(caller.models_allowed, model.id):
            raise ModelNotAllowed(f"This key may not call {model.id}.", param="model")
        offers = _able(model, wanted)
        if not offers:
            raise BadRequest(f"{model.id} is no model that {_lacking(model, wanted)}.", param="model")
        return Chosen(model, offers)
    found = [
        Chosen(model, offers)
        for model in catalog.voices(wanted.kind)
        if catalog.allows(caller.models_allowed, model.id) and (offers := _able(model, wanted))
    ]
    if wanted.voice and found:
        found = [each for each in found if _has_voice(each.offers[0], wanted.voice)]
        if not found:
            raise BadRequest(f"No model here has the voice {wanted.voice[:40]!r}.", param="voice")
    if not found:
        raise ModelNotServed("No model that can do this is served here, or this key may call none.", param="model")
    found.sort(key=lambda each: each.model.id, reverse=True)  # of two at one price rather the newer
    first, *rest = sorted(found, key=lambda each: _rank(each, wanted, likely))
    others = [each for each in rest if _is_local(each) == _is_local(first)][:OTHERS_MOST]
    return replace(first, others=tuple(offer for each in others for offer in each.offers))


async def choose_now(
    wanted: Wanted, services: Services, version: int, caller: Caller, likely: Callable[[VoiceOffer], Usage]
) -> Chosen:
    """`choose` from the catalogue, at least at `version`; it is compared with the database before anything is refused.

    News of a model may be on their way, or Redis be gone.
    """
    catalog = await services.current_catalog(version)
    try:
        return choose(wanted, catalog, caller, likely)
    except KomilionError:
        newest = await services.fresh_catalog()
        if newest is catalog:
            raise
        return choose(wanted, newest, caller, likely)


def same_units(offers: Sequence[VoiceOffer], bound: Usage) -> tuple[VoiceOffer, ...]:
    """Those offers whose price can hold for this usage: one hold pays for any of them."""
    return tuple(offer for offer in offers if not offer.price.unpriced(bound))


def _named(wanted: Wanted, catalog: Catalog) -> VoiceModel:
    """What the name means; else a model that a provider in Deepgram's words knows by it, whatever it is called here."""
    try:
        return resolve_voice(catalog, wanted.name, wanted.kind)
    except (UnknownModel, ModelNotServed):
        theirs = wanted.name.removeprefix(f"{DEEPGRAM}/")
        for model in catalog.voices(wanted.kind):
            if any((offer.dialect, offer.target.upstream_id) == (DEEPGRAM, theirs) for offer in model.offers):
                return model
        raise


def _has_voice(offer: VoiceOffer, voice: str) -> bool:
    """Only Deepgram's voices are known."""
    if offer.dialect != DEEPGRAM:
        return True
    try:
        voice_of(voice, offer.target.upstream_id)
    except BadRequest:
        return False
    return True


def _rank(each: Chosen, wanted: Wanted, likely: Callable[[VoiceOffer], Usage]) -> tuple[bool, bool, int]:
    first = each.offers[0]
    price = first.price.charge(likely(first)).charge
    return _is_local(each), bool(wanted.dialect) and first.dialect != wanted.dialect, price


def _is_local(each: Chosen) -> bool:
    return each.model.id.startswith(LOCAL)


def _able(model: VoiceModel, wanted: Wanted) -> tuple[VoiceOffer, ...]:
    return tuple(offer for offer in model.offers if all(need & offer.target.capabilities for need in wanted.needs))


def _lacking(model: VoiceModel, wanted: Wanted) -> str:
    missing = next(need for need in wanted.needs if not any(need & offer.target.capabilities for offer in model.offers))
    return " or ".join(WORDS[name] for name in sorted(missing))
