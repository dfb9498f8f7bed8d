"""Sending letters to a real mail server: each once, whatever happens in between."""

from datetime import timedelta
from itertools import count
from threading import Barrier, Thread

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from pytest_django import Settings

from accounts.models import Membership, Organization
from advisor.actions.letters import LEASE, SERVER_PAUSE, TRIES_MOST, do_close_address, do_open_address, do_send_letters
from advisor.actions.wishes import do_set_wishes
from advisor.models import ClosedAddress, Letter, MailWishes
from komilion.common.clock import utc_now
from komilion.mail_url import mailers
from tests.advisor.letters.delivering import MONDAY, MailServer, letter_to, made
from tests.people import Person


@pytest.fixture(autouse=True)
def _on_monday(alice: Person, bob: Person, request: pytest.FixtureRequest):
    """A digest with a letter to Alice and one to Bob, at nine."""
    with time_machine.travel(MONDAY, tick=False) as clock:
        made(alice)
        request.node.clock = clock
        yield


@pytest.fixture
def clock(request: pytest.FixtureRequest, _on_monday: None) -> time_machine.Traveller:
    return request.node.clock


def test_each_member_gets_one(alice: Person, bob: Person, mail_server: MailServer):
    assert do_send_letters().sent == 2
    assert do_send_letters().sent == 0
    assert sorted(message["To"] for message in mail_server.took) == [alice.email, bob.email]
    letter = letter_to(alice)
    assert (letter.state, letter.sent_at, letter.tries, letter.leased_until) == ("sent", MONDAY, 1, None)


def test_the_headers_say_what_it_is_and_how_to_stop_it(alice: Person, mail_server: MailServer):
    do_send_letters()
    (message,) = mail_server.to(alice.email)
    assert message["Message-ID"] == letter_to(alice).message_id
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    off = message["List-Unsubscribe"]
    assert off.startswith("<http://127.0.0.1:8000/advice/letters/l.")
    assert off.endswith(">")
    assert alice.browser.post(off.strip("<>").removeprefix("http://127.0.0.1:8000")).status_code == 200
    assert MailWishes.objects.get(membership_id=alice.membership_id).often == "off"


def test_over_the_wire_no_header_is_in_encoded_words(mail_server: MailServer):
    """Python folds long headers so, and mail programs do not look for an address in there."""
    do_send_letters()
    headers = mail_server.raw[0].partition(b"\r\n\r\n")[0]
    assert b"=?" not in headers
    assert b"\r\nList-Unsubscribe: <http://127.0.0.1:8000/advice/letters/l." in headers
    assert max(map(len, headers.split(b"\r\n"))) < 998


def test_the_picture_stands_with_the_html_that_shows_it(alice: Person, mail_server: MailServer):
    do_send_letters()
    (message,) = mail_server.to(alice.email)
    assert message.get_content_type() == "multipart/alternative"
    text, related = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert related.get_content_type() == "multipart/related"
    html, picture = related.iter_parts()
    assert picture.get_content_type() == "image/png"
    assert picture["Content-Disposition"].content_disposition == "inline"
    assert f"cid:{picture['Content-ID'].strip('<>')}" in html.get_content()
    assert picture.get_content().startswith(b"\x89PNG")


