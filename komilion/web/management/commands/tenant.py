"""`manage.py tenant create EMAIL`: a tenant with a wallet and a key."""

from typing import Any, override

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.errors import AccountError
from accounts.models import Tier
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from komilion.common.money import InvalidAmount, format_usd, parse_usd
from komilion.web.tenants import do_open_tenant


class Command(BaseCommand):
    """Tenants."""

    help = "Create a tenant: organization, owner, wallet with paid credit, and an API key."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["create"])
        parser.add_argument("email")
        parser.add_argument("--credit", default="0", help="paid credit in US dollars, such as 10.00")
        parser.add_argument("--tier", choices=Tier.values, default=Tier.STANDARD.value)
        parser.add_argument("--print-key", action="store_true", help="print only the key")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            credit = parse_usd(options["credit"])
            tenant = do_open_tenant(options["email"], tier=options["tier"], credit_nano=credit, actor="command line")
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        except (InvalidAmount, AccountError, MovementRefused, StoreBusy, StoreUnavailable) as error:
            raise CommandError(str(error)) from error
        if options["print_key"]:
            self.stdout.write(tenant.key)
            return
        self.stdout.write(
            f"organization {tenant.organization.pk} ({tenant.organization.tier}) of {options['email']}\n"
            f"credit {format_usd(credit)} US dollars\n"
            f"key    {tenant.key}   (shown this once)"
        )
