"""Django's entry to routing's tables, which live with the catalogue and with the choice of a model."""

from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.playground.models import PlaygroundShare
from routing.selection.models import Feedback, Market, Pin, RoutingPreferences

__all__ = [
    "CatalogVersion",
    "Feedback",
    "Market",
    "Model",
    "Offer",
    "OfferPrice",
    "Pin",
    "PlaygroundShare",
    "Provider",
    "RoutingPreferences",
]
