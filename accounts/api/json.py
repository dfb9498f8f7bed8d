"""JSON as the REST API reads and writes it: strict in, exact out."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any, Never, override

import orjson
from django.conf import settings
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from komilion.common.errors import BadRequest, PayloadTooLarge
from komilion.common.money import format_usd


class StrictJSONParser(BaseParser):
    """One JSON text in UTF-8: no name twice in an object, no NaN, fractions as `Decimal`, a bounded length."""

    media_type = "application/json"

    @override
    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value. Raises `BadRequest`, `PayloadTooLarge`."""
        raw = stream.read(settings.API_BODY_LIMIT_BYTES + 1)
        if len(raw) > settings.API_BODY_LIMIT_BYTES:
            raise PayloadTooLarge(f"The request body is above the limit of {settings.API_BODY_LIMIT_BYTES:,} bytes.")
        try:
            return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise BadRequest("The request body is not valid JSON.") from error


class ExactJSONRenderer(BaseRenderer):
    """orjson, with `usd` written digit by digit."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    @override
    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes; nothing for an answer without a body."""
        return b"" if data is None else orjson.dumps(data)


def usd(nano: int) -> orjson.Fragment:
    """Nano-USD as a JSON number of US dollars: an exact decimal literal, never an exponent."""
    return orjson.Fragment(format_usd(nano))


def amount(name: str, nano: int | None) -> dict[str, Any]:
    """`{"cost_usd": 0.0012, "cost_nano_usd": 1200000}`; both null for None."""
    return {f"{name}_usd": None if nano is None else usd(nano), f"{name}_nano_usd": nano}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
