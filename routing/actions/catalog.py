"""Changing the catalogue: every change raises its version, and every worker follows before its next call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import F

from komilion import env
from komilion.common import news
from komilion.common.credentials import FITS_A_HEADER, fits_a_header
from komilion.common.redis import publish_catalog_version
from routing.actions.errors import CatalogError
from routing.actions.offer_prices import NEEDED, Change, do_price
from routing.catalog.credentials import encrypt
from routing.catalog.models import CatalogVersion, Model, Offer, Provider
from routing.providers.registry import DIALECTS, NAMES

# Audio and files join with their prices: what has no price is refused before the call.
CHAT = "chat"
CAPABILITIES = ("tools", "vision", "json_schema", "reasoning", "max_completion_tokens", "no_sampling")
DEFAULT_CAPABILITIES = ("tools", "vision", "json_schema")
VOICE_CAPABILITIES = ("diarization", "word_timestamps", "translation", "text_stream", "instructions")
RESERVED_VENDORS = ("neo-mode", "auto")
NEW_OFFER: Mapping[str, Any] = {
    "context_length": 128_000,
    "max_output": 8_192,
    "capabilities": list(DEFAULT_CAPABILITIES),
}


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A provider as an operator describes it; None is as it was, of a new one the default.

    `api_key` and `api_key_env` (the name of the variable that holds it) exclude each other; empty is no key.
    """

    name: str
    base_url: str | None = None
    dialect: str | None = None
    api_key: str | None = None
    api_key_env: str | None = None
    cancel_stops_billing: bool | None = None
    pass_unknown: bool | None = None


@dataclass(frozen=True, slots=True)
class OfferSpec:
    """A model at a provider; None or empty is as it was, of a new offer the default. A model's `kind` never changes.

    `components` are the prices that are named, in nano-USD per million tokens by usage bucket; `tiers` are (above so
    many input tokens, prices), in place of all that were. They hold from `since` on, by default from now on.
    """

    model_id: str
    provider: str
    components: Mapping[str, int]
    upstream_id: str = ""
    name: str = ""
    kind: str = ""
    context_length: int | None = None
    max_output: int | None = None
    capabilities: Sequence[str] | None = None
    tokens_per_s: int | None = None
    tiers: Sequence[tuple[int, Mapping[str, int]]] | None = None
    since: datetime | None = None


class Put(NamedTuple):
    """What became of a spec; `changes` are those of an offer that was there."""

    is_new: bool
    changes: list[Change]


def nano_per_million(usd_per_million: str) -> int:
    """`"3.00"` dollars per million tokens -> nano-USD per million tokens, exact."""
    try:
        nano = Decimal(usd_per_million) * 10**9
    except ArithmeticError as error:
        raise CatalogError(f"price {usd_per_million!r} is not a number") from error
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value() or nano > 10**15:
        raise CatalogError(f"price {usd_per_million!r} must be from 0 to 1000000 with at most 9 decimals")
    return int(nano)


def nano_per_million_ms(usd_per_second: str) -> int:
    """`"0.0001"` dollars per second of audio -> nano-USD per million milliseconds, exact."""
    try:
        return nano_per_million(str(Decimal(usd_per_second) * 1_000))
    except ArithmeticError as error:
        raise CatalogError(f"price {usd_per_second!r} is not a number") from error


def do_put_provider(spec: ProviderSpec) -> None:
    """Add the provider, or change what the spec names. Raises `CatalogError`, `ImproperlyConfigured` for a variable."""
    _check_provider(spec)
    with transaction.atomic():
        provider = Provider.objects.select_for_update().filter(pk=spec.name).first() or Provider(pk=spec.name)
        if spec.base_url is not None:
            provider.base_url, provider.base_url_env = spec.base_url.rstrip("/"), ""
        elif not provider.base_url:
            raise CatalogError(f"there is no provider {spec.name!r}; a new one needs a base URL")
        if spec.api_key is not None or spec.api_key_env is not None:
            provider.api_key_encrypted = encrypt((spec.api_key or "").strip())
            provider.api_key_env = spec.api_key_env or ""
        for field in ("dialect", "cancel_stops_billing", "pass_unknown"):
            if getattr(spec, field) is not None:
                setattr(provider, field, getattr(spec, field))
        provider.shipped = ""
        provider.save()
        raise_version()


