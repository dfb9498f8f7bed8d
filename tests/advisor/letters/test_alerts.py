"""Alerts: one for each model and trouble in a week, a mail at once to each member who wants to hear, and one click."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives
from django.core.management import call_command
from django.db import connection
from django.test import Client

from accounts.models import Organization, User
from advisor import tasks
from advisor.actions import alerts as module
from advisor.actions.alerts import do_alert
from advisor.actions.letters import LEASE, do_close_address, do_send_letters
from advisor.actions.wishes import do_set_wishes, do_stop_alerts
from advisor.advice import Kind
from advisor.alarms import Alarm
from advisor.alert_letter import write_alert
from advisor.landscape import forget_landscape
from advisor.letter import write
from advisor.models import Advice, Alert, ClosedAddress, Letter, MailWishes
from advisor.queries import earlier_advice
from advisor.watch import Warned, alarms, ill_of
from billing.models import LedgerEntry
from komilion.celery import app
from routing.catalog.models import Model, Provider
from routing.queries import forget_catalog_rows
from routing.selection.models import Pin
from tests.advisor.letters.delivering import CHEAPER, MailServer, letter_to, made
from tests.advisor.letters.troubles import ENDING, FAILING, LARGE, MINI, NOW, SLOW, about, calls, in_trouble, usual
from tests.people import Person, new_member, new_owner


@pytest.fixture(autouse=True)
def _on_wednesday(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """At two; another model can take the place."""
    monkeypatch.setattr(module, "warned", _warned)
    with time_machine.travel(NOW, tick=False) as clock:
        request.node.clock = clock
        yield


@pytest.fixture
def clock(request: pytest.FixtureRequest, _on_wednesday: None) -> time_machine.Traveller:
    return request.node.clock


def _warned(organization_id: int, found: Sequence[Alarm], ill: Any, now: Any) -> list[Warned]:
    return [Warned(alarm, [replace(about(alarm.kind), subject=alarm.model)]) for alarm in found]


def alert(person: Person, *found: Alarm, after: timedelta = timedelta()) -> list[Alert]:
    return do_alert(person.organization_id, found or [FAILING], [], NOW + after)


def of(person: Person) -> Letter:
    return Letter.objects.get(user__email=person.email, alert__isnull=False)


def text_to(person: Person) -> str:
    from komilion.common.mail import bodies

    written = write_alert(of(person))
    text, html = bodies(written.template, written.context, subject=written.subject)
    assert html is not None
    return " ".join(text.split())


def test_each_member_gets_a_mail_at_once(alice: Person, bob: Person, mail_server: MailServer):
    alert(alice)
    assert do_send_letters().sent == 2
    assert do_send_letters().sent == 0
    assert sorted(message["To"] for message in mail_server.took) == [alice.email, bob.email]
    assert mail_server.took[0]["Subject"].endswith(": acme/large is failing")


def test_who_wants_no_alerts_gets_none_and_who_wants_no_digests_does(alice: Person, bob: Person):
    do_set_wishes(alice.membership_id, MailWishes.Often.OFF)
    do_stop_alerts(bob.membership_id)
    alert(alice)
    assert (of(alice).state, of(bob).state) == ("waiting", "left_out")


def test_a_closed_address_gets_none(alice: Person, bob: Person):
    do_close_address(bob.email, ClosedAddress.Why.BOUNCE)
    alert(alice)
    assert (of(alice).state, of(bob).state) == ("waiting", "left_out")


def test_who_stopped_them_meanwhile_gets_none(alice: Person, bob: Person, mail_server: MailServer):
    alert(alice)
    do_stop_alerts(alice.membership_id)
    do_set_wishes(bob.membership_id, MailWishes.Often.OFF)
    assert (done := do_send_letters()).left_out == 1
    assert (done.sent, [message["To"] for message in mail_server.took]) == (1, [bob.email])


def test_the_same_trouble_is_told_once_in_seven_days(alice: Person):
    assert len(alert(alice)) == 1
    assert alert(alice, after=timedelta(minutes=15)) == []
    assert alert(alice, after=timedelta(days=6, hours=23)) == []
    assert len(alert(alice, after=timedelta(days=7))) == 1


def test_another_trouble_and_another_model_are_news(alice: Person):
    alert(alice)
    assert [each.kind for each in alert(alice, FAILING, SLOW)] == ["slow"]
    assert [each.model for each in alert(alice, replace(FAILING, model=MINI))] == [MINI]


def test_at_most_three_in_seven_days_the_most_urgent_first(alice: Person, charlie: Person):
    found = [replace(FAILING, model=f"acme/model-{number}") for number in range(5)]
    assert [each.model for each in alert(alice, *found)] == ["acme/model-0", "acme/model-1", "acme/model-2"]
    assert alert(alice, *found, after=timedelta(days=6)) == []
    assert len(alert(charlie, *found)) == 3
    assert [each.model for each in alert(alice, *found[2:], after=timedelta(days=7))] == [
        "acme/model-2",
        "acme/model-3",
        "acme/model-4",
    ]


def test_an_end_is_told_once(alice: Person):
    assert len(alert(alice, ENDING)) == 1
    assert alert(alice, ENDING, after=timedelta(days=11)) == []


def test_an_alert_is_of_one_organization(alice: Person, charlie: Person):
    alert(alice)
    assert Letter.objects.get().user.email == alice.email
    assert len(alert(charlie)) == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_at_once_one_tells(valkey_url: str):
    alice, both, told = new_owner("alice@example.com"), Barrier(2), []

    def work() -> None:
        both.wait()
        told.append(len(alert(alice)))
        connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0, 1]
    assert (Alert.objects.count(), Advice.objects.count(), Letter.objects.count()) == (1, 1, 1)


def test_of_an_organization_that_is_gone_nothing_is_told(alice: Person):
    assert do_alert(alice.organization_id + 99, [FAILING], [], NOW) == []


def test_alerts_go_out_before_digests_that_wait(alice: Person, bob: Person, mail_server: MailServer):
    made(alice)
    alert(alice)
    do_send_letters()
    assert [bool(re.search("failing", message["Subject"])) for message in mail_server.took] == [True] * 2 + [False] * 2


def test_one_organization_can_be_sent_alone(alice: Person, charlie: Person, mail_server: MailServer):
    alert(alice)
    alert(charlie)
    assert do_send_letters(charlie.organization_id).sent == 1
    assert [message["To"] for message in mail_server.took] == [charlie.email]


@pytest.mark.parametrize(("found", "hours"), [(FAILING, 6), (SLOW, 6), (ENDING, 274)])
def test_what_is_no_news_any_more_does_not_go_out(
    alice: Person, mail_server: MailServer, clock: time_machine.Traveller, found: Alarm, hours: int
):
    alert(alice, found)
    clock.move_to(NOW + timedelta(hours=hours))
    assert do_send_letters().failed == 1
    assert mail_server.took == []


def test_one_that_was_sent_and_not_marked_is_the_same_message_again(
    alice: Person, mail_server: MailServer, clock: time_machine.Traveller
):
    """As after a sender that died in between: its lease ends, and the letter goes out again."""
    alert(alice)
    do_send_letters()
    Letter.objects.update(state="sending", leased_until=NOW + LEASE)
    clock.move_to(NOW + LEASE)
    assert do_send_letters().sent == 1
    assert len({message["Message-ID"] for message in mail_server.took}) == 1
    assert len(mail_server.took) == 2


def test_one_click_stops_alerts_and_nothing_else(alice: Person, mail_server: MailServer):
    """RFC 8058; whoever only looks changes nothing."""
    alert(alice)
    do_send_letters()
    (message,) = mail_server.took
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    off = message["List-Unsubscribe"].strip("<>").removeprefix("http://127.0.0.1:8000")
    anybody = Client(enforce_csrf_checks=True)
    assert "Stop the alerts" in anybody.get(off).content.decode()
    assert not MailWishes.objects.exists()
    for _ in range(2):
        assert "No more alerts" in anybody.post(off, {"List-Unsubscribe": "One-Click"}).content.decode()
    row = MailWishes.objects.get()
    assert (row.membership_id, row.wants_alerts, row.often) == (alice.membership_id, False, "weekly")


def test_stopping_digests_by_their_link_leaves_alerts(alice: Person):
    made(alice)
    off = write(letter_to(alice)).context["off_url"].removeprefix("http://127.0.0.1:8000")
    Client().post(off)
    assert MailWishes.objects.get().wants_alerts


def test_the_link_to_pin_pins(alice: Person):
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("large", "mini"):
        prices = ("--input-price", "3.00", "--output-price", "15.00")
        call_command("model", "add", f"acme/{name}", "--provider", "acme", "--upstream-id", name, *prices)
    alert(alice)
    ((_, item),) = write_alert(of(alice)).context["choices"]
    path = item.accept.removeprefix("http://127.0.0.1:8000")
    assert Client().get(path).status_code == 200
    assert not Pin.objects.exists()
    assert Client().post(path).status_code == 200
    assert Pin.objects.values_list("task", "model").get() == ("summarization", MINI)
    ((_, item),) = write_alert(of(alice)).context["choices"]
    assert (item.accept, item.became) == ("", f"Accepted by {alice.email}.")


def test_what_failed_is_told_with_what_another_model_answered(alice: Person):
    alert(alice)
    text = text_to(alice)
    assert "Of the 60 calls that it was to answer since 13:15 (UTC), 31 failed." in text
    assert (
        "Another model answered 12 of them; the other 19 ended with an error. In the four weeks before, 1.2 of" in text
    )
    assert "For summarization: acme/mini" in text
    assert "4,312 calls in 28 days, $61.00 spent on them" in text


@pytest.mark.parametrize(("rescued", "words"), [(31, "so nobody got an error"), (0, "They ended with an error.")])
def test_all_and_none_have_words_of_their_own(alice: Person, rescued: int, words: str):
    alert(alice, replace(FAILING, figures={**FAILING.figures, "now_rescued": rescued}))
    assert words in text_to(alice)


def test_times_are_those_of_the_members_own_zone(alice: Person):
    User.objects.filter(email=alice.email).update(time_zone="Asia/Kolkata")
    alert(alice)
    assert "since 18:45 (IST)" in text_to(alice)


def test_what_is_slow_is_told_in_seconds(alice: Person):
    alert(alice, SLOW)
    assert "Since 12:45 (UTC) its answers take 3.1 times as long" in text_to(alice)
    assert "typically 6.5 seconds, 2.1 in the four weeks before" in text_to(alice)


def test_what_ends_is_told_with_its_day_and_successor(alice: Person):
    alert(alice, ENDING)
    assert write_alert(of(alice)).subject.endswith(": acme/large will be shut down on 14 December")
    text = text_to(alice)
    assert "Its maker names acme/large-2 as its successor." in text
    assert "No word comes" not in text


def test_where_nothing_can_take_its_place_that_is_said(alice: Person, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "warned", lambda _, found, *rest: [Warned(alarm, []) for alarm in found])
    alert(alice, replace(ENDING, figures={**ENDING.figures, "successor": ""}))
    assert "We know no other model that keeps the promise" in text_to(alice)
    assert "successor" not in text_to(alice)


def test_who_may_change_nothing_gets_no_link_to_pin(alice: Person):
    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    alert(alice)
    text = text_to(viewer)
    assert "Pin it" not in text
    assert "Owners and developers of the organization can pin a model." in text


def test_a_digest_of_the_week_shows_its_own_advice_alone_and_may_say_the_same(alice: Person):
    alert(alice)
    made(alice, said=(CHEAPER, about(Kind.FAILING)))
    assert len(write(letter_to(alice)).context["items"]) == 2
    assert {(row.kind, row.alert is None, row.state) for row in Advice.objects.all()} == {
        ("failing", False, "over"),
        ("cheaper", True, "open"),
        ("failing", True, "open"),
    }


def test_what_a_digest_said_is_over_when_an_alert_says_it_anew(alice: Person):
    made(alice, "2026-W48", said=(CHEAPER, about(Kind.FAILING)))
    alert(alice)
    assert {(row.week, row.kind, row.state) for row in Advice.objects.all()} == {
        ("2026-W48", "cheaper", "open"),
        ("2026-W48", "failing", "over"),
        ("2026-W49", "failing", "open"),
    }


def test_what_an_alert_said_is_known_to_the_digest_of_its_week(alice: Person):
    made(alice, "2026-W48")
    made(alice)
    alert(alice)
    known = earlier_advice(alice.organization_id, "2026-W49")
    assert [(row.week, row.kind) for row in known] == [("2026-W48", "cheaper"), ("2026-W49", "failing")]


# From rows to mails


def test_the_schedule_looks_in_each_quarter_of_an_hour():
    job = app.conf.beat_schedule["watch-models"]
    assert job["schedule"] == timedelta(minutes=15)
    for name in (job["task"], tasks.alert.name):
        assert app.amqp.router.route({}, name)["queue"].name == "advisor"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tasks run where they are asked for, with nothing made up."""
    from advisor.watch import warned

    forget_landscape()
    monkeypatch.setattr(module, "warned", warned)
    before, app.conf.task_always_eager = app.conf.task_always_eager, True
    yield
    app.conf.task_always_eager = before
    forget_landscape()


