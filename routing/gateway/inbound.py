"""A request's bytes and headers -> Inbound: parsed, validated, neutral."""

from routing.gateway.exchange import Exchange
from routing.gateway.forms import OPENAI, Form
from routing.gateway.idempotency import claim_of
from routing.gateway.json_guard import parse_object
from routing.gateway.parameters import Extras
from routing.gateway.types import Inbound

CLIENT_ID_LIMIT = 128
TITLE_LIMIT = 200


def parse_inbound(exchange: Exchange, body: bytes, form: Form = OPENAI) -> Inbound:
    """Raises `BadRequest` naming what is wrong and where."""
    extras = Extras(exchange.header(b"x-litellm-customer-id"), exchange.header(b"x-litellm-tags"))
    return Inbound(
        chat=form.parse(parse_object(body), extras),
        form=form,
        body_bytes=len(body),
        client_request_id=exchange.header(b"x-request-id", CLIENT_ID_LIMIT),
        app_url=exchange.header(b"http-referer") or exchange.header(b"referer"),
        app_title=exchange.header(b"x-title", TITLE_LIMIT),
        claim=claim_of(exchange, body),
        request_id=exchange.request_id,
    )
