"""The endpoint table: each inference endpoint is one row, and answers under every prefix."""

from dataclasses import dataclass
from functools import partial

from routing.gateway.compare import serve_compare
from routing.gateway.estimate import serve_estimate
from routing.gateway.exchange import Exchange
from routing.gateway.forms import FLAT
from routing.gateway.listing import serve_model, serve_models, serve_providers, serve_wallet
from routing.gateway.pipeline import serve_chat
from routing.gateway.services import Services
from routing.gateway.serving import Handler

PREFIXES = ("/v1", "/api", "/api/v1", "/api/gateway")
ONE_MODEL = "/models/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` below each of its prefixes; a billable one must answer 401, 402 and 429 (a test walks this table)."""

    method: str
    path: str
    serve: Handler
    is_billable: bool
    prefixes: tuple[str, ...] = PREFIXES


ENDPOINTS = (
    Endpoint("POST", "/chat/completions", serve_chat, is_billable=True),
    Endpoint("POST", "/chat", partial(serve_chat, form=FLAT), is_billable=True, prefixes=("/api",)),
    Endpoint("POST", "/compare", serve_compare, is_billable=True, prefixes=("/api",)),
    Endpoint("POST", "/estimate", serve_estimate, is_billable=False, prefixes=("/api",)),
    Endpoint("GET", "/models", serve_models, is_billable=False),
    Endpoint("GET", "/providers", serve_providers, is_billable=False),
    Endpoint("GET", "/wallet", serve_wallet, is_billable=False, prefixes=("/api",)),
)
BY_PATH = {prefix + endpoint.path: endpoint for endpoint in ENDPOINTS for prefix in endpoint.prefixes}


def find_endpoint(path: str) -> Endpoint | None:
    """The row for this path, or None when the gateway does not serve it."""
    endpoint = BY_PATH.get(path)
    if endpoint is not None:
        return endpoint
    for prefix in PREFIXES:
        if path.startswith(prefix + ONE_MODEL) and len(path) > len(prefix + ONE_MODEL):
            return Endpoint("GET", ONE_MODEL, _one_model(path[len(prefix + ONE_MODEL) :]), is_billable=False)
    return None


def _one_model(model_id: str) -> Handler:
    async def serve(exchange: Exchange, services: Services) -> None:
        await serve_model(exchange, services, model_id)

    return serve
