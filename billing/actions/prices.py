"""Price versions: the same content is one row, for good."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.conf import settings

from billing.models import Price


def do_record_price(components: Mapping[str, int], tiers: Sequence[Mapping[str, Any]] = ()) -> Price:
    """The version with this content, recorded first where it is new; figures in nano-USD per million units."""
    content = {
        "components": dict(components),
        "tiers": list(tiers),
        "fee_basis_points": settings.FEE_BASIS_POINTS,
    }
    fingerprint = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    price, _ = Price.objects.get_or_create(fingerprint=fingerprint, defaults=content)
    return price
