"""Members, roles and invitations, as the people concerned see them."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
import time_machine
from pytest_django import Settings

from accounts.access import access_api_key
from accounts.actions.keys import do_create_key
from accounts.actions.members import do_change_role, do_remove_member
from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.errors import LastOwner
from accounts.models import AuditEntry, Invitation, Membership, Organization, User
from billing.queries import wallet_summary
from komilion.common.clock import utc_now
from komilion.common.ids import hash_api_key
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import at_once, membership

MEMBERS = "/dashboard/members"


def invite(owner: Browser, guest: Browser, role: str = "developer") -> str:
    """Invite somebody; the path of the link in the mail."""
    page = owner.post(MEMBERS, {"email": guest.email, "role": role})
    assert f"We sent an invitation to {guest.email}" in says(page), says(page)
    return path_of(guest.link())


def add(owner: Browser, role: str = "developer", name: str = "bob") -> Browser:
    """A new member of the owner's organization, logged in and looking at it."""
    guest = Browser(new_email(name))
    path = invite(owner, guest, role)
    guest.join(next=path)
    guest.post(path)
    return guest


def row_of(browser: Browser, owner: Browser) -> Membership:
    """Somebody's membership in the owner's organization."""
    return Membership.objects.get(user__email=browser.email, organization=membership(owner).organization)


def works(secret: str, settings: Settings) -> bool:
    """Whether an API key is accepted."""
    return access_api_key(hash_api_key(secret, settings.KEY_PEPPER)) is not None


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


# Roles.


@pytest.mark.parametrize("role", ["developer", "billing", "viewer"])
def test_only_owners_manage_members(alice: Browser, role: str):
    bob = add(alice, role)
    hers = membership(alice)
    assert bob.get(MEMBERS).status_code == 200
    assert "Invite somebody" not in says(bob.get(MEMBERS))
    refused: list[tuple[str, dict[str, str]]] = [
        (MEMBERS, {"email": new_email("carol"), "role": "owner"}),
        (f"{MEMBERS}/{hers.pk}/role", {"role": "viewer"}),
        (f"{MEMBERS}/{hers.pk}/remove", {}),
        (f"{MEMBERS}/organization", {"name": "Bob's"}),
        (f"{MEMBERS}/invitations/1/again", {}),
        (f"{MEMBERS}/invitations/1/revoke", {}),
    ]
    for path, fields in refused:
        assert bob.post(path, fields).status_code == 403, path
    assert bob.get("/dashboard/audit").status_code == 403
    hers.refresh_from_db()
    assert hers.role == "owner"


def test_an_owner_changes_a_role_and_every_process_hears_of_it(alice: Browser):
    bob = add(alice)
    before = Organization.objects.get(pk=membership(alice).organization_id).auth_epoch
    page = alice.post(f"{MEMBERS}/{row_of(bob, alice).pk}/role", {"role": "billing"})
    assert f"{bob.email} is billing now" in says(page)
    assert row_of(bob, alice).role == "billing"
    assert Organization.objects.get(pk=membership(alice).organization_id).auth_epoch == before + 1
    assert "There is no such role" in says(alice.post(f"{MEMBERS}/{row_of(bob, alice).pk}/role", {"role": "king"}))


def test_the_last_owner_stays_owner(alice: Browser):
    hers = membership(alice)
    for path, fields in ((f"{MEMBERS}/{hers.pk}/role", {"role": "viewer"}), (f"{MEMBERS}/{hers.pk}/remove", {})):
        assert "An organization needs an owner" in says(alice.post(path, fields))
    hers.refresh_from_db()
    assert hers.role == "owner"


