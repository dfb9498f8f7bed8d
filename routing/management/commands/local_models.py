"""`manage.py local_models`: the local model server in the foreground, on its loopback port."""

from typing import Any, override

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing.local_models.server import serve


class Command(BaseCommand):
    """Serves until a signal."""

    help = "Serve the models that ship with Komilion on a loopback port, through OpenAI's API."
    requires_system_checks = ()

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.INSTANCE.local_models_port)

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = serve(options["port"])
        except OSError as error:
            raise CommandError(f"Port {options['port']}: {error.strerror}") from error
        if code:
            raise SystemExit(code)
