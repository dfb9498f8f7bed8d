"""What the answers of speech say of their bill: `x_komilion` and headers, as those of chats do."""

from collections.abc import Iterable, Mapping
from typing import Any

from komilion.common.money import format_usd
from komilion.common.numbers import numbers
from routing.catalog.voice import VoiceOffer
from routing.gateway.exchange import Exchange, Headers
from routing.gateway.inbound import CLIENT_ID_LIMIT, TITLE_LIMIT
from routing.gateway.metered import CallFacts
from routing.gateway.notes import usd
from routing.gateway.types import Settled

TAGS_MOST = 16
TAG_CHARACTERS = 64


def facts_of(exchange: Exchange, endpoint: str, requested_model: str, *, streamed: bool, end_user: str) -> CallFacts:
    """What the usage row keeps of a request beside what it used."""
    tags = (tag.strip()[:TAG_CHARACTERS] for tag in exchange.header(b"x-litellm-tags").split(","))
    return CallFacts(
        endpoint=endpoint,
        requested_model=requested_model,
        streamed=streamed,
        client_request_id=exchange.header(b"x-request-id", CLIENT_ID_LIMIT),
        end_user=exchange.header(b"x-litellm-customer-id") or end_user,
        tags=tuple(dict.fromkeys(filter(None, tags)))[:TAGS_MOST],
        app_url=exchange.header(b"http-referer") or exchange.header(b"referer"),
        app_title=exchange.header(b"x-title", TITLE_LIMIT),
    )


def adjusted_of(dropped: Iterable[str]) -> list[dict[str, str]]:
    """What was not passed on, for `x_komilion.adjusted`."""
    return [{"param": name, "action": "dropped"} for name in dict.fromkeys(dropped)]


def note_of(
    offer: VoiceOffer, requested_model: str, settled: Settled, adjusted: list[dict[str, str]]
) -> dict[str, Any]:
    """`x_komilion`."""
    return {
        "provider": offer.provider,
        "model": offer.model_id,
        "requested_model": requested_model or None,
        "cost_usd": usd(settled.charge),
        "cost_nano_usd": settled.charge,
        "adjusted": adjusted,
        "settlement": "pending" if settled.is_pending else "settled",
    }


def with_cost(usage: Mapping[str, Any], settled: Settled) -> dict[str, Any]:
    """`usage` with what was charged for it."""
    return {**usage, "cost": usd(settled.charge), "cost_nano_usd": settled.charge}


def origin_headers(offer: VoiceOffer, dropped: Iterable[str], *, is_v1: bool) -> Headers:
    """Who answers, and what was not passed on; on every answer."""
    provider = offer.provider.encode()
    headers = [(b"x-komilion-model", offer.model_id.encode()), (b"x-komilion-provider", provider)]
    if names := ", ".join(dict.fromkeys(dropped)):
        headers.append((b"x-komilion-dropped", names.encode("ascii", "replace")))
    if is_v1 and numbers.COMPAT_NAMES:
        headers.append((b"x-kairosroute-provider", provider))
    return headers


def cost_headers(settled: Settled, *, is_v1: bool) -> Headers:
    """What it cost; where the head of the answer waits for the bill."""
    cost = format_usd(settled.charge).encode()
    compat = [(b"x-kairosroute-cost", cost)] if is_v1 and numbers.COMPAT_NAMES else []
    return [(b"x-komilion-cost", cost), *compat]
