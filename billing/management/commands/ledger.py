"""`manage.py ledger verify`: re-derives every balance from postings and every charge from usage x price."""

from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.ledger.verify import differences, totals


class Command(BaseCommand):
    """The audit."""

    help = "Derive every balance and every charge again; exit 1 and name each difference."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["verify"])

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for line in differences():
            found += 1
            self.stdout.write(line)
        seen = ", ".join(f"{count} {name}" for name, count in totals().items())
        if found:
            raise CommandError(f"{found} differences in {seen}")
        self.stdout.write(f"no difference in {seen}")