def test_two_owners_who_step_down_at_once_leave_one(alice: Browser):
    bob = add(alice, "owner")
    hers, his = membership(alice), row_of(bob, alice)
    refused = []

    def or_be_refused(step_down: Callable[[], object]) -> None:
        try:
            step_down()
        except LastOwner:
            refused.append(step_down)

    id_ = hers.organization_id
    demote = partial(do_change_role, id_, his.pk, "viewer", actor=bob.email)
    leave = partial(do_remove_member, id_, hers.pk, revoke_keys=True, actor=alice.email)
    at_once([partial(or_be_refused, demote), partial(or_be_refused, leave)])
    assert len(refused) == 1
    assert Membership.objects.filter(organization_id=id_, role="owner").count() == 1


# Leaving.


@pytest.mark.parametrize("choice", ["revoke", "keep", None])
def test_the_keys_of_who_is_removed_are_revoked_unless_the_owner_keeps_them(
    alice: Browser, settings: Settings, choice: str | None
):
    bob = add(alice)
    row = row_of(bob, alice)
    secret = do_create_key(row, "bob's", actor=bob.email).secret
    page = alice.get(f"{MEMBERS}/{row.pk}/remove")
    assert "made 1 key that still works" in says(page)
    assert row_of(bob, alice), "looking at the page removes nobody"
    page = alice.post(f"{MEMBERS}/{row.pk}/remove", {"keys": choice} if choice else {})
    assert f"{bob.email} is no member any more" in says(page)
    assert works(secret, settings) is (choice == "keep")
    assert bob.get(MEMBERS).redirect_chain[-1][0] == "/dashboard/organizations"
    key = membership(alice).api_keys.get(name="bob's")
    assert (key.revoked_at is None) is (choice == "keep")


def test_a_member_leaves_and_an_owner_answers_for_her_keys(alice: Browser, settings: Settings):
    bob = add(alice)
    secret = do_create_key(row_of(bob, alice), "bob's", actor=bob.email).secret
    page = bob.post(f"{MEMBERS}/{row_of(bob, alice).pk}/remove", {"keys": "keep"})
    assert "You left" in says(page)
    assert works(secret, settings)
    assert membership(alice).api_keys.filter(name="bob's").exists()


# Tenancy.


def test_strangers_find_nothing(alice: Browser, charlie: Browser):
    bob = add(alice)
    invite(alice, Browser(new_email("carol")))
    open_one = Invitation.objects.get(organization=membership(alice).organization, accepted_at__isnull=True)
    row = row_of(bob, alice)
    paths = [
        f"{MEMBERS}/{row.pk}/role",
        f"{MEMBERS}/{row.pk}/remove",
        f"{MEMBERS}/invitations/{open_one.pk}/again",
        f"{MEMBERS}/invitations/{open_one.pk}/revoke",
        f"/dashboard/organizations/{row.organization_id}/open",
    ]
    for path in paths:
        assert charlie.post(path, {"role": "viewer"}).status_code == 404, path
    row.refresh_from_db()
    open_one.refresh_from_db()
    assert (row.role, open_one.revoked_at) == ("developer", None)


@pytest.mark.parametrize(
    "path",
    [
        *("members", "members/1/remove", "organizations", "audit", "account", "account/delete"),
        *("organizations/1/open", "members/1/role", "account/sessions", "account/time-zone", "members/organization"),
    ],
)
def test_who_is_not_logged_in_is_sent_to_log_in(path: str):
    nobody = Browser()
    for ask in (nobody.client.get, nobody.client.post):
        answer = ask(f"/dashboard/{path}", follow=True)
        led_to = answer.redirect_chain[-1][0] if answer.redirect_chain else ""
        assert answer.status_code == 405 or led_to.startswith("/auth/login/?next=/dashboard/")


def test_switching_and_renaming(alice: Browser, charlie: Browser):
    charlie.post(invite(alice, charlie, "owner"))
    own = membership(charlie)
    page = charlie.post(f"/dashboard/organizations/{own.organization_id}/open")
    assert page.redirect_chain[-1][0] == "/dashboard"
    assert "The organization has its new name" in says(charlie.post(f"{MEMBERS}/organization", {"name": " Charlie's "}))
    own.organization.refresh_from_db()
    assert own.organization.name == "Charlie's"
    for name in ("", "Win at https://evil.example", "WWW.evil.example", "\u200b", "Char\u202eeil"):
        assert "The name was not changed" in says(charlie.post(f"{MEMBERS}/organization", {"name": name}))


