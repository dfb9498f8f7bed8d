"""`manage.py advisor`: the same by hand."""

from io import StringIO

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives
from django.core.management import CommandError, call_command

from advisor.findings import Findings
from advisor.models import ClosedAddress, Digest
from tests.advisor.letters.delivering import CHEAPER, MONDAY, WEEK, built, figures, letter_to, made
from tests.people import Person


@pytest.fixture(autouse=True)
def _on_monday(monkeypatch: pytest.MonkeyPatch, alice: Person, charlie: Person):
    """Something is found for everybody."""
    monkeypatch.setattr("advisor.management.commands.advisor.find", lambda _, week: Findings([CHEAPER], figures(week)))
    built(WEEK, alice, charlie)
    with time_machine.travel(MONDAY, tick=False):
        yield


def advisor(*words: str) -> str:
    out = StringIO()
    call_command("advisor", *words, stdout=out)
    return out.getvalue()


def test_a_dry_run_prints_what_would_go_out_and_keeps_nothing(
    alice: Person, charlie: Person, mailoutbox: list[EmailMultiAlternatives]
):
    printed = advisor("run", "--org", alice.email, "--dry-run")
    assert f"To: {alice.email}\nSubject: " in printed
    assert "Let acme/mini answer summarization" in printed
    assert charlie.email not in printed
    assert charlie.email in advisor("run", "--dry-run")
    assert (Digest.objects.count(), len(mailoutbox)) == (0, 0)


def test_a_dry_run_of_what_was_made_prints_that(alice: Person):
    made(alice, said=())
    assert "nothing worth a letter" in advisor("run", "--org", alice.email, "--dry-run", "--week", WEEK)


def test_a_run_sends_what_is_missing_once(alice: Person, charlie: Person, mailoutbox: list[EmailMultiAlternatives]):
    assert advisor("run", "--org", alice.email) == "1 digests made, 1 letters sent, 0 failed\n"
    assert advisor("run", "--org", alice.email) == "0 digests made, 0 letters sent, 0 failed\n"
    assert advisor("run") == "1 digests made, 1 letters sent, 0 failed\n"
    assert [message.to for message in mailoutbox] == [[alice.email], [charlie.email]]


def test_letters_are_counted_by_their_state(alice: Person):
    assert advisor("letters") == f"{WEEK}: 0 digests, 0 of them silent; letters none\n"
    made(alice)
    assert advisor("letters") == f"{WEEK}: 1 digests, 0 of them silent; letters 1 waiting\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run", "--week", "2026-W60"], "no ISO week"),
        (["run", "--org", "nobody@example.com"], "No organization belongs to"),
        (["run", "--week", "2026-W48"], "does not reach up to 2026-W48"),
        (["close-address", "nonsense"], "is no address"),
        (["open-address", "nobody@example.com"], "was not closed"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], reason: str):
    with pytest.raises(CommandError, match=reason):
        advisor(*words)


def test_a_week_that_is_over_is_printed_only(alice: Person):
    built("2026-W48", alice)
    with pytest.raises(CommandError, match="is over"):
        advisor("run", "--week", "2026-W48")
    assert "Subject:" in advisor("run", "--week", "2026-W48", "--dry-run")


def test_an_address_is_closed_for_a_complaint_and_opened_again(alice: Person):
    advisor("close-address", "ALICE@example.com", "--why", "complaint")
    assert ClosedAddress.objects.get().why == "complaint"
    advisor("run")
    assert letter_to(alice).state == "left_out"
    advisor("open-address", alice.email)
    assert not ClosedAddress.objects.exists()


def test_a_mail_server_that_is_away_is_said(alice: Person, settings):
    from komilion.env import free_port
    from komilion.mail_url import mailers

    settings.MAILERS = mailers(f"smtp://127.0.0.1:{free_port()}?tls=off", settings.DATA_DIR)
    with pytest.raises(CommandError, match="takes nothing now"):
        advisor("run")
