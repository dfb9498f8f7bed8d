"""What the views of routing have in common."""

from typing import Any

from rest_framework import serializers

from accounts.access import Asker
from komilion.common.money import format_usd
from routing.actions.pins import Pinner
from routing.queries import ceiling_of
from routing.selection.models import Pin


class WordField(serializers.CharField):
    """A short text that may be left out or null: what is wrong with it is said with the lists of what there is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, allow_blank=True, max_length=200, **options)


def either(given: dict[str, Any], *names: str) -> str:
    """The value under the first of these names that has one; empty without any."""
    return next((given[name] for name in names if given.get(name)), "")


def pinner_of(asker: Asker, source: Pin.Source) -> Pinner:
    """Who asks, as one who pins; a key that is limited to some models is so here too."""
    allowed = None if asker.key is None else asker.key.models_allowed
    return Pinner(asker.organization_id, asker.name, source, None if allowed is None else frozenset(allowed))


def pin_json(pin: Pin) -> dict[str, Any]:
    """A pin as the API shows it."""
    return {
        "object": "pin",
        "task_type": pin.task,
        "model": pin.model,
        "source": pin.source,
        "set_by": pin.set_by,
        "created_at": pin.created_at.isoformat().replace("+00:00", "Z"),
        "upgrades": pin.upgrades,
        "ceiling": {bucket: format_usd(nano) for bucket, nano in ceiling_of(pin).items()},
        "trial": {"model": pin.trial_model, "share_basis_points": pin.trial_basis_points} if pin.trial_model else None,
    }
