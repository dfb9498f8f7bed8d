"""`manage.py model add VENDOR/NAME --provider NAME`: adds a model at a provider, or changes it."""

from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.actions.catalog import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    CatalogError,
    OfferSpec,
    do_put_offer,
    nano_per_million,
)


class Command(BaseCommand):
    """Models and their offers."""

    help = "Add a model at a provider, or change it; prices are US dollars per million tokens."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["add"])
        parser.add_argument("model", metavar="VENDOR/NAME")
        parser.add_argument("--provider", required=True)
        parser.add_argument("--upstream-id", default="", help="what the provider calls it; default: NAME")
        parser.add_argument("--input-price", required=True)
        parser.add_argument("--output-price", required=True)
        parser.add_argument("--context", type=int, default=128_000, help="tokens")
        parser.add_argument("--max-output", type=int, default=8_192, help="tokens")
        parser.add_argument(
            "--capabilities",
            default=",".join(DEFAULT_CAPABILITIES),
            help=f"comma-separated, of: {', '.join(CAPABILITIES)}",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            do_put_offer(
                OfferSpec(
                    model_id=options["model"],
                    provider=options["provider"],
                    upstream_id=options["upstream_id"],
                    components={
                        "input": nano_per_million(options["input_price"]),
                        "output": nano_per_million(options["output_price"]),
                    },
                    context_length=options["context"],
                    max_output=options["max_output"],
                    capabilities=[name.strip() for name in options["capabilities"].split(",") if name.strip()],
                )
            )
        except CatalogError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"model {options['model']} at {options['provider']}")
