"""`manage.py provider list` and `provider add|disable|enable|remove NAME`: upstream APIs."""

from argparse import BooleanOptionalAction
from collections.abc import Iterator, Mapping
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count

from routing.actions.catalog import ProviderSpec, do_put_provider
from routing.actions.errors import CatalogError
from routing.actions.service import do_remove_provider, do_switch_provider
from routing.catalog.models import Provider
from routing.catalog.queries import key_of

FIELDS = ("name", "base_url", "dialect", "api_key", "api_key_env", "cancel_stops_billing", "pass_unknown")


class Command(BaseCommand):
    """Providers."""

    help = "Add a provider, or change what is named of it; take providers out of service and back."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="action", required=True)
        verbs.add_parser("list", help="each with its dialect, address, where its key comes from, and what it offers")
        add = verbs.add_parser("add", help="add one, or change what is named of it")
        add.add_argument("name")
        add.add_argument("--base-url", help="needed for a new one")
        add.add_argument("--dialect", help="default: openai")
        key = add.add_mutually_exclusive_group()
        key.add_argument("--api-key", help='stored encrypted; "" is none')
        key.add_argument("--api-key-env", help="name of the environment variable that holds the key")
        add.add_argument(
            "--cancel-stops-billing",
            action=BooleanOptionalAction,
            help="closing the connection stops the provider's meter: cancel instead of draining",
        )
        add.add_argument("--pass-unknown", action=BooleanOptionalAction, help="forward parameters nobody knows")
        for verb, what in (
            ("disable", "do not call it any more"),
            ("enable", "call it again"),
            ("remove", "take one that an operator added away, with all that it offers"),
        ):
            verbs.add_parser(verb, help=what).add_argument("name")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError`."""
        action = options["action"]
        if action == "list":
            for line in _listed():
                self.stdout.write(line)
            return
        name = options["name"]
        try:
            if action == "add":
                self._add(options)
            elif action == "remove":
                models = do_remove_provider(name)
                self.stdout.write(f"provider {name} is removed{', and with it ' * bool(models)}{', '.join(models)}")
            else:
                do_switch_provider(name, is_disabled=action == "disable")
                self.stdout.write(f"provider {name} is {action}d")
        except CatalogError as error:
            raise CommandError(str(error)) from error

    def _add(self, options: Mapping[str, Any]) -> None:
        do_put_provider(ProviderSpec(**{field: options[field] for field in FIELDS}))
        provider = Provider.objects.get(pk=options["name"])
        self.stdout.write(f"provider {provider} at {provider.base_url}, key: {key_of(provider)}")


def _listed() -> Iterator[str]:
    """A line for each provider: name, dialect, address, where its key comes from, offers, and whether it is off."""
    for provider in Provider.objects.annotate(offered=Count("offers")).order_by("order", "name"):
        off = "  disabled" if provider.is_disabled else ""
        where = f"{provider.name}  {provider.dialect}  {provider.base_url}"
        yield f"{where}  key: {key_of(provider)}  {provider.offered} offers{off}"
