"""`manage.py model add|disable|enable|remove VENDOR/NAME`: models and who offers them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.actions.catalog import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    NEW_OFFER,
    VOICE_CAPABILITIES,
    OfferSpec,
    do_put_offer,
    nano_per_million,
    nano_per_million_ms,
)
from routing.actions.errors import CatalogError
from routing.actions.offer_prices import NEEDED
from routing.actions.service import do_remove_model, do_switch_model

PRICES = {
    "input": "input_price",
    "cache_read": "cache_read_price",
    "cache_write": "cache_write_price",
    "cache_write_1h": "cache_write_1h_price",
    "output": "output_price",
    "input_audio": "audio_input_price",
    "cache_read_audio": "audio_cache_read_price",
    "output_audio": "audio_output_price",
    "input_image": "image_input_price",
    "cache_read_image": "image_cache_read_price",
    "characters": "character_price",
}
TIER = ("input", "output", "cache_read")  # what follows the threshold


class Command(BaseCommand):
    """Models and their offers."""

    help = "Add a model at a provider, or change what is named of it; take models out of service and back."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="action", required=True)
        add = verbs.add_parser("add", help="add an offer, or change what is named; prices are US dollars per million")
        add.add_argument("model", metavar="VENDOR/NAME")
        add.add_argument("--provider", required=True)
        add.add_argument("--name", default="", help="for people; default: NAME")
        add.add_argument("--upstream-id", default="", help="what the provider calls it; default: NAME")
        for bucket, option in PRICES.items():
            needed = "; needed for a new one for chat" if bucket in {"input", "output"} else ""
            add.add_argument(f"--{option.replace('_', '-')}", metavar="USD", help=f"of {bucket}{needed}")
        add.add_argument("--second-price", metavar="USD", help="of one second of speech, heard or spoken")
        add.add_argument("--add-on-price", metavar="USD", help="of one second that is heard, for each of its add-ons")
        tiers = add.add_mutually_exclusive_group()
        tiers.add_argument(
            "--tier",
            action="append",
            metavar="ABOVE:INPUT:OUTPUT[:CACHE_READ]",
            help="prices of a request with more input tokens; repeat it for each tier, they replace all that were",
        )
        tiers.add_argument("--no-tiers", action="store_true", help="one price however long the input is")
        add.add_argument("--from", dest="since", metavar="DATE", help="when the prices begin (UTC); default: now")
        add.add_argument("--kind", default="", choices=["", *NEEDED], help="of a new model; default: chat")
        add.add_argument("--context", type=int, help=f"tokens; default: {NEW_OFFER['context_length']}")
        add.add_argument("--max-output", type=int, help=f"tokens; default: {NEW_OFFER['max_output']}")
        add.add_argument("--tokens-per-s", type=int, help="of output, for the time limit of an answer")
        add.add_argument(
            "--capabilities",
            help=f"comma-separated, of: {', '.join((*CAPABILITIES, *VOICE_CAPABILITIES))};"
            f" default: {','.join(DEFAULT_CAPABILITIES)} for chat, else none",
        )
        for verb, what in (
            ("disable", "do not call it any more, at one provider or at all"),
            ("enable", "call it again"),
            ("remove", "take what an operator added away, at one provider or at all"),
        ):
            other = verbs.add_parser(verb, help=what)
            other.add_argument("model", metavar="VENDOR/NAME")
            other.add_argument("--provider", default="", help="default: all")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError`."""
        model, provider, action = options["model"], options["provider"], options["action"]
        where = f"model {model} at {provider}" if provider else f"model {model}"
        try:
            if action == "add":
                self._add(where, options)
            elif action == "remove":
                do_remove_model(model, provider)
                self.stdout.write(f"{where} is removed")
            else:
                do_switch_model(model, provider, is_disabled=action == "disable")
                self.stdout.write(f"{where} is {action}d")
        except CatalogError as error:
            raise CommandError(str(error)) from error

    def _add(self, where: str, options: Mapping[str, Any]) -> None:
        is_new, changes = do_put_offer(_spec(options))
        self.stdout.write(where if is_new or changes else f"{where}: nothing changed")
        for what, old, new in changes:
            self.stdout.write(f"  {what}: {old} -> {new}")


def _spec(options: Mapping[str, Any]) -> OfferSpec:
    """Raises `CatalogError`."""
    names = options["capabilities"]
    given = {bucket: options[option] for bucket, option in PRICES.items()}
    components = {bucket: nano_per_million(usd) for bucket, usd in given.items() if usd is not None}
    by_second = {"audio_ms": options["second_price"], "add_on_ms": options["add_on_price"]}
    components |= {bucket: nano_per_million_ms(usd) for bucket, usd in by_second.items() if usd is not None}
    tiers = [] if options["no_tiers"] else options["tier"] and [_tier(text) for text in options["tier"]]
    return OfferSpec(
        model_id=options["model"],
        provider=options["provider"],
        name=options["name"],
        upstream_id=options["upstream_id"],
        kind=options["kind"],
        components=components,
        context_length=options["context"],
        max_output=options["max_output"],
        capabilities=None if names is None else [name.strip() for name in names.split(",") if name.strip()],
        tokens_per_s=options["tokens_per_s"],
        tiers=tiers,
        since=options["since"] and _moment(options["since"]),
    )


def _tier(text: str) -> tuple[int, dict[str, int]]:
    above, *prices = text.split(":")
    if not (above.isascii() and above.isdigit()) or not 2 <= len(prices) <= len(TIER):
        raise CatalogError(f"tier {text!r} must look like 200000:6.00:22.50 or 200000:6.00:22.50:0.60")
    return int(above), {bucket: nano_per_million(usd) for bucket, usd in zip(TIER, prices, strict=False)}


def _moment(text: str) -> datetime:
    """A day is its midnight; what names no zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CatalogError(f"{text!r} must look like 2026-12-01 or 2026-12-01T08:30") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
