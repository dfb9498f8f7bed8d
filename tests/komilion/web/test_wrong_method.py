"""Addresses that only take forms, opened as pages."""

from typing import Any

import pytest
from django.test import Client

from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("wallet/top-up", "wallet"),
        ("wallet/auto-recharge/stop", "wallet"),
        ("keys/{key}/rotate", "keys/{key}"),
        ("organizations/1/open", "organizations"),
        ("members/1/role", "members"),
        ("members/invitations/1/again", "members"),
        ("account/time-zone", "account"),
    ],
)
def test_who_opens_the_address_of_a_form_is_led_to_its_page(path: str, page: str, alice: Person):
    key = alice.key().row.pk
    answer = alice.browser.get(f"/dashboard/{path.format(key=key)}", follow=True)
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, f"/dashboard/{page.format(key=key)}")


def test_who_logs_in_after_a_form_was_sent_logged_out_sees_the_page_that_the_form_is_on(alice: Person):
    sent = Client().post("/dashboard/wallet/top-up", {"amount": "25.00"})
    wanted = sent.headers["Location"].partition("?next=")[2]
    assert alice.browser.get(wanted, follow=True).redirect_chain[-1][0] == "/dashboard/wallet"


@pytest.mark.parametrize(("method", "path"), [("POST", "/pricing"), ("GET", "/webhooks/stripe"), ("PUT", "/dashboard")])
def test_where_no_page_is_above_a_page_says_why(method: str, path: str, alice: Person):
    answer: Any = alice.browser.generic(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"]
    assert "This address does not take that method" in answer.content.decode()