@pytest.mark.parametrize("sign", ["\n", "\r\n", "\x1b", "\x85", "\u2028", "\u202e"])
def test_a_name_is_one_line_that_reads_forwards(alice: Browser, sign: str):
    name = f"Acme{sign}You won a prize"
    assert "The name was not changed" in says(alice.post(f"{MEMBERS}/organization", {"name": name}))
    assert "name" in alice.post("/dashboard/organizations", {"name": name}).context["form"].errors
    assert "has its new name" in says(alice.post(f"{MEMBERS}/organization", {"name": "Zoë & Söhne 株式会社"}))


def test_nobody_owns_more_organizations_than_ten(alice: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accounts.actions.signup.ORGANIZATIONS_OWNED_LIMIT", 1)
    page = alice.post("/dashboard/organizations", {"name": "Another"})
    assert "more than that is not possible" in says(page)
    assert "name" in alice.post("/dashboard/organizations", {"name": ""}).context["form"].errors


@pytest.mark.parametrize("address", [f"{'a' * 300}@example.com", f"{'a' * 65}@example.com"])
def test_nobody_is_invited_at_an_address_that_cannot_be(alice: Browser, address: str):
    page = alice.post(MEMBERS, {"email": address, "role": "viewer"})
    assert page.context["form"].errors["email"]
    assert "Open invitations" not in says(page)


@pytest.mark.parametrize("name", ["\u200b", "Bank\u202ekna", "\u3164"])
def test_a_name_that_is_not_seen_is_refused_beside_its_field(alice: Browser, name: str):
    page = alice.post("/dashboard/organizations", {"name": name})
    assert "The name has characters that nobody sees" in page.context["form"].errors["name"][0]
    assert Membership.objects.filter(user__email=alice.email).count() == 1


def test_a_second_organization_of_the_same_person_gets_no_trial_credit(alice: Browser):
    alice.post("/dashboard/organizations", {"name": "Another"})
    another = Membership.objects.filter(user__email=alice.email).latest("pk")
    assert wallet_summary(another.organization_id)["promo"] == "0.00"


def test_every_change_is_in_the_audit_log_page_by_page(alice: Browser, monkeypatch: pytest.MonkeyPatch):
    bob = add(alice)
    row = row_of(bob, alice)
    alice.post(f"{MEMBERS}/{row.pk}/role", {"role": "viewer"})
    alice.post(f"{MEMBERS}/{row.pk}/remove", {})
    page = says(alice.get("/dashboard/audit"))
    for words in ("Organization made", "Trial credit given", "amount: $5.00", "Invitation sent", "Invitation accepted"):
        assert words in page
    assert page.index("Member removed") < page.index("Role changed")
    monkeypatch.setattr("komilion.web.people.organizations.AUDIT_ENTRIES_PER_PAGE", 2)
    first = alice.get("/dashboard/audit")
    older = alice.get(first.context["older"])
    assert first.context["newest"] is None
    assert older.context["newest"] == "/dashboard/audit"
    seen = [entry.pk for answer in (first, older) for entry in answer.context["entries"]]
    all_of_them = AuditEntry.objects.filter(organization_id=row.organization_id).order_by("-pk")
    assert seen == [entry.pk for entry in all_of_them[:4]]
    assert alice.get("/dashboard/audit?before=nonsense").status_code == 200


def test_names_of_tenants_are_escaped(alice: Browser):
    alice.post(f"{MEMBERS}/organization", {"name": "<script>alert(1)</script>"})
    assert b"<script>alert(1)" not in alice.get("/dashboard/organizations").content
    assert User.objects.filter(email=alice.email).exists()


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
