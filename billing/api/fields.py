"""Fields that several requests have in common."""

from decimal import Decimal
from typing import Any, override

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts.api.base import Strict
from komilion.common.money import InvalidAmount, parse_usd
from komilion.common.row_ids import MOST_ROW_ID


@extend_schema_field(
    {
        "type": "string",
        "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        "description": "US dollars, such as `10.00`; no finer than a nano-dollar.",
        "example": "10.00",
    }
)
class UsdField(serializers.Field[int, Any, str, Any]):
    """US dollars as a decimal string (a JSON number is taken too) <-> nano-USD."""

    @override
    def to_internal_value(self, data: Any) -> int:
        """Nano-USD. Raises `ValidationError`."""
        if isinstance(data, bool) or not isinstance(data, str | int | Decimal):
            raise serializers.ValidationError('Write US dollars as a string such as "10.00".')
        try:
            return parse_usd(data if isinstance(data, str) else Decimal(data))
        except InvalidAmount as error:
            raise serializers.ValidationError(f"{error}.") from error


@extend_schema_serializer(component_name="Caps")
class CapsField(Strict):
    """What a key may spend in each period; days and months are UTC's. null lifts the cap."""

    day = UsdField(required=False, allow_null=True)
    month = UsdField(required=False, allow_null=True)
    total = UsdField(required=False, allow_null=True)


@extend_schema_serializer(component_name="Limits")
class LimitsField(Strict):
    """Limits of this key alone, beside the organization's."""

    requests_per_minute = serializers.IntegerField(required=False, min_value=0)
    tokens_per_minute = serializers.IntegerField(required=False, min_value=0)
    parallel = serializers.IntegerField(required=False, min_value=0)
    burst_per_s = serializers.IntegerField(required=False, min_value=0)


class RowIdField(serializers.IntegerField):
    """The id of a row; what cannot be one is refused before the database is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=MOST_ROW_ID, **options)


class PageQuery(serializers.Serializer[Any]):
    """A page of a list: `limit` rows from where `cursor` says."""

    cursor = serializers.CharField(required=False, max_length=200, help_text="`next_cursor` of the page before")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200, default=50)
