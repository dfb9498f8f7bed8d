"""`manage.py holds reap`: expires what is overdue or whose process is gone."""

from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.reap import reap


class Command(BaseCommand):
    """Holds."""

    help = "Replay orphaned journals and expire holds that are overdue or whose process is gone."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["reap"])

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = reap()
        except (StoreBusy, StoreUnavailable) as error:
            raise CommandError(f"The database did not answer: {error}") from error
        self.stdout.write(f"{done.expired} holds expired, {done.replayed} settlements replayed")
