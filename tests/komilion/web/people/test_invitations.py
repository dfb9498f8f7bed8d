"""Invitations, as the people concerned see them."""

import re
from datetime import timedelta

import pytest
import time_machine
from pytest_django import Settings

from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.models import Invitation, Membership
from billing.queries import wallet_summary
from komilion.common.clock import utc_now
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import membership
from tests.komilion.web.people.joining import MEMBERS, invite, row_of


def test_a_stranger_signs_up_by_an_invitation_and_gets_no_organization_of_her_own(alice: Browser):
    bob = Browser(new_email("bob"))
    path = invite(alice, bob)
    page = bob.get(path)
    assert f"{alice.email} invites {bob.email} to be developer" in says(page)
    assert f"/auth/signup/?next={path}" in page.content.decode()
    bob.sign_up(next=path)
    assert bob.verify().redirect_chain[-1][0] == path
    assert not Membership.objects.filter(user__email=bob.email).exists()
    page = bob.post(path)
    assert page.redirect_chain[-1][0] == "/dashboard"
    assert "You are developer of" in says(page)
    assert Membership.objects.get(user__email=bob.email).organization == membership(alice).organization


def test_who_has_an_organization_of_her_own_has_two_afterwards_and_looks_at_the_new_one(
    alice: Browser, charlie: Browser
):
    path = invite(alice, charlie, "viewer")
    charlie.post(path)
    assert Membership.objects.filter(user__email=charlie.email).count() == 2
    assert alice.email.split("@")[0] in says(charlie.get(MEMBERS))


def test_looking_at_an_invitation_changes_nothing(alice: Browser, charlie: Browser):
    path = invite(alice, charlie)
    page = charlie.get(path)
    assert "Accept" in says(page)
    assert Membership.objects.filter(user__email=charlie.email).count() == 1
    assert Invitation.objects.get(email=charlie.email).accepted_at is None


def test_an_invitation_is_for_its_address_alone(alice: Browser, charlie: Browser):
    bob = Browser(new_email("bob"))
    path = invite(alice, bob)
    page = charlie.get(path)
    assert "This is another address" in says(page)
    assert "Accept" not in says(page)
    assert f"This invitation is for {bob.email}, and you are logged in as {charlie.email}" in says(charlie.post(path))
    assert Membership.objects.filter(user__email=charlie.email).count() == 1


def test_an_invitation_is_good_for_one_time(alice: Browser, charlie: Browser):
    path = invite(alice, charlie)
    charlie.post(path)
    assert charlie.post(path).status_code == 404
    page = Browser().get(path)
    assert page.status_code == 404
    assert "This invitation is not valid" in says(page)


def test_an_invitation_is_worth_nothing_after_a_week(alice: Browser, charlie: Browser):
    path = invite(alice, charlie)
    with time_machine.travel(utc_now() + timedelta(days=7, seconds=1), tick=True):
        assert charlie.post(path).status_code == 404
    assert Membership.objects.filter(user__email=charlie.email).count() == 1


def test_an_invitation_that_is_revoked_is_worth_nothing(alice: Browser, charlie: Browser):
    path = invite(alice, charlie)
    row = Invitation.objects.get(email=charlie.email)
    assert "The invitation is revoked" in says(alice.post(f"{MEMBERS}/invitations/{row.pk}/revoke"))
    assert charlie.post(path).status_code == 404
    assert alice.post(f"{MEMBERS}/invitations/{row.pk}/revoke").status_code == 404


def test_sending_it_again_makes_a_new_link_and_voids_the_old_one(alice: Browser, charlie: Browser):
    old = invite(alice, charlie)
    row = Invitation.objects.get(email=charlie.email)
    alice.post(f"{MEMBERS}/invitations/{row.pk}/again")
    new = path_of(charlie.link())
    assert new != old
    assert charlie.get(old).status_code == 404
    assert "Accept" in says(charlie.get(new))
    assert says(alice.get(MEMBERS)).count("Send again") == 1


def test_the_token_of_an_invitation_is_not_stored(alice: Browser, charlie: Browser):
    token = invite(alice, charlie).rpartition("/")[2]
    stored = Invitation.objects.get(email=charlie.email)
    assert token.encode() not in bytes(stored.token_hash)
    assert len(bytes(stored.token_hash)) == 32


def test_who_is_invited_can_accept_without_the_mail_and_who_declines_has_an_own_organization(alice: Browser):
    bob = Browser(new_email("bob"))
    invite(alice, bob)
    bob.join()
    assert bob.get("/dashboard/members").redirect_chain[-1][0] == "/dashboard/organizations"
    page = bob.get("/dashboard/organizations")
    assert "invites you" in says(page)
    assert "You belong to no organization" in says(page)
    page = bob.post("/dashboard/organizations", {"name": "Bob & Sons"})
    assert "$5.00 of trial credit" in says(page)
    own = Membership.objects.get(user__email=bob.email)
    assert (own.organization.name, own.role) == ("Bob & Sons", "owner")
    assert wallet_summary(own.organization_id)["promo"] == "5.00"
    bob.post("/dashboard/organizations", {"invitation": str(Invitation.objects.get(email=bob.email).pk)})
    assert row_of(bob, alice).role == "developer"