def _check_provider(spec: ProviderSpec) -> None:
    if spec.base_url is not None:
        parts = urlsplit(spec.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise CatalogError(f"base URL {spec.base_url!r} must look like https://api.example.com/v1")
    if spec.dialect is not None and spec.dialect not in NAMES:
        raise CatalogError(f"dialect {spec.dialect!r} is not one of {', '.join(NAMES)}")
    if not spec.name or len(spec.name) > 64 or not spec.name.isprintable() or "/" in spec.name:
        raise CatalogError("the provider's name must be 1 to 64 printable characters without a slash")
    if not fits_a_header((spec.api_key or "").strip()):
        raise CatalogError(f"the API key must be {FITS_A_HEADER}")
    if spec.api_key_env:
        env.api_key(spec.api_key_env)


def do_put_offer(spec: OfferSpec) -> Put:
    """Add the model at that provider, or change what the spec names. Raises `CatalogError`."""
    _check_names(spec)
    with transaction.atomic():
        provider = Provider.objects.filter(pk=spec.provider).first()
        if provider is None:
            raise CatalogError(f"there is no provider {spec.provider!r}; add it first")
        changes = _put_model(spec)
        offer = Offer.objects.select_for_update().filter(model=spec.model_id, provider=provider).first()
        is_new = offer is None
        if offer is None:
            offer = _new_offer(Model.objects.get(pk=spec.model_id), provider)
        of_offer = _change(offer, spec)
        if not 1 <= offer.max_output <= offer.context_length <= 100_000_000:
            raise CatalogError("context and max output must satisfy 1 <= max output <= context <= 100000000")
        if is_new:
            offer.save()
        if is_new or spec.components or spec.tiers is not None:
            of_offer += do_price(offer, spec.components, spec.tiers, spec.since)
        elif spec.since is not None:
            raise CatalogError("a moment to begin at needs a price")
        if of_offer:
            offer.shipped = ""
            offer.save()
        changes += of_offer
        if is_new or changes:
            raise_version()
    return Put(is_new, [] if is_new else changes)


def _put_model(spec: OfferSpec) -> list[Change]:
    default = {"name": spec.name or spec.model_id.partition("/")[2], "kind": spec.kind or CHAT}
    model, is_new = Model.objects.get_or_create(pk=spec.model_id, defaults=default)
    if spec.kind and model.kind != spec.kind:
        raise CatalogError(f"model {spec.model_id} is of kind {model.kind}, and stays so")
    if is_new or not spec.name or model.name == spec.name:
        return []
    Model.objects.filter(pk=model.pk).update(name=spec.name, shipped="")
    return [Change("name", model.name, spec.name)]


def _new_offer(model: Model, provider: Provider) -> Offer:
    """Unsaved."""
    offer = Offer(model=model, provider=provider, upstream_id=model.pk.partition("/")[2], **NEW_OFFER)
    if model.kind != CHAT:
        offer.capabilities = []
    elif provider.dialect not in DIALECTS:
        raise CatalogError(f"provider {provider.pk!r} speaks {provider.dialect}, which has no chat; name a --kind")
    return offer


def _change(offer: Offer, spec: OfferSpec) -> list[Change]:
    """Make the offer's row what the spec names, prices aside; unsaved."""
    named = {
        "upstream_id": spec.upstream_id or None,
        "context_length": spec.context_length,
        "max_output": spec.max_output,
        "capabilities": None if spec.capabilities is None else list(spec.capabilities),
        "tokens_per_s": spec.tokens_per_s,
    }
    changes = []
    for field, value in named.items():
        old = getattr(offer, field)
        if value is not None and value != old:
            changes.append(Change(field.replace("_", " "), _text(old), _text(value)))
            setattr(offer, field, value)
    return changes


def _text(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _check_names(spec: OfferSpec) -> None:
    vendor, slash, name = spec.model_id.partition("/")
    if not vendor or not slash or not name or len(spec.model_id) > 200 or not spec.model_id.isprintable():
        raise CatalogError(f"model {spec.model_id!r} must look like vendor/name")
    if spec.kind not in {"", *NEEDED}:
        raise CatalogError(f"kind {spec.kind!r} is not one of {', '.join(NEEDED)}")
    if vendor in RESERVED_VENDORS:
        raise CatalogError(f"{vendor}/... are names of this gateway; take another vendor")
    known = (*CAPABILITIES, *VOICE_CAPABILITIES)
    unknown = set(spec.capabilities or ()) - set(known)
    if unknown:
        raise CatalogError(f"unknown capabilities: {', '.join(sorted(unknown))}; known: {', '.join(known)}")


def raise_version() -> None:
    """Count the change inside its transaction and tell the workers after it."""
    CatalogVersion.objects.get_or_create(pk=1)
    CatalogVersion.objects.filter(pk=1).update(version=F("version") + 1)
    version = CatalogVersion.objects.values_list("version", flat=True).get(pk=1)

    def tell() -> None:
        publish_catalog_version(version)
        news.publish({"kind": "catalog_changed", "version": version})

    transaction.on_commit(tell)
