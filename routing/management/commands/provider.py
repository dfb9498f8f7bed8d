"""`manage.py provider add NAME`: adds a provider, or changes it."""

from argparse import BooleanOptionalAction
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.actions.catalog import CatalogError, ProviderSpec, do_put_provider
from routing.catalog.models import Provider
from routing.catalog.queries import key_of


class Command(BaseCommand):
    """Providers."""

    help = "Add a provider, or change it when there is one of that name."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["add"])
        parser.add_argument("name")
        parser.add_argument("--base-url", help="needed for a new one")
        parser.add_argument("--dialect", help="default: openai")
        key = parser.add_mutually_exclusive_group()
        key.add_argument("--api-key", help='stored encrypted; "" is none')
        key.add_argument("--api-key-env", help="name of the environment variable that holds the key")
        parser.add_argument(
            "--cancel-stops-billing",
            action=BooleanOptionalAction,
            help="closing the connection stops the provider's meter: cancel instead of draining",
        )
        parser.add_argument("--pass-unknown", action=BooleanOptionalAction, help="forward parameters nobody knows")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        fields = ("name", "base_url", "dialect", "api_key", "api_key_env", "cancel_stops_billing", "pass_unknown")
        try:
            do_put_provider(ProviderSpec(**{field: options[field] for field in fields}))
        except CatalogError as error:
            raise CommandError(str(error)) from error
        provider = Provider.objects.get(pk=options["name"])
        self.stdout.write(f"provider {provider} at {provider.base_url}, key: {key_of(provider)}")