def test_an_invitation_by_id_takes_the_invited_person(alice: Browser, charlie: Browser):
    bob = Browser(new_email("bob"))
    invite(alice, bob)
    charlie.post("/dashboard/organizations", {"invitation": str(Invitation.objects.get(email=bob.email).pk)})
    assert Membership.objects.filter(user__email=charlie.email).count() == 1


@pytest.mark.parametrize(
    ("fields", "field"), [({"email": "nobody", "role": "viewer"}, "email"), ({"email": "a@b.example"}, "role")]
)
def test_what_is_wrong_with_an_invitation_stands_beside_its_field(alice: Browser, fields: dict[str, str], field: str):
    assert field in alice.post(MEMBERS, fields).context["form"].errors


def test_a_member_is_not_invited_again(alice: Browser):
    page = alice.post(MEMBERS, {"email": alice.email.upper(), "role": "viewer"})
    assert "is a member already" in says(page)


def test_invitations_of_a_day_are_limited(alice: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accounts.actions.invitations.OPEN_INVITATIONS_LIMIT", 1)
    invite(alice, Browser(new_email("bob")))
    assert "revoke some first" in says(alice.post(MEMBERS, {"email": new_email("carol"), "role": "viewer"}))
    monkeypatch.setattr("accounts.actions.invitations.INVITATIONS_A_DAY_LIMIT", 1)
    monkeypatch.setattr("accounts.actions.invitations.OPEN_INVITATIONS_LIMIT", 9)
    assert "go on tomorrow" in says(alice.post(MEMBERS, {"email": new_email("carol"), "role": "viewer"}))


def test_an_invitation_that_cannot_be_mailed_is_kept(alice: Browser, mail_server_away: None):
    email = new_email("bob")
    assert "could not be sent. The invitation is kept" in says(alice.post(MEMBERS, {"email": email, "role": "viewer"}))
    assert Invitation.objects.filter(email=email).exists()


def test_links_in_invitations_go_to_the_public_address(alice: Browser, settings: Settings):
    settings.PUBLIC_URL = "https://gateway.example.com"
    bob = Browser(new_email("bob"))
    alice.client.post(MEMBERS, {"email": bob.email, "role": "viewer"}, headers={"host": "evil.example"})
    assert bob.link().startswith("https://gateway.example.com/invitations/")


def test_nobody_joins_an_organization_that_is_suspended(alice: Browser, charlie: Browser):
    path = invite(alice, charlie)
    organization = membership(alice).organization
    do_suspend(organization, actor="operator")
    assert "is suspended, so nobody can join it for now" in says(charlie.post(path))
    do_unsuspend(organization, actor="operator")
    assert "You are developer of" in says(charlie.post(path))


def test_who_wants_to_change_what_is_suspended_reads_whom_to_ask(alice: Browser):
    do_suspend(membership(alice).organization, actor="operator")
    page = alice.post(MEMBERS, {"email": new_email("bob"), "role": "viewer"})
    assert page.status_code == 403
    assert "Ask the operator of this server" in says(page)
    assert "Somebody with another role" not in says(page)
    assert "Invite somebody" not in says(alice.get(MEMBERS))


@pytest.mark.parametrize("address", [f"{'a' * 300}@example.com", f"{'a' * 65}@example.com"])
def test_nobody_is_invited_at_an_address_that_cannot_be(alice: Browser, address: str):
    page = alice.post(MEMBERS, {"email": address, "role": "viewer"})
    assert page.context["form"].errors["email"]
    assert "Open invitations" not in says(page)


def test_an_invitation_says_until_when_in_the_zone_of_who_reads_it(alice: Browser):
    bob = Browser(new_email("bob"))
    link = invite(alice, bob)
    assert re.search(r"valid until \w+ \d+ \d{4}, \d\d:\d\d UTC", says(bob.get(link)))
    bob.sign_up(next=link)
    bob.verify()
    bob.post("/dashboard/account/time-zone", {"time_zone": "Asia/Tokyo"})
    assert not Membership.objects.filter(user__email=bob.email).exists()
    for page in (link, "/dashboard/organizations"):
        assert re.search(r"valid until \w+ \d+ \d{4}, \d\d:\d\d JST", says(bob.get(page)))


def test_an_invitation_is_declined(alice: Browser, charlie: Browser):
    for page in ("", "/dashboard/organizations"):
        link = invite(alice, charlie, "owner")
        row = Invitation.objects.filter(email=charlie.email).latest("pk")
        answer = says(charlie.post(page or link, {"invitation": row.pk, "decline": "yes"}))
        assert "The invitation is declined." in answer
        assert "invites you" not in answer
        assert charlie.get(link).status_code == 404
    assert Membership.objects.filter(user__email=charlie.email).count() == 1
    assert "Invitation declined" in says(alice.get("/dashboard/audit"))


def test_nobody_declines_for_somebody_else(alice: Browser, charlie: Browser):
    link = invite(alice, Browser(new_email("bob")))
    assert "This invitation is for" in says(charlie.post(link, {"decline": "yes"}))
    assert charlie.get(link).status_code == 200