@pytest.mark.usefixtures("at_once")
def test_calls_that_fail_bring_a_mail_within_one_round(
    alice: Person, charlie: Person, mailoutbox: list[EmailMultiAlternatives]
):
    in_trouble(alice)
    usual(charlie)
    calls(charlie, NOW - timedelta(minutes=20), 100)
    for _ in range(2):
        tasks.watch()
        tasks.send_letters()
    (message,) = mailoutbox
    assert message.to == [alice.email]
    assert "Of the 60 calls that it was to answer since 13:15 (UTC), 30 failed." in " ".join(message.body.split())


def pays(person: Person) -> Person:
    LedgerEntry.objects.create(
        reference=f"topup-{person.organization_id}",
        kind=LedgerEntry.Kind.TOPUP,
        wallet_id=person.organization_id,
        amount_nano=10**9,
    )
    return person


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("paying", "others", "ill"), [(2, 1, []), (0, 3, []), (3, 0, [MINI])])
def test_a_model_is_kept_from_others_when_three_that_pay_are_alarmed_about_it(
    alice: Person, monkeypatch: pytest.MonkeyPatch, paying: int, others: int, ill: list[str]
):
    people = [new_owner(f"stranger-{number}@example.com") for number in range(paying + others)]
    for person in people[:paying]:
        pays(person)
    found = [(person.organization_id, replace(FAILING, model=MINI)) for person in people]
    found.append((alice.organization_id, FAILING))
    avoided = []
    monkeypatch.setattr(tasks, "alarms", lambda now, key=None: [each for each in found if key in {None, each[0]}])
    monkeypatch.setattr(module, "warned", lambda key, news, ill, now: avoided.append((key, sorted(ill))) or [])
    tasks.watch()
    assert dict(avoided)[alice.organization_id] == [LARGE, *ill]
    assert dict(avoided)[people[0].organization_id] == [MINI]


