"""`/dashboard/voice/webhooks`: the secret, shown once, and what became of each message."""

import re
from html import unescape

import pytest

from tests.komilion.web.voice.meetings import new_meeting, new_message
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

PAGE = "/dashboard/voice/webhooks"


def address_of_the_form(person: Person) -> str:
    [address] = re.findall(rf'action="({PAGE}/secret[^"]*)"', person.browser.get(PAGE).content.decode())
    return unescape(address)


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def test_the_secret_is_shown_once_and_replaced(alice: Person):
    assert "There is none yet" in alice.browser.get(PAGE).content.decode()
    secrets = []
    for had_one in (False, True):
        answer = alice.browser.post(address_of_the_form(alice))
        text = answer.content.decode()
        secrets += re.findall(r'data-copy="(whsec_[^"]+)"', text)
        assert ("Both sign for a day" in text) is had_one
        assert "no-store" in answer["Cache-Control"]
        assert secrets[-1] not in alice.browser.get(PAGE).content.decode()
    assert len(set(secrets)) == 2


@pytest.mark.parametrize("had_one", [False, True])
def test_a_page_with_the_secret_that_is_loaded_anew_makes_no_other(alice: Person, had_one: bool):
    from voice.models import WebhookSecret

    if had_one:
        alice.browser.post(address_of_the_form(alice))
    address = address_of_the_form(alice)
    assert "whsec_" in alice.browser.post(address).content.decode()
    before = WebhookSecret.objects.get()
    again = alice.browser.post(address, follow=True)
    assert again.redirect_chain == [(PAGE, 302)]
    assert "A secret was made meanwhile" in again.content.decode()
    now = WebhookSecret.objects.get()
    assert bytes(now.secret_sealed) == bytes(before.secret_sealed)
    assert bytes(now.previous_sealed) == bytes(before.previous_sealed)


def test_messages_are_listed_with_their_tries_and_without_the_receivers_secrets(alice: Person):
    new_message(alice, new_meeting(alice), state="failed")
    html = alice.browser.get(PAGE).content.decode()
    for words in (
        "transcription.completed",
        "hooks.example.com",
        "500",
        "&lt;b&gt;no&lt;/b&gt;",
        "12 ms",
        "Send again",
    ):
        assert words in html
    assert "token=secret" not in html


def test_one_that_was_given_up_is_sent_again(alice: Person):
    message = new_message(alice, new_meeting(alice), state="failed")
    assert alice.browser.post(f"{PAGE}/msg_1/again").status_code == 302
    message.refresh_from_db()
    assert message.state == "pending"
    assert alice.browser.post(f"{PAGE}/msg_1/again").status_code == 409


def test_who_may_only_look_changes_nothing(alice: Person):
    new_message(alice, new_meeting(alice), state="failed")
    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    html = viewer.browser.get(PAGE).content.decode()
    assert "Send again" not in html
    assert "Make the secret" not in html
    for path in ("secret", "msg_1/again"):
        assert viewer.browser.post(f"{PAGE}/{path}").status_code == 403
