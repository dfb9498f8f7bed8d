"""Members and their roles, as the people concerned see them."""

from collections.abc import Callable
from functools import partial

import pytest
from pytest_django import Settings

from accounts.access import access_api_key
from accounts.actions.keys import do_create_key
from accounts.actions.members import do_change_role, do_remove_member
from accounts.errors import LastOwner
from accounts.models import AuditEntry, Invitation, Membership, Organization, User
from billing.queries import wallet_summary
from komilion.common.ids import hash_api_key
from tests.komilion.web.people.browser import Browser, new_email, says
from tests.komilion.web.people.conftest import at_once, membership
from tests.komilion.web.people.joining import MEMBERS, add, invite, row_of


def works(secret: str, settings: Settings) -> bool:
    """Whether an API key is accepted."""
    return access_api_key(hash_api_key(secret, settings.KEY_PEPPER)) is not None


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
