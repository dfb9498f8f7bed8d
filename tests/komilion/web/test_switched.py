"""Two tabs, two organizations: a form takes effect where it was shown, or not at all."""

import re
from typing import Any

import pytest

from accounts.models import ApiKey, Invitation, Membership, Organization
from billing.models import TopUpOrder
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db
FIELD = re.compile(r'name="in_organization" value="(\d+)"')
FORM = re.compile(r'<form[^>]*method="post".*?</form>', re.DOTALL)


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def another(alice: Person) -> int:
    """A second organization of hers, which she does not look at yet."""
    from billing.actions.wallets import do_open_wallet

    user = Membership.objects.get(pk=alice.membership_id).user
    organization = Organization.objects.create(name="The other one", tier="standard")
    Membership.objects.create(organization=organization, user=user, role="owner")
    do_open_wallet(organization.pk)
    return organization.pk


def shown_for(page: Any) -> set[str]:
    """The organizations that the forms of a page carry; one without is ''."""
    forms = FORM.findall(page.content.decode())
    assert forms, "no form there"
    return {(FIELD.search(form) or [None, ""])[1] for form in forms}


@pytest.mark.parametrize("page", ["keys/new", "members", "wallet"])
def test_a_form_takes_no_effect_in_an_organization_that_was_switched_to_since(
    page: str, alice: Person, another: int, settings: Any
):
    settings.TEST_PAYMENTS = True
    assert shown_for(alice.browser.get(f"/dashboard/{page}")) == {str(alice.organization_id)}
    alice.browser.post(f"/dashboard/organizations/{another}/open")
    shown = {"in_organization": alice.organization_id}
    for path, fields in {
        "keys/new": {"name": "checkout", "form_token": "x" * 32},
        "members": {"email": "bob@example.com", "role": "viewer"},
        "members/organization": {"name": "Renamed"},
        "wallet/top-up": {"amount": "25.00"},
    }.items():
        answer = alice.browser.post(f"/dashboard/{path}", {**fields, **shown})
        assert answer.status_code == 409
        assert "You switched to The other one after this page was opened" in answer.content.decode()
    assert not ApiKey.objects.exists()
    assert not Invitation.objects.exists()
    assert not TopUpOrder.objects.exists()
    assert not Organization.objects.filter(name="Renamed").exists()


def test_it_takes_effect_in_the_organization_that_it_was_shown_for(alice: Person, another: int):
    fields = {"name": "Renamed", "in_organization": alice.organization_id}
    assert alice.browser.post("/dashboard/members/organization", fields).status_code == 302
    assert Organization.objects.get(name="Renamed").pk == alice.organization_id


def test_what_is_about_oneself_can_be_done_from_any_tab(alice: Person, another: int):
    """Such as switching itself, from a page that was opened before."""
    alice.browser.post(f"/dashboard/organizations/{another}/open")
    shown = {"in_organization": alice.organization_id}
    for path in ("account/time-zone", "account/sessions", f"organizations/{alice.organization_id}/open"):
        assert alice.browser.post(f"/dashboard/{path}", shown).status_code == 302


def test_a_link_to_what_another_organization_of_hers_has_offers_to_switch(alice: Person, another: int):
    link = f"/dashboard/keys/{alice.key('checkout').row.pk}"
    alice.browser.post(f"/dashboard/organizations/{another}/open")
    page = alice.browser.get(link).content.decode()
    assert "This is in another organization of yours" in page
    assert "checkout" not in page
    switched = alice.browser.post(f"/dashboard/organizations/{alice.organization_id}/open", {"next": link}, follow=True)
    assert switched.redirect_chain[-1][0] == link
    assert "checkout" in switched.content.decode()


def test_a_link_can_name_the_organization_that_it_is_about(alice: Person, another: int):
    wallet = f"/dashboard/wallet?organization={another}"
    page = alice.browser.get(wallet).content.decode()
    assert "belongs to <strong>The other one</strong>" in page
    switched = alice.browser.post(f"/dashboard/organizations/{another}/open", {"next": wallet}, follow=True)
    assert "How the wallet works" in switched.content.decode()
    assert "How the wallet works" in alice.browser.get(wallet).content.decode()


def test_what_belongs_to_none_of_hers_is_not_there(alice: Person, another: int):
    charlie = new_owner("charlie@example.com")
    key = charlie.key("charlie's").row
    assert alice.browser.get(f"/dashboard/keys/{key.pk}").status_code == 404
    page = alice.browser.get(f"/dashboard/wallet?organization={charlie.organization_id}").content.decode()
    assert "How the wallet works" in page


def test_a_form_and_a_part_of_a_page_offer_nothing(alice: Person, another: int):
    key = alice.key("checkout").row
    alice.browser.post(f"/dashboard/organizations/{another}/open")
    assert alice.browser.post(f"/dashboard/keys/{key.pk}/revoke").status_code == 404
    assert alice.browser.get(f"/dashboard/keys/{key.pk}", headers={"hx-request": "true"}).status_code == 404


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/auth/logout/", "/dashboard\\@evil:80x"])
def test_switching_leads_to_no_page_but_the_dashboards(target: str, alice: Person, another: int):
    answer = alice.browser.post(f"/dashboard/organizations/{another}/open", {"next": target})
    assert answer.headers["Location"].startswith("/dashboard")


def test_forms_of_other_pages_carry_no_organization(alice: Person):
    assert shown_for(alice.browser.get("/auth/logout/")) == {""}