def test_what_ends_is_kept_from_everybody_whoever_uses_it(alice: Person):
    assert ill_of([(alice.organization_id, ENDING)]) == [LARGE]


@pytest.mark.usefixtures("at_once")
def test_what_was_told_of_late_is_not_recommended_in_place_of_something_else(
    alice: Person, monkeypatch: pytest.MonkeyPatch
):
    alert(alice, FAILING)
    avoided = []
    monkeypatch.setattr(module, "warned", lambda key, news, ill, now: avoided.append((news, sorted(ill))) or [])
    other = replace(SLOW, model=MINI)
    alert(alice, FAILING, other)
    assert avoided == [([other], [LARGE, MINI])]


@pytest.mark.usefixtures("at_once")
def test_nobody_tells_a_suspended_organization(alice: Person):
    in_trouble(alice)
    Organization.objects.update(suspended_at=NOW)
    tasks.watch()
    assert not Alert.objects.exists()


@pytest.mark.usefixtures("at_once")
def test_where_it_failed_for_one_the_others_are_told(alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch):
    def failing(organization_id: int, *rest: Any) -> list[Warned]:
        if organization_id == alice.organization_id:
            raise RuntimeError("crashed")
        return _warned(organization_id, *rest)

    monkeypatch.setattr(module, "warned", failing)
    for person in (alice, charlie):
        in_trouble(person)
    tasks.watch()
    assert Alert.objects.get().organization_id == charlie.organization_id


