"""Which model a name in a request means: its id, another name of it, or a retired one's successor."""

import logging
from dataclasses import dataclass

from komilion.common.errors import ModelNotServed, ModelRetired, UnknownModel
from routing.catalog.snapshot import Catalog, ModelEntry, RetiredModel
from routing.catalog.voice import KINDS, Kind, VoiceModel

log = logging.getLogger(__name__)

CHARACTERS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Resolved:
    """The model to call; `moved_from` is the retired one that was asked for."""

    model: ModelEntry
    moved_from: RetiredModel | None = None


def resolve(catalog: Catalog, name: str, *, may_cost_more: bool = False) -> Resolved:
    """The model that a name means.

    A retired model moves to its successor, with those of its offers none of whose prices is higher in any bucket and
    any tier; with all of them where the caller's organization lets it cost more. Raises `UnknownModel` with the
    nearest names, `ModelNotServed` where no provider of it is on here, `ModelRetired` naming the successor.
    """
    model = catalog.models.get(name)
    if model is not None:
        return Resolved(model)
    model_id = catalog.canonical(name)
    if model_id is None:
        raise _unknown(name, catalog.nearest(name))
    if model_id in catalog.voice:
        raise UnknownModel(f"{model_id} {KINDS[catalog.voice[model_id].kind]}; it is no model for chat.", param="model")
    retired = catalog.retired.get(model_id)
    if retired is not None:
        return Resolved(_successor(catalog, retired, may_cost_more=may_cost_more), retired)
    model = catalog.models.get(model_id)
    if model is None:
        raise _not_served(catalog, model_id)
    return Resolved(model)


def resolve_voice(catalog: Catalog, name: str, kind: Kind) -> VoiceModel:
    """The model of that kind that a name means. Raises `UnknownModel` and `ModelNotServed` like `resolve`."""
    model_id = catalog.canonical(name)
    if model_id is None:
        raise _unknown(name, catalog.nearest(name, kind))
    model = catalog.voice.get(model_id)
    if model is not None and model.kind == kind:
        return model
    if model is None and model_id in catalog.off:
        raise _not_served(catalog, model_id)
    raise UnknownModel(f"{model_id} is no model that {KINDS[kind]}.", param="model")


def _unknown(name: str, nearest: list[str]) -> UnknownModel:
    hint = f" Did you mean {' or '.join(nearest)}?" if nearest else " See GET /v1/models for the list."
    return UnknownModel(f"There is no model {name[:CHARACTERS_SHOWN]!r}.{hint}", param="model")


def _not_served(catalog: Catalog, model_id: str) -> ModelNotServed:
    variables = catalog.off.get(model_id, ())
    if not variables:
        return ModelNotServed(f"{model_id} is not served here at present.", param="model")
    log.info("model without a key", extra={"model": model_id, "set_one_of": list(variables)})
    return ModelNotServed(f"This installation has no key for a provider of {model_id}.", param="model")


def _successor(catalog: Catalog, retired: RetiredModel, *, may_cost_more: bool) -> ModelEntry:
    successor = catalog.models.get(retired.successor or "")
    if may_cost_more and successor is not None:
        return successor
    if retired.moves_to is not None:
        return retired.moves_to
    raise ended(catalog, retired)


def ended(catalog: Catalog, retired: RetiredModel) -> ModelRetired:
    """What to tell whoever asks for a retired model: when it ended, and its successor."""
    message = f"{retired.id} was retired on {retired.sunset_on.isoformat()}."
    if retired.successor is not None:
        but = "may cost more" if retired.successor in catalog.models else "is not served here"
        if retired.moves_to is not None:
            but = "costs no more"
        message += f" Its successor is {retired.successor}, which {but}."
    return ModelRetired(message, param="model")
