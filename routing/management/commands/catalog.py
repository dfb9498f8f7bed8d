"""`manage.py catalog list | show NAME | reset NAME`: what is offered here, and whose word it is."""

from collections.abc import Iterator, Sequence
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.prices import PriceVersion, amounts
from komilion.common.clock import utc_now
from komilion.common.money import format_usd
from routing.actions.errors import CatalogError
from routing.actions.shipped import do_reset
from routing.catalog.load import read_catalog
from routing.catalog.models import DISABLED, Model, Offer, OfferPrice, Provider
from routing.catalog.queries import key_of
from routing.catalog.schedule import in_force
from routing.catalog.snapshot import Catalog, ModelEntry
from routing.catalog.voice import VoiceModel


class Command(BaseCommand):
    """Reads, but for `reset`."""

    help = "List the models that can be called, show one, or give a model or a provider back to the shipped catalogue."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="action", required=True)  # so that an option may stand before the name
        listing = verbs.add_parser("list", help="list the models that can be called")
        listing.add_argument("name", nargs="?", default="", help="a part of their ids")
        listing.add_argument("--all", action="store_true", help="also retired models and those without a key")
        show = verbs.add_parser("show", help="show one model")
        show.add_argument("name", nargs="?", default="", help="any name of it")
        reset = verbs.add_parser("reset", help="give a model or a provider back to the shipped catalogue")
        reset.add_argument("name", nargs="?", default="")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        name: str = options["name"]
        if options["action"] == "list":
            self._write(_listed(read_catalog(), name, everything=options["all"]))
        elif not name:
            raise CommandError(f"Which model? manage.py catalog {options['action']} VENDOR/NAME")
        elif options["action"] == "show":
            self._write(_shown(read_catalog(), name))
        else:
            try:
                do_reset(name)
            except CatalogError as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{name} is as the shipped catalogue says")

    def _write(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.stdout.write(line)


def _listed(catalog: Catalog, part: str, *, everything: bool) -> Iterator[str]:
    """A line for each model: id, kind, providers, list prices, state.

    Prices of chat are of input and output, in US dollars per million tokens; of others all, as `show` writes them.
    """
    for model in catalog.models.values():
        if part in model.id:
            price = model.offers[0].price.components
            figures = " / ".join(format_usd(price[bucket]) for bucket in ("input", "output") if bucket in price)
            yield f"{model.id}  chat  {_providers(model)}  {figures}{_state(model)}"
    for voice in catalog.voice.values():
        if part in voice.id:
            ends = f"  ends {voice.sunset_on.isoformat()}" if voice.sunset_on else ""
            yield f"{voice.id}  {voice.kind}  {_providers(voice)}  {amounts(voice.offers[0].price.components)}{ends}"
    if everything:
        yield from _left_out(catalog, part)


def _left_out(catalog: Catalog, part: str) -> Iterator[str]:
    """A line for each model and offer that cannot be called, and why."""
    for name, variables in sorted(catalog.off.items()):
        if part in name:
            yield f"{name}  {f'off: set {" or ".join(variables)}' if variables else 'disabled'}"
    for name, retired in sorted(catalog.retired.items()):
        if part in name:
            yield f"{name}  retired {retired.sunset_on.isoformat()}{_successor(retired.successor)}"
    called = [*catalog.models, *catalog.voice]
    for offer in Offer.objects.filter(DISABLED, model_id__in=called).order_by("model", "pk"):
        if part in offer.model_id:
            yield f"{offer}  disabled"


def _providers(model: ModelEntry | VoiceModel) -> str:
    return ", ".join(offer.provider for offer in model.offers)


def _state(model: ModelEntry) -> str:
    if model.sunset_on is None:
        return ""
    return f"  ends {model.sunset_on.isoformat()}{_successor(model.successor)}"


def _successor(successor: str | None) -> str:
    return f", successor {successor}" if successor else ""


def _shown(catalog: Catalog, name: str) -> Iterator[str]:
    """Everything about one model. Raises `CommandError` where the name means none."""
    known = catalog.canonical(name) or name
    row = Model.objects.filter(pk=known).first()
    if row is None:
        nearest = catalog.nearest(name)
        raise CommandError(f"There is no model {name!r}.{' Nearest: ' + ', '.join(nearest) if nearest else ''}")
    yield f"{row.pk}  {row.name}  ({_whose(row.shipped)}){_disabled(row)}"
    yield f"family {row.family or '-'}, line {row.line or row.pk}, released {row.released_on or '-'}"
    if row.sunset_on:
        yield f"ends {row.sunset_on.isoformat()}{_successor(row.successor)}"
    yield f"names: {', '.join(sorted(alias for alias, model in catalog.aliases.items() if model == row.pk))}"
    for offer in Offer.objects.filter(model=row).order_by("provider__order", "pk").select_related("provider"):
        off = _disabled(offer) or ("  provider disabled" if offer.provider.is_disabled else "")
        yield ""
        yield f"at {offer.provider_id} as {offer.upstream_id}  ({_whose(offer.shipped)}){off}"
        yield f"  key: {key_of(offer.provider)}"
        yield f"  context {offer.context_length}, longest answer {offer.max_output}"
        yield f"  can: {', '.join(offer.capabilities) or 'text'}"
        yield from _prices(list(offer.prices.order_by("effective_from", "pk").select_related("price")))


def _prices(rows: Sequence[OfferPrice]) -> Iterator[str]:
    """All that an offer had, has and will have, the earliest first; those of now are marked."""
    holds = in_force(rows, utc_now())
    for dated in rows:
        price = PriceVersion.from_row(dated.price)
        yield f"  {dated.when}: {amounts(price.components)}{'  (in force)' if dated == holds else ''}"
        for above, components in price.tiers:
            yield f"    above {above} input tokens: {amounts(components)}"


def _whose(mark: str) -> str:
    return "shipped" if mark else "yours"


def _disabled(row: Model | Offer | Provider) -> str:
    return "  disabled" if row.is_disabled else ""
