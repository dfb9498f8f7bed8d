"""Making digests: one for each organization and week, and for whom a letter is written."""

from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection

from advisor.actions.letters import do_close_address
from advisor.actions.wishes import do_set_wishes
from advisor.models import Advice, ClosedAddress, Digest, Letter, MailWishes
from tests.advisor.letters.delivering import CHEAPER, MONDAY, WEEK, letter_to, made
from tests.people import Person

NEXT = "2026-W50"


def test_a_digest_keeps_its_advice_and_has_a_letter_for_each_member(alice: Person, bob: Person, charlie: Person):
    digest = made(alice, now=MONDAY)
    assert not digest.is_silent
    advice = Advice.objects.get()
    assert (advice.organization_id, advice.week, advice.rank, advice.kind) == (
        alice.organization_id,
        WEEK,
        1,
        "cheaper",
    )
    assert (advice.saving_low_nano, advice.saving_mid_nano) == (21_000_000_000, 34_000_000_000)
    assert advice.expires_on.isoformat() == "2026-12-13"
    assert {(row.user.email, row.state) for row in digest.letters.all()} == {
        (alice.email, "waiting"),
        (bob.email, "waiting"),
    }


def test_the_second_to_make_it_makes_nothing(alice: Person):
    assert made(alice) is not None
    assert made(alice, said=()) is None
    assert (Digest.objects.count(), Advice.objects.count(), Letter.objects.count()) == (1, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_at_once_one_makes_it(valkey_url: str):
    from tests.people import new_owner

    alice = new_owner("alice@example.com")
    both, digests = Barrier(2), []

    def work() -> None:
        both.wait()
        digests.append(made(alice))
        connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(digest is None for digest in digests) == [False, True]
    assert (Digest.objects.count(), Advice.objects.count(), Letter.objects.count()) == (1, 1, 1)


def test_where_nothing_is_worth_saying_nobody_gets_a_letter(alice: Person):
    digest = made(alice, said=())
    assert digest.is_silent
    assert not Letter.objects.exists()


def test_a_member_who_wants_none_gets_none(alice: Person, bob: Person):
    do_set_wishes(bob.membership_id, MailWishes.Often.OFF)
    made(alice)
    assert (letter_to(alice).state, letter_to(bob).state) == ("waiting", "left_out")


def test_a_closed_address_gets_none(alice: Person, bob: Person):
    do_close_address("Bob@Example.com", ClosedAddress.Why.COMPLAINT)
    made(alice)
    assert (letter_to(alice).state, letter_to(bob).state) == ("waiting", "left_out")


def test_monthly_is_the_first_letter_of_a_month(alice: Person):
    """That of 7 December, as the one of 30 November belongs to November; a silent digest is no letter."""
    do_set_wishes(alice.membership_id, MailWishes.Often.MONTHLY)
    weeks = [WEEK, "2026-W50", "2026-W51", "2026-W52", "2026-W53", "2027-W01"]
    for week in weeks:
        made(alice, week, said=() if week == "2026-W50" else (CHEAPER,))
    states = dict(Letter.objects.values_list("digest__week", "state"))
    assert states == {
        WEEK: "waiting",
        "2026-W51": "waiting",
        "2026-W52": "left_out",
        "2026-W53": "left_out",
        "2027-W01": "waiting",
    }


def test_advice_that_is_said_again_or_has_expired_is_over(alice: Person, charlie: Person):
    other = replace(CHEAPER, task="writing", expires_on=MONDAY.date() + timedelta(days=30))
    soon_over = replace(CHEAPER, task="math", expires_on=MONDAY.date() + timedelta(days=6))
    made(alice, said=(CHEAPER, other, soon_over), now=MONDAY)
    made(charlie, now=MONDAY)
    made(alice, NEXT, now=MONDAY + timedelta(days=7))
    mine = Advice.objects.filter(organization_id=alice.organization_id)
    assert {(row.week, row.task, row.state) for row in mine} == {
        (WEEK, "summarization", "over"),
        (WEEK, "writing", "open"),
        (WEEK, "math", "over"),
        (NEXT, "summarization", "open"),
    }
    assert Advice.objects.get(organization_id=charlie.organization_id).state == "open"


def test_what_was_answered_stays_as_it_was_answered(alice: Person):
    made(alice, now=MONDAY)
    Advice.objects.update(state="accepted")
    made(alice, NEXT, now=MONDAY + timedelta(days=7))
    assert set(Advice.objects.values_list("week", "state")) == {(WEEK, "accepted"), (NEXT, "open")}


def test_ids_of_messages_are_the_same_each_time_and_no_two_letters_share_one(alice: Person, bob: Person):
    from advisor.message_ids import message_id

    one = message_id(alice.organization_id, alice.membership_id, WEEK)
    assert one == message_id(alice.organization_id, alice.membership_id, WEEK)
    assert one.startswith("<2026-w49.")
    assert one.endswith("@127.0.0.1>")
    others = {
        message_id(alice.organization_id, bob.membership_id, WEEK),
        message_id(alice.organization_id, alice.membership_id, NEXT),
        message_id(alice.organization_id + 1, alice.membership_id, WEEK),
    }
    assert len({one, *others}) == 4
