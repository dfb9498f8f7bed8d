"""Taking models and providers out of service and back, and away again: at once in every process.

What ships is disabled, not removed, or the next upgrade would bring it back. Prices and usage rows stay whatever goes.
"""

from django.conf import settings
from django.db import transaction

from routing.actions.catalog import raise_version
from routing.actions.errors import CatalogError
from routing.actions.local import LOCAL, OFFERS
from routing.catalog.models import Model, Offer, Provider
from routing.catalog.shipped import read_providers, read_shipped


def do_switch_provider(name: str, *, is_disabled: bool) -> None:
    """Off, or on again. Raises `CatalogError`."""
    _switch(_provider(name), is_disabled=is_disabled)


def do_switch_model(model_id: str, provider: str = "", *, is_disabled: bool) -> None:
    """At one provider, or everywhere, offers to come included. Raises `CatalogError`."""
    model = _model(model_id)
    _switch(_offer(model, provider) if provider else model, is_disabled=is_disabled)


def do_remove_provider(name: str) -> list[str]:
    """With all that it offers; returns the models that went along, an operator's that nobody else offers.

    Raises `CatalogError`.
    """
    provider = _provider(name)
    if provider.shipped or name == LOCAL.name or any(shipped.name == name for shipped in read_providers()):
        raise CatalogError(f"{name} ships with the catalogue: manage.py provider disable {name}")
    with transaction.atomic():
        offered = list(Model.objects.filter(offers__provider=provider).order_by("pk"))
        provider.delete()
        gone = [model.pk for model in offered if not _is_shipped(model) and not model.offers.exists()]
        Model.objects.filter(pk__in=gone).delete()
        raise_version()
    return gone


def do_remove_model(model_id: str, provider: str = "") -> None:
    """An operator's model, or what one provider offers of a model; the last offer takes an operator's model along.

    Raises `CatalogError`.
    """
    model = _model(model_id)
    if not provider:
        if _is_shipped(model):
            raise CatalogError(f"{model_id} ships with the catalogue: manage.py model disable {model_id}")
        with transaction.atomic():
            model.delete()
            raise_version()
        return
    offer = _offer(model, provider)
    known = {(row.model, row.provider) for row in read_shipped(settings.FEE_BASIS_POINTS).offers}
    if offer.shipped or (model_id, provider) in known | {(each.model_id, each.provider) for each in OFFERS}:
        advice = f"manage.py model disable {model_id} --provider {provider}"
        raise CatalogError(f"{model_id} at {provider} ships with the catalogue: {advice}")
    with transaction.atomic():
        offer.delete()
        if not _is_shipped(model) and not model.offers.exists():
            model.delete()
        raise_version()


def _is_shipped(model: Model) -> bool:
    """Also one that was, or that an operator renamed."""
    if model.shipped or any(model.pk == offer.model_id for offer in OFFERS):
        return True
    return any(shipped.id == model.pk for shipped in read_shipped(settings.FEE_BASIS_POINTS).models)


def _switch(row: Provider | Model | Offer, *, is_disabled: bool) -> None:
    with transaction.atomic():
        row.is_disabled = is_disabled
        row.save(update_fields=["is_disabled"])
        raise_version()


def _provider(name: str) -> Provider:
    provider = Provider.objects.filter(pk=name).first()
    if provider is None:
        raise CatalogError(f"there is no provider {name!r}")
    return provider


def _model(model_id: str) -> Model:
    model = Model.objects.filter(pk=model_id).first()
    if model is None:
        raise CatalogError(f"there is no model {model_id!r}")
    return model


def _offer(model: Model, provider: str) -> Offer:
    offer = model.offers.filter(provider=provider).first()
    if offer is None:
        raise CatalogError(f"{model.pk} is not offered by {provider!r}")
    return offer
