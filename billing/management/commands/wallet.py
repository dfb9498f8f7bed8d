"""`manage.py wallet show EMAIL --json`: what an organization has."""

import json
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.queries import organization_of_email
from billing.queries import wallet_summary


class Command(BaseCommand):
    """The wallet of the organization that the person owns."""

    help = "Show a wallet: available, held, paid, promo, debt in US dollars."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["show"])
        parser.add_argument("email")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        organization = organization_of_email(options["email"])
        if organization is None:
            raise CommandError(f"No organization belongs to {options['email']}")
        summary = wallet_summary(organization.pk)
        if options["json"]:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(f"{name:10}{amount}" for name, amount in summary.items()))
