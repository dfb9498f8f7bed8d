"""`manage.py secrets reseal`: seals everything stored with the newest of CREDENTIAL_KEYS."""

from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from komilion.web.stored_secrets import do_reseal


class Command(BaseCommand):
    """Stored secrets."""

    help = "Seal provider credentials, second factors and kept answers with the newest key, so that older ones may go."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["reseal"])

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        done = do_reseal()
        self.stdout.write(f"{done.written} rows sealed with the newest key")
        if done.unreadable:
            raise CommandError(f"{done.unreadable} rows stay as they are: none of CREDENTIAL_KEYS opens them")
