"""Price versions: the same content is one row, for good."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.conf import settings

from billing.models import Price

type Content = tuple[
    Mapping[str, int], Sequence[tuple[int, Mapping[str, int]]]
]  # components, tiers as a price has them


def do_record_price(components: Mapping[str, int], tiers: Sequence[Mapping[str, Any]] = ()) -> Price:
    """The version with this content, recorded first where it is new; figures in nano-USD per million units."""
    content = _content(components, tiers)
    price, _ = Price.objects.get_or_create(fingerprint=_fingerprint(content), defaults=content)
    return price


def do_record_prices(contents: Sequence[Content]) -> list[int]:
    """The ids of the versions with these contents, in their order; the new ones recorded in one statement."""
    wanted: dict[str, dict[str, Any]] = {}
    order = []
    for components, tiers in contents:
        content = _content(components, [{"above_input": above, "components": dict(dearer)} for above, dearer in tiers])
        order.append(_fingerprint(content))
        wanted[order[-1]] = content
    Price.objects.bulk_create(
        [Price(fingerprint=fingerprint, **content) for fingerprint, content in wanted.items()], ignore_conflicts=True
    )
    ids = dict(Price.objects.filter(fingerprint__in=wanted).values_list("fingerprint", "pk"))
    return [ids[fingerprint] for fingerprint in order]


def _content(components: Mapping[str, int], tiers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "components": dict(components),
        "tiers": list(tiers),
        "fee_basis_points": settings.FEE_BASIS_POINTS,
    }


def _fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical content."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
