"""Reads of the catalogue for pages."""

from routing.catalog.models import Model


def model_ids() -> frozenset[str]:
    """The ids of all models."""
    return frozenset(Model.objects.values_list("id", flat=True))
