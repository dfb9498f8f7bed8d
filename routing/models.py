"""Django's entry to routing's tables, which live with the catalogue."""

from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider

__all__ = ["CatalogVersion", "Model", "Offer", "OfferPrice", "Provider"]
