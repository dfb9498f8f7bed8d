"""What the views of the advisor have in common."""

from accounts.access import Asker
from routing.actions.pins import Pinner
from routing.api.base import pinner_of
from routing.queries import catalog_rows
from routing.selection.models import Pin


def pinner(asker: Asker) -> Pinner:
    """Who asks, as one who pins what the advisor had the idea of."""
    return pinner_of(asker, Pin.Source.ADVISOR)


def may_call(asker: Asker, *models: str) -> bool:
    """Whether who asks may call all of these; an empty name is none."""
    allowed = pinner(asker).models_allowed
    catalog = catalog_rows().catalog
    return all(catalog.allows(allowed, name) for name in models if name)
