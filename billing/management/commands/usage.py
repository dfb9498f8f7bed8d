"""`manage.py usage rollup|verify`: the sums of usage rows, see docs/usage.md."""

from datetime import date
from typing import Any, override

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.actions.rollups import do_rebuild, do_roll_forward
from billing.rollups import Days, days_with_usage, differences, entries_behind
from komilion.common.clock import utc_now


class Command(BaseCommand):
    """Usage."""

    help = "Build the sums of usage rows (rollup), or compare them with the rows and the ledger (verify)."

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["rollup", "verify"])
        parser.add_argument("--from", type=date.fromisoformat, dest="first", help="first UTC day, such as 2026-11-22")
        parser.add_argument("--to", type=date.fromisoformat, dest="last", help="last UTC day, by default today")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        days = self._days(options["first"], options["last"])
        if options["action"] == "verify":
            self._verify(days)
            return
        passed = do_roll_forward()
        repaired = do_rebuild(days) if days is not None and options["first"] is not None else 0
        self.stdout.write(f"{passed} ledger entries added, {repaired} sums repaired, {entries_behind()} entries behind")

    def _days(self, first: date | None, last: date | None) -> Days | None:
        if first is None and last is not None:
            raise CommandError("--to needs --from")
        if first is None:
            return days_with_usage()
        days = Days(first, last or utc_now().date())
        if days.first > days.last:
            raise CommandError("--from is after --to")
        return days

    def _verify(self, days: Days | None) -> None:
        found = 0
        for line in [] if days is None else differences(days):
            found += 1
            self.stdout.write(line)
        if found:
            raise CommandError(f"{found} differences; manage.py usage rollup --from DAY repairs them")
        self.stdout.write(f"no difference, {entries_behind()} entries behind")