def test_a_sender_that_died_after_sending_is_followed_by_the_same_letter(
    alice: Person, mail_server: MailServer, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
):
    def die(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("advisor.actions.letters.failpoint", die)
    with pytest.raises(KeyboardInterrupt):
        do_send_letters()
    monkeypatch.undo()
    assert letter_to(alice).state == "sending"
    assert do_send_letters().sent == 1, "Bob's; Alice's is leased"
    clock.shift(LEASE)
    assert do_send_letters().sent == 1
    twice = mail_server.to(alice.email)
    assert len(twice) == 2
    assert len({message["Message-ID"] for message in twice}) == 1
    assert twice[0].get_body(("html",)).get_content() == twice[1].get_body(("html",)).get_content()
    assert (Letter.objects.filter(state="sent").count(), letter_to(alice).tries) == (2, 2)


@pytest.mark.parametrize(
    "said",
    ["550 5.1.1 No such user here", "550 5.1.10 Recipient address has null MX", "550 no such user", "553 5.1.3 bad"],
)
def test_a_mailbox_that_is_not_there_closes_its_address(alice: Person, bob: Person, mail_server: MailServer, said: str):
    mail_server.says[alice.email] = said
    done = do_send_letters()
    assert (done.sent, done.failed) == (1, 1)
    assert letter_to(alice).state == "failed"
    closed = ClosedAddress.objects.get()
    assert (closed.address, closed.why) == (alice.email, "bounce")


@pytest.mark.parametrize(("said", "closes"), [("550 5.1.1 No such user", True), ("550 looks like spam", False)])
def test_what_is_said_after_the_letter_closes_an_address_where_it_names_the_mailbox(
    alice: Person, mail_server: MailServer, said: str, closes: bool
):
    mail_server.says_after_data[alice.email] = said
    assert do_send_letters().sent == 1, "Bob's"
    assert letter_to(alice).state == ("failed" if closes else "waiting")
    assert ClosedAddress.objects.exists() is closes


@pytest.mark.parametrize(
    "said",
    ["451 4.7.1 Try again later", "552 5.2.2 Mailbox full", "550 5.7.1 Relaying denied", "554 5.7.1 Looks like spam"],
)
def test_what_the_address_cannot_help_is_tried_again_and_closes_nothing(
    alice: Person, mail_server: MailServer, clock: time_machine.Traveller, said: str
):
    mail_server.says[alice.email] = said
    assert do_send_letters().failed == 0
    letter = letter_to(alice)
    assert (letter.state, letter.leased_until) == ("waiting", MONDAY + timedelta(minutes=5))
    assert said[4:] in letter.error
    assert do_send_letters().sent == 0
    clock.shift(timedelta(minutes=5))
    do_send_letters()
    assert letter_to(alice).leased_until == MONDAY + timedelta(minutes=15), "twice as long"
    del mail_server.says[alice.email]
    clock.shift(timedelta(minutes=10))
    assert do_send_letters().sent == 1
    assert (letter_to(alice).error, ClosedAddress.objects.count()) == ("", 0)


def test_one_that_cannot_be_written_waits_and_holds_up_no_other(
    alice: Person, bob: Person, mail_server: MailServer, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
):
    from advisor.letter import write

    def write_to_bob(letter: Letter) -> object:
        if letter.user.email == alice.email:
            raise KeyError("a role that nobody knows")
        return write(letter)

    monkeypatch.setattr("advisor.actions.letters.write", write_to_bob)
    assert do_send_letters().sent == 1
    assert (letter_to(alice).state, letter_to(alice).tries, letter_to(bob).state) == ("waiting", 1, "sent")
    monkeypatch.undo()
    clock.shift(LEASE)
    assert do_send_letters().sent == 1


def test_it_is_not_tried_for_ever(alice: Person, mail_server: MailServer, clock: time_machine.Traveller):
    mail_server.says[alice.email] = "451 4.7.1 Try again later"
    for _ in range(TRIES_MOST):
        assert letter_to(alice).state == "waiting"
        do_send_letters()
        clock.shift(timedelta(hours=13))
    assert (letter_to(alice).state, letter_to(alice).tries) == ("failed", TRIES_MOST)


def test_a_server_that_is_away_is_asked_once_a_run_and_costs_no_try(
    alice: Person, settings: Settings, mail_server: MailServer, clock: time_machine.Traveller
):
    from komilion.env import free_port

    there = settings.MAILERS
    settings.MAILERS = mailers(f"smtp://127.0.0.1:{free_port()}?tls=off", settings.DATA_DIR)
    done = do_send_letters()
    assert "refused" in done.trouble
    assert {letter.tries for letter in Letter.objects.all()} == {0}
    settings.MAILERS = there
    assert do_send_letters().sent == 1, "Bob's was never tried"
    clock.shift(SERVER_PAUSE)
    assert do_send_letters().sent == 1


def test_what_was_decided_since_it_was_written_holds(alice: Person, bob: Person, mail_server: MailServer):
    do_set_wishes(alice.membership_id, MailWishes.Often.OFF)
    Membership.objects.filter(pk=bob.membership_id).delete()
    assert do_send_letters().left_out == 2
    assert (letter_to(alice).error, letter_to(bob).error) == ("wants no letters", "no member any more")
    assert mail_server.took == []


def test_nobody_hears_of_a_suspended_organization(alice: Person, mail_server: MailServer):
    Organization.objects.update(suspended_at=utc_now())
    assert do_send_letters().left_out == 2


def test_an_address_that_is_closed_gets_nothing_until_it_is_opened(alice: Person, bob: Person, mail_server: MailServer):
    do_close_address(alice.email, ClosedAddress.Why.BOUNCE)
    do_close_address(bob.email, ClosedAddress.Why.BOUNCE)
    assert do_open_address(bob.email)
    assert not do_open_address(bob.email)
    assert do_send_letters().left_out == 1
    assert [message["To"] for message in mail_server.took] == [bob.email]


def test_a_complaint_stays_one(alice: Person):
    do_close_address(alice.email, ClosedAddress.Why.COMPLAINT)
    do_close_address(alice.email, ClosedAddress.Why.BOUNCE)
    assert ClosedAddress.objects.get().why == "complaint"


def test_a_bounce_becomes_a_complaint(alice: Person):
    do_close_address(alice.email, ClosedAddress.Why.BOUNCE)
    do_close_address(alice.email, ClosedAddress.Why.COMPLAINT)
    assert ClosedAddress.objects.get().why == "complaint"


def test_a_letter_of_last_week_does_not_go_out(mail_server: MailServer, clock: time_machine.Traveller):
    clock.move_to(MONDAY + timedelta(days=6, hours=15))
    assert do_send_letters().failed == 2
    assert mail_server.took == []


def test_a_run_ends_when_its_time_is_over(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch):
    """Each look at the clock is a second later than the one before."""
    seconds = count()
    monkeypatch.setattr("advisor.actions.letters.monotonic_s", lambda: float(next(seconds)))
    assert do_send_letters(within_s=2).sent == 1
    assert len(mail_server.took) == 1
    assert do_send_letters(within_s=0).sent == 0


def test_one_organization_can_be_sent_alone(alice: Person, charlie: Person, mail_server: MailServer):
    made(charlie)
    assert do_send_letters(charlie.organization_id).sent == 1
    assert [message["To"] for message in mail_server.took] == [charlie.email]


def test_letters_go_out_no_faster_than_the_setting_says(
    settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
):
    waited = []

    class Pause:
        def wait(self, timeout_s: float) -> None:
            waited.append(timeout_s)

    settings.ADVISOR_LETTERS_PER_S = 2
    monkeypatch.setattr("advisor.actions.letters.Event", Pause)
    moments = iter((0.0, 1.0, 1.0, 1.1, 2.0, 2.0, 2.9, 3.0))  # begun, then for each letter: looked, began, ended
    monkeypatch.setattr("advisor.actions.letters.monotonic_s", lambda: next(moments))
    do_send_letters()
    assert waited == [pytest.approx(0.4), 0.0], "one took a tenth of a second, the other longer than half of one"


def test_a_vendor_gets_the_picture_and_the_headers(alice: Person, mailoutbox: list[EmailMultiAlternatives]):
    """Its API is given the parts of a message, never the message as we compose it."""
    do_send_letters()
    message = mailoutbox[0]
    (picture,) = message.attachments
    assert picture["Content-Disposition"].content_disposition == "inline"
    assert message.extra_headers["Message-ID"] == letter_to(alice).message_id


@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_each_letter_once(settings: Settings, mail_server: MailServer):
    both = Barrier(2)

    def work() -> None:
        both.wait()
        do_send_letters()
        connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mail_server.took) == 2
    assert {letter.state for letter in Letter.objects.all()} == {"sent"}
