"""What a newer model must keep to in the place of a pin, read for many pins at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from django.db.models import Q, Sum

from accounts.models import ApiKey
from advisor.evidence import INPUT, OUTPUT
from advisor.models import DayEvidence
from advisor.upgrades import Terms, Use
from komilion.common.clock import utc_now
from routing.queries import catalog_rows, ceiling_of
from routing.selection.models import Pin

LOOKED_BACK = timedelta(days=28)
BUCKETS = (*INPUT, *OUTPUT)


def terms_of(pins: Sequence[Pin], today: date) -> Mapping[int, Terms]:
    """By the id of the pin."""
    keys = _keys({pin.organization_id for pin in pins})
    uses = _uses({pin.organization_id for pin in pins}, today)
    nothing = Use({}, 0.0)
    return {
        pin.pk: Terms(
            ceiling=ceiling_of(pin),
            keys=keys[pin.organization_id],
            use=uses.get((pin.organization_id, pin.task, pin.model), nothing),
        )
        for pin in pins
    }


def _keys(organization_ids: set[int]) -> Mapping[int, list[frozenset[str] | None]]:
    """Ids of models that each working key may call; None for a key without a limit."""
    catalog = catalog_rows().catalog
    works = Q(expires_at__isnull=True) | Q(expires_at__gt=utc_now())
    rows = ApiKey.objects.filter(works, organization_id__in=organization_ids, revoked_at__isnull=True)
    found: defaultdict[int, list[frozenset[str] | None]] = defaultdict(list)
    for organization_id, names in rows.values_list("organization_id", "models_allowed").iterator():
        ids = None if names is None else frozenset(catalog.canonical(name) or name for name in names)
        if ids not in found[organization_id]:
            found[organization_id].append(ids)
    return found


def _uses(organization_ids: set[int], today: date) -> Mapping[tuple[int, str, str], Use]:
    """Of pinned calls of late, by organization, task type and model."""
    rows = (
        DayEvidence.objects.filter(organization_id__in=organization_ids, way="pinned", day__gte=today - LOOKED_BACK)
        .values_list("organization_id", "task", "model")
        .annotate(calls=Sum("requests"), **{f"{name}_sum": Sum(name) for name in BUCKETS})
    )
    return {
        (organization_id, task, model): Use(dict(zip(BUCKETS, map(float, units), strict=True)), float(calls))
        for organization_id, task, model, calls, *units in rows
    }
