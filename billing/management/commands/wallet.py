"""`manage.py wallet show EMAIL`: what an organization has. `wallet remove-test-credit`: before payments become real."""

import json
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.queries import organization_of_email
from billing.actions.remove_test_credit import do_remove_test_credit
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from billing.payments.leftovers import credit_left
from billing.queries import wallet_summary
from komilion.common.money import format_usd


class Command(BaseCommand):
    """Wallets."""

    help = (
        "Show the wallet of the organization that a person owns: available, held, paid, promo, debt in US dollars "
        "(show EMAIL); or take what is left of test money's credit out of every wallet (remove-test-credit)."
    )

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["show", "remove-test-credit"])
        parser.add_argument("email", nargs="?")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        is_show = options["action"] == "show"
        if is_show != (options["email"] is not None):
            raise CommandError("show takes the address of an owner, remove-test-credit takes none")
        if is_show:
            self._show(options["email"], as_json=options["json"])
        else:
            self._remove_test_credit()

    def _show(self, email: str, *, as_json: bool) -> None:
        organization = organization_of_email(email)
        if organization is None:
            raise CommandError(f"No organization belongs to {email}")
        summary = wallet_summary(organization.pk)
        if as_json:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write("\n".join(f"{name:10}{amount}" for name, amount in summary.items()))

    def _remove_test_credit(self) -> None:
        try:
            for wallet_id, amount in do_remove_test_credit(actor="manage.py"):
                self.stdout.write(f"wallet {wallet_id}: {format_usd(amount)} US dollars taken")
        except (MovementRefused, StoreBusy, StoreUnavailable) as error:
            raise CommandError(f"Not all was taken, run it again: {error}") from error
        if left := credit_left():
            held = format_usd(sum(left.values()))
            raise CommandError(f"{held} US dollars are held by calls: run it again when they ended, see holds reap")
        self.stdout.write("no test money is left")
