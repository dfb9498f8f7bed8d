"""`manage.py advisor run|letters|close-address|open-address`: the advisor's digests and letters, by hand."""

from datetime import datetime
from typing import Any, override

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from accounts.queries import organization_of_email
from advisor.actions.digests import do_make_digest
from advisor.actions.letters import do_close_address, do_open_address, do_send_letters
from advisor.findings import find
from advisor.letter import TEMPLATE, write
from advisor.models import ClosedAddress, Letter
from advisor.queries import digests_of, has_digest, is_ready, letters_by_state, letters_of, organizations_without
from advisor.weeks import is_over, monday_of, week_of
from komilion.common.clock import utc_now
from komilion.common.mail import bodies


class Command(BaseCommand):
    """The advisor."""

    help = (
        "Make and send the digests of a week, or print them (run); count its letters (letters); stop or resume sending "
        "letters to an address (close-address, open-address)."
    )

    @override
    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        run = actions.add_parser("run", help="make what is missing of a week's digests, and send their letters")
        run.add_argument("--org", metavar="EMAIL", help="only the organization that this person owns")
        run.add_argument("--week", help="such as 2026-W47; by default the one that runs")
        run.add_argument("--dry-run", action="store_true", help="print the letters; keep and send nothing")
        letters = actions.add_parser("letters", help="how many letters of a week are in which state")
        letters.add_argument("--week", help="such as 2026-W47; by default the one that runs")
        close = actions.add_parser("close-address", help="send no letter of the advisor there any more")
        close.add_argument("address")
        close.add_argument("--why", choices=ClosedAddress.Why.values, default=ClosedAddress.Why.COMPLAINT.value)
        actions.add_parser("open-address", help="send letters there again").add_argument("address")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        action = str(options["action"])
        if action in {"close-address", "open-address"}:
            self._address(action, options["address"], options.get("why", ""))
            return
        now = utc_now()
        week = options["week"] or week_of(now)
        try:
            monday_of(week)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if action == "letters":
            self._count(week)
        else:
            self._run(week, options["org"], now, is_dry=options["dry_run"])

    def _run(self, week: str, email: str | None, now: datetime, *, is_dry: bool) -> None:
        organization_ids = self._wanted(week, email)
        if not is_ready(week):
            raise CommandError(f"The evidence does not reach up to {week} yet.")
        if is_dry:
            for organization_id in organization_ids:
                self._print(organization_id, week, now)
            return
        if is_over(week, now):
            raise CommandError(f"{week} is over, so its letters are not sent any more; --dry-run prints them.")
        made = sum(_make(organization_id, week, now) for organization_id in organization_ids)
        done = do_send_letters(organization_ids[0] if email else None)
        self.stdout.write(f"{made} digests made, {done.sent} letters sent, {done.failed} failed")
        if done.trouble:
            raise CommandError(f"The mail server takes nothing now, the rest waits: {done.trouble}")

    def _wanted(self, week: str, email: str | None) -> list[int]:
        if email is None:
            return organizations_without(week)
        organization = organization_of_email(email)
        if organization is None:
            raise CommandError(f"No organization belongs to {email}")
        return [organization.pk]

    def _print(self, organization_id: int, week: str, now: datetime) -> None:
        """What would go out, made as it always is and then undone."""
        with transaction.atomic():
            _make(organization_id, week, now)
            letters = letters_of(organization_id, week)
            for letter in letters:
                written = write(letter)
                text, _ = bodies(TEMPLATE, written.context, subject=written.subject)
                state = "" if letter.state == Letter.State.WAITING else f" ({letter.get_state_display().lower()})"
                self.stdout.write(f"To: {letter.user.email}{state}\nSubject: {written.subject}\n\n{text}")
            if not letters:
                self.stdout.write(f"organization {organization_id}: nothing worth a letter in {week}")
            transaction.set_rollback(True)

    def _count(self, week: str) -> None:
        digests, silent = digests_of(week)
        states = "".join(f", {count} {state.replace('_', ' ')}" for state, count in letters_by_state(week).items())
        self.stdout.write(f"{week}: {digests} digests, {silent} of them silent; letters{states.lstrip(',') or ' none'}")

    def _address(self, action: str, address: str, why: str) -> None:
        try:
            validate_email(address)
        except ValidationError as error:
            raise CommandError(f"{address} is no address") from error
        if action == "close-address":
            do_close_address(address, ClosedAddress.Why(why))
            self.stdout.write(f"no letters go to {address} any more")
        elif do_open_address(address):
            self.stdout.write(f"letters go to {address} again")
        else:
            raise CommandError(f"{address} was not closed")


def _make(organization_id: int, week: str, now: datetime) -> bool:
    if has_digest(organization_id, week):
        return False
    found = find(organization_id, week)
    return do_make_digest(organization_id, week, found.recommendations, found.figures, now) is not None
