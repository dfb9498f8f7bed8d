"""A small catalogue to choose from, and requests for a choice, for the tests of the brain."""

from typing import Any

from accounts.access import Caller
from billing.prices import PriceVersion
from routing.catalog.snapshot import TEXT, Catalog, ModelEntry, OfferEntry
from routing.gateway.choice.brain import Asked, Brain, session_of
from routing.gateway.choice.preferences import Preferences
from routing.providers.base import Target
from routing.providers.registry import DIALECTS
from tests.routing.parsing import parse

CODE = [{"role": "user", "content": "Write a Python function that sorts a list of numbers, with unit tests."}]
NANO_PER_DOLLAR = 10**9
BEST, CHEAP, MIDDLING = "anthropic/claude-opus-4.7", "local/smollm2-135m-instruct", "meta-llama/llama-4-maverick"
# id: US dollars per million tokens of input (output is four times that), context
MODELS = {BEST: (5, 200_000), CHEAP: (0, 2_048), MIDDLING: (1, 1_000_000)}


def offer(model: str, dollars: float, context: int, provider: str = "up", **more: Any) -> OfferEntry:
    nano = int(dollars * NANO_PER_DOLLAR)
    capabilities = more.pop("capabilities", frozenset({"tools", "vision", "json_schema"}))
    return OfferEntry(
        model_id=model,
        provider=provider,
        dialect=DIALECTS["openai"],
        target=Target("http://127.0.0.1:9/v1", "sk-x", model, capabilities),
        price=PriceVersion(more.pop("price_id", 1), {"input": nano, "output": 4 * nano}, [], 2_500),
        context_length=context,
        max_output=min(context, 8_192),
        cancel_stops_billing=False,
        tokens_per_s=None,
        **more,
    )


def catalog(version: int = 1, **offers: Any) -> Catalog:
    """Of `MODELS`, each at one provider; of `offers` instead where there are any."""
    found = offers or {model: (offer(model, dollars, context),) for model, (dollars, context) in MODELS.items()}
    return Catalog(version, {model: entry(model, tuple(its)) for model, its in found.items()}, ())


def entry(model: str, offers: tuple[OfferEntry, ...]) -> ModelEntry:
    """A model at these offers, which sees where one of them does."""
    sees = any("vision" in each.target.capabilities for each in offers)
    return ModelEntry(model, model, 0, offers, modalities=TEXT | {"image"} if sees else TEXT)


def caller(models_allowed: frozenset[str] | None = None, organization_id: int = 1) -> Caller:
    return Caller(
        organization_id, 1, 1, 1, 1, "free", {}, {}, models_allowed, is_suspended=False, expires_at_unix_s=None
    )


def asked(
    body: dict[str, Any] | None = None,
    pins: dict[str, str] | None = None,
    models_allowed: frozenset[str] | None = None,
    **more: Any,
) -> Asked:
    chat = parse(**{"model": "neo-mode", "messages": CODE, **(body or {})})
    by = caller(models_allowed)
    return Asked(chat, 400, by, Preferences(pins or {}), session=session_of(chat, by), **more)


def brain(of: Catalog | None = None) -> Brain:
    """One that knows this catalogue."""
    made = Brain()
    made.ready = made.prepare(of or catalog())
    return made
