"""Changing the catalogue: every change raises its version, and every worker follows before its next call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import F

from billing.actions.prices import do_record_price
from komilion import env
from komilion.common import news
from komilion.common.clock import utc_now
from komilion.common.credentials import FITS_A_HEADER, fits_a_header
from komilion.common.redis import publish_catalog_version
from routing.catalog.credentials import encrypt
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.providers.registry import DIALECTS

# Audio and files join with their prices: what has no price is refused before the call.
CAPABILITIES = ("tools", "vision", "json_schema", "reasoning", "max_completion_tokens", "no_sampling")
DEFAULT_CAPABILITIES = ("tools", "vision", "json_schema")
RESERVED_VENDORS = ("neo-mode", "auto")


class CatalogError(ValueError):
    """The change makes no sense; the message names the field."""


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
    """A model at a provider; prices in nano-USD per million tokens by usage bucket."""

    model_id: str
    provider: str
    components: Mapping[str, int]
    upstream_id: str = ""
    name: str = ""
    context_length: int = 128_000
    max_output: int = 8_192
    capabilities: Sequence[str] = DEFAULT_CAPABILITIES
    tokens_per_s: int | None = None


def nano_per_million(usd_per_million: str) -> int:
    """`"3.00"` dollars per million tokens -> nano-USD per million tokens, exact."""
    try:
        nano = Decimal(usd_per_million) * 10**9
    except ArithmeticError as error:
        raise CatalogError(f"price {usd_per_million!r} is not a number") from error
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value() or nano > 10**15:
        raise CatalogError(f"price {usd_per_million!r} must be from 0 to 1000000 with at most 9 decimals")
    return int(nano)


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
    if spec.dialect is not None and spec.dialect not in DIALECTS:
        raise CatalogError(f"dialect {spec.dialect!r} is not one of {', '.join(DIALECTS)}")
    if not spec.name or len(spec.name) > 64 or not spec.name.isprintable() or "/" in spec.name:
        raise CatalogError("the provider's name must be 1 to 64 printable characters without a slash")
    if not fits_a_header((spec.api_key or "").strip()):
        raise CatalogError(f"the API key must be {FITS_A_HEADER}")
    if spec.api_key_env:
        env.api_key(spec.api_key_env)


def do_put_offer(spec: OfferSpec) -> None:
    """Add the model at that provider or change it to this; a new price holds from now on. Raises `CatalogError`."""
    _check_offer(spec)
    with transaction.atomic():
        provider = Provider.objects.filter(pk=spec.provider).first()
        if provider is None:
            raise CatalogError(f"there is no provider {spec.provider!r}; add it first")
        model, is_new = Model.objects.get_or_create(
            pk=spec.model_id, defaults={"name": spec.name or spec.model_id.partition("/")[2]}
        )
        if not is_new and spec.name and model.name != spec.name:
            Model.objects.filter(pk=model.pk).update(name=spec.name, shipped="")
        offer, _ = Offer.objects.update_or_create(
            model=model,
            provider=provider,
            defaults={
                "upstream_id": spec.upstream_id or spec.model_id.partition("/")[2],
                "context_length": spec.context_length,
                "max_output": spec.max_output,
                "capabilities": list(spec.capabilities),
                "tokens_per_s": spec.tokens_per_s,
                "shipped": "",
            },
        )
        price = do_record_price(spec.components)
        _price_from_now_on(offer, price.pk)
        raise_version()


def _price_from_now_on(offer: Offer, price_id: int) -> None:
    """One price for the whole day, in place of what was announced for later."""
    now = utc_now()
    offer.prices.filter(effective_from__gt=now).delete()
    newest = list(offer.prices.order_by("-effective_from", "-pk").values_list("effective_from", "price_id"))
    in_force = [price for since, price in newest if since == newest[0][0]]
    if in_force != [price_id]:
        OfferPrice.objects.create(offer=offer, price_id=price_id, effective_from=now)


def _check_offer(spec: OfferSpec) -> None:
    vendor, slash, name = spec.model_id.partition("/")
    if not vendor or not slash or not name or len(spec.model_id) > 200 or not spec.model_id.isprintable():
        raise CatalogError(f"model {spec.model_id!r} must look like vendor/name")
    if vendor in RESERVED_VENDORS:
        raise CatalogError(f"{vendor}/... are names of this gateway; take another vendor")
    unknown = set(spec.capabilities) - set(CAPABILITIES)
    if unknown:
        raise CatalogError(f"unknown capabilities: {', '.join(sorted(unknown))}; known: {', '.join(CAPABILITIES)}")
    if not 1 <= spec.max_output <= spec.context_length <= 100_000_000:
        raise CatalogError("context and max output must satisfy 1 <= max output <= context <= 100000000")


def raise_version() -> None:
    """Count the change inside its transaction and tell the workers after it."""
    CatalogVersion.objects.get_or_create(pk=1)
    CatalogVersion.objects.filter(pk=1).update(version=F("version") + 1)
    version = CatalogVersion.objects.values_list("version", flat=True).get(pk=1)

    def tell() -> None:
        publish_catalog_version(version)
        news.publish({"kind": "catalog_changed", "version": version})

    transaction.on_commit(tell)