@pytest.fixture
def ending(at_once: None, alice: Person) -> None:
    """A shipped model that ends in twelve days, and one in fifteen."""
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("large", "mini", "late"):
        prices = ("--input-price", "3.00", "--output-price", "15.00")
        call_command("model", "add", f"acme/{name}", "--provider", "acme", "--upstream-id", name, *prices)
    Provider.objects.update(shipped="x")  # whose makers' dates hold
    Model.objects.filter(pk=LARGE).update(sunset_on=date(2026, 12, 14), successor=MINI)
    Model.objects.filter(pk="acme/late").update(sunset_on=date(2026, 12, 17))
    forget_catalog_rows()


@pytest.mark.usefixtures("ending")
def test_who_calls_or_has_pinned_a_model_that_ends_within_two_weeks_is_told(alice: Person, charlie: Person):
    dora, emil = new_owner("dora@example.com"), new_owner("emil@example.com")
    usual(alice, days=1)
    for person, model in ((charlie, LARGE), (dora, "acme/late")):
        Pin.objects.create(organization_id=person.organization_id, task="math", model=model, created_at=NOW)
    usual(emil, days=1, model="acme/late")
    found = alarms(NOW)
    assert [(key, alarm.kind, alarm.model) for key, alarm in found] == [
        (person.organization_id, Kind.ENDING, LARGE) for person in (alice, charlie)
    ]
    assert found[0][1].figures == {"ends_on": "2026-12-14", "successor": MINI}
    assert alarms(NOW, charlie.organization_id) == found[1:]


@pytest.mark.usefixtures("ending")
def test_its_end_is_mailed_once(alice: Person, mailoutbox: list[EmailMultiAlternatives]):
    usual(alice, days=1)
    for _ in range(2):
        tasks.watch()
        tasks.send_letters()
    (message,) = mailoutbox
    assert "acme/large will be shut down on 14 December" in message.subject
