"""A person's own account: how she logs in, her second factor, her time zone, her sessions, its end."""

import base64
import re
from datetime import timedelta

import pytest
import time_machine
from allauth.account.models import EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.actions.keys import do_create_key
from accounts.models import ApiKey, AuditEntry, Membership, Organization, TrialGrant, User
from billing.actions.wallets import do_move
from billing.ledger.items import Movement
from billing.models import Payment, Posting, Refund, TopUpOrder
from komilion.common.clock import utc_now
from komilion.common.ids import new_id
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import membership, person
from tests.komilion.web.people.joining import add, invite, row_of

ACCOUNT = "/dashboard/account"


def code_of(secret: str) -> str:
    """What an authenticator app shows now."""
    return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def link_for(browser: Browser, email: str) -> str:
    """The path of the link that verifies an address of hers; it may not have been mailed, so soon after another."""
    row = person(browser).emailaddress_set.get(email=email)
    return f"/auth/confirm-email/{EmailConfirmationHMAC(row).key}/"


def add_app(browser: Browser) -> str:
    """Add an authenticator app; its secret."""
    path = "/auth/2fa/totp/activate/"
    page = browser.get(path)
    if "Is it you?" in says(page):
        page = browser.reauthenticate(path)
    drawing = base64.b64decode(page.context["totp_svg_data_uri"].partition(",")[2]).decode()
    assert 'fill="white"' in drawing, "a dark page must not swallow the code"
    secret = str(page.context["form"].secret)
    page = browser.post(path, {"code": code_of(secret)})
    assert "recovery codes" in says(page)
    return secret


def test_the_page_shows_how_one_logs_in(alice: Browser):
    page = says(alice.get(ACCOUNT))
    assert alice.email in page
    assert "Second factor off" in page


def test_times_are_shown_in_the_zone_that_was_chosen(alice: Browser):
    assert "in your zone now" in says(alice.post(f"{ACCOUNT}/time-zone", {"time_zone": "Pacific/Auckland"}))
    assert '<option value="Pacific/Auckland" selected>' in alice.get(ACCOUNT).content.decode()
    assert re.search(r"NZ[SD]T", alice.get("/dashboard/members").content.decode())
    assert "There is no such time zone" in says(alice.post(f"{ACCOUNT}/time-zone", {"time_zone": "Mars/Olympus"}))
    assert person(alice).time_zone == "Pacific/Auckland"


def test_a_time_zone_that_the_browser_made_up_is_utc():
    alice = Browser().join(time_zone="<script>")
    assert person(alice).time_zone == "UTC"


def test_the_password_is_changed_and_other_browsers_are_logged_out(alice: Browser):
    phone = Browser(alice.email)
    phone.log_in()
    new = "a password of another kind"
    path = "/auth/password/change/"
    wrong = alice.post(path, {"oldpassword": "wrong", "password1": new, "password2": new})
    assert "oldpassword" in wrong.context["form"].errors
    alice.post(path, {"oldpassword": alice.password, "password1": new, "password2": new})
    assert alice.is_logged_in
    assert not phone.is_logged_in
    assert "Your password was changed." in alice.mails()[-1].body


def test_the_address_changes_when_the_new_one_is_verified(alice: Browser):
    old, new = alice.email, new_email("alice")
    page = alice.post("/auth/email/", {"email": new, "action_add": "1"})
    assert "Is it you?" in says(page)
    page = alice.reauthenticate("/auth/email/")
    assert f"It changes to {new}" in says(page)
    assert person(alice).email == old
    alice.email = new
    link = path_of(alice.link())
    alice.email = old
    assert f"changes to {new} when you confirm it" in says(alice.get(ACCOUNT))
    alice.post(link)
    assert not User.objects.filter(email=old).exists()
    assert f"changed from {old} to {new}" in alice.mails()[-1].body
    alice.email = new
    assert f"E-mail {new} Change" in says(alice.get(ACCOUNT))


def change_address(alice: Browser) -> tuple[str, str]:
    """Change hers in her browser, as somebody else may who sits there; the old one and the new one."""
    old, new = alice.email, new_email("thief")
    alice.post("/auth/email/", {"email": new, "action_add": "1"})
    alice.reauthenticate("/auth/email/")
    alice.post(link_for(alice, new))
    return old, new


def test_who_reads_the_old_address_takes_the_account_back(alice: Browser):
    old, new = change_address(alice)
    add_app(alice)
    owner = Browser(old)
    link = path_of(owner.link())
    assert f"gets the address {old} back" in says(owner.get(link))
    assert alice.is_logged_in, "looking at the link changes nothing"
    assert "Set a new password now" in says(owner.post(link))
    assert not alice.is_logged_in
    assert not User.objects.filter(email=new).exists()
    owner.post("/auth/password/reset/", {"email": old})
    page = owner.get(path_of(owner.link()))
    new_password = "a new secret of hers"
    owner.post(page.redirect_chain[-1][0], {"password1": new_password, "password2": new_password})
    owner.password = new_password
    owner.log_in()
    assert owner.is_logged_in
    assert Browser(old).get(link).status_code == 404, "the link is good for one time"


def test_the_way_back_is_open_for_seven_days_and_to_nobody_elses_address(alice: Browser):
    old, _ = change_address(alice)
    link = path_of(Browser(old).link())
    with time_machine.travel(utc_now() + timedelta(days=7, minutes=1), tick=True):
        assert Browser(old).get(link).status_code == 404
    assert Browser(old).get(f"{link[:-2]}x/").status_code == 404
    Browser(old).join()
    assert f"{old} belongs to another account" in says(Browser(old).post(link))
    assert alice.is_logged_in


def test_the_mail_about_a_new_address_speaks_of_the_change(alice: Browser):
    new = new_email("alice")
    alice.post("/auth/email/", {"email": new, "action_add": "1"})
    assert f"We sent an e-mail to {new}" in says(alice.reauthenticate("/auth/email/"))
    (told,) = Browser(new).mails()
    assert told.subject == "Confirm your new e-mail address"
    assert "wants to change the address of an account" in told.body


def test_who_has_an_account_with_the_new_address_gets_no_link_to_it(alice: Browser, charlie: Browser):
    alice.post("/auth/email/", {"email": charlie.email, "action_add": "1"})
    page = says(alice.reauthenticate("/auth/email/"))
    assert f"We sent an e-mail to {charlie.email}" in page, "the page tells nobody who has an account"
    (told,) = charlie.mails()
    assert told.subject == "Your address has an account already"
    assert "confirm-email" not in told.body


def test_an_address_of_somebody_else_cannot_be_taken(alice: Browser, charlie: Browser):
    alice.post("/auth/email/", {"email": charlie.email, "action_add": "1"})
    alice.reauthenticate("/auth/email/")
    assert f"{charlie.email} belongs to another account" in says(alice.post(link_for(alice, charlie.email)))
    assert person(alice).emailaddress_set.get(email=alice.email).verified
    assert charlie.is_logged_in


def test_a_change_of_address_to_one_with_an_unfinished_sign_up_takes_its_place(alice: Browser):
    leftover = Browser(new_email("alice"))
    leftover.sign_up()
    old = alice.email
    alice.post("/auth/email/", {"email": leftover.email, "action_add": "1"})
    alice.reauthenticate("/auth/email/")
    alice.post(link_for(alice, leftover.email))
    assert User.objects.filter(email=leftover.email).count() == 1
    assert not User.objects.filter(email=old).exists()


def test_logging_out_everywhere_leaves_this_browser_logged_in(alice: Browser):
    phone = Browser(alice.email)
    phone.log_in()
    assert phone.is_logged_in
    assert "everywhere but here" in says(alice.post(f"{ACCOUNT}/sessions"))
    assert alice.is_logged_in
    assert not phone.is_logged_in


# The second factor.


def test_with_an_app_the_password_alone_lets_nobody_in(alice: Browser):
    assert "Is it you?" in says(alice.get("/auth/2fa/totp/activate/"))
    secret = add_app(alice)
    stored = Authenticator.objects.get(user=person(alice), type="totp").data
    assert secret not in str(stored), "secrets are encrypted at rest"
    phone = Browser(alice.email)
    assert "Your second factor" in says(phone.log_in())
    assert not phone.is_logged_in
    assert "Incorrect code" in says(phone.post("/auth/2fa/authenticate/", {"code": "000000"}))
    assert not phone.is_logged_in
    codes = re.findall(r"<li>([0-9a-z]+)</li>", alice.get("/auth/2fa/recovery-codes/").content.decode())
    assert len(codes) == 10
    assert phone.post("/auth/2fa/authenticate/", {"code": codes[0]}).redirect_chain[-1][0] == "/dashboard"
    again = Browser(alice.email)
    again.log_in()
    assert "Incorrect code" in says(again.post("/auth/2fa/authenticate/", {"code": codes[0]})), "each is good once"


def test_guessing_codes_is_limited(alice: Browser):
    add_app(alice)
    phone = Browser(alice.email)
    phone.log_in()
    for _ in range(5):
        phone.post("/auth/2fa/authenticate/", {"code": "000000"})
    assert "Too many failed login attempts" in says(phone.post("/auth/2fa/authenticate/", {"code": "000000"}))


def test_the_app_is_removed_and_codes_are_made_anew(alice: Browser):
    add_app(alice)
    assert "The 10 codes that you have are void then" in says(alice.get("/auth/2fa/recovery-codes/generate/"))
    assert "You have new recovery codes" in says(alice.post("/auth/2fa/recovery-codes/generate/"))
    assert alice.get("/auth/2fa/recovery-codes/download/").headers["Content-Type"].startswith("text/plain")
    assert "The authenticator app is removed" in says(alice.post("/auth/2fa/totp/deactivate/"))
    assert not Authenticator.objects.filter(user=person(alice)).exists()
    assert "The authenticator app was removed" in alice.mails()[-1].body


# The end.


def delete(browser: Browser, password: str | None = None) -> str:
    """Ask for the account to be deleted; what the page says."""
    return says(browser.post(f"{ACCOUNT}/delete", {"password": password or browser.password}))


def test_a_deleted_account_leaves_the_ledger_and_the_trial_hash_and_no_address(alice: Browser, settings: Settings):
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "confirm_email": "2/m/key"}
    hers = membership(alice)
    key = do_create_key(hers, "first", actor=alice.email)
    postings = Posting.objects.filter(entry__wallet_id=hers.organization_id).count()
    assert "Your account is deleted" in delete(alice)
    assert not alice.is_logged_in
    assert alice.mails()[-1].subject == "Your account is deleted"
    user = User.objects.get(pk=hers.user_id)
    assert (user.is_active, user.email) == (False, f"deleted-{user.pk}@deleted.invalid")
    assert not user.emailaddress_set.exists()
    organization = Organization.objects.get(pk=hers.organization_id)
    assert organization.name == "Closed organization"
    assert organization.suspended_at is not None
    assert ApiKey.objects.get(pk=key.row.pk).revoked_at is not None
    assert Posting.objects.filter(entry__wallet_id=hers.organization_id).count() == postings > 0
    assert TrialGrant.objects.filter(organization_id=hers.organization_id).exists()
    entries = AuditEntry.objects.filter(organization_id=hers.organization_id)
    assert entries
    assert alice.email not in " ".join(f"{entry.actor} {entry.subject} {entry.detail}" for entry in entries)
    assert "not correct" in says(alice.log_in())
    alice.client.cookies.clear()
    alice.sign_up()
    assert "had trial credit before" in says(alice.verify())


def test_deleting_takes_the_right_password(alice: Browser):
    assert "This is not your password" in delete(alice, "wrong")
    assert "This field is required" in says(alice.post(f"{ACCOUNT}/delete"))
    assert alice.is_logged_in


def test_guessing_the_password_there_is_limited_too(alice: Browser):
    for _ in range(5):
        delete(alice, "wrong")
    assert "Too many failed attempts" in delete(alice)


def test_who_has_paid_credit_and_no_other_owner_cannot_be_deleted(alice: Browser):
    wallet_id = membership(alice).organization_id
    do_move(Movement(reference=f"test-{wallet_id}", kind="topup", wallet_id=wallet_id, amount=10**9))
    assert "has paid credit and no other owner" in says(alice.get(f"{ACCOUNT}/delete"))  # before she types anything
    assert "has paid credit and no other owner" in delete(alice)
    assert alice.is_logged_in
    charlie = Browser().join()
    charlie.post(invite(alice, charlie, "owner"))
    assert "Not possible yet" not in says(alice.get(f"{ACCOUNT}/delete"))
    assert "Your account is deleted" in delete(alice)
    assert row_of(charlie, charlie).role == "owner"


@pytest.mark.parametrize(
    ("kind", "state", "said"),
    [
        ("checkout", "open", "a top-up that was begun can still be paid"),
        ("recharge", "open", "the outcome of an automatic top-up is not known yet"),
        ("recharge", "unknown", "the outcome of an automatic top-up is not known yet"),
    ],
)
def test_an_account_stays_while_a_top_up_may_still_be_paid(alice: Browser, kind: str, state: str, said: str):
    order = new_order(alice, kind=kind, state=state)
    assert said in delete(alice)
    assert alice.is_logged_in
    TopUpOrder.objects.filter(pk=order.pk).update(state="expired")
    new_order(alice, kind="test", state="open")  # nobody's money
    assert "Your account is deleted" in delete(alice)


def test_an_account_stays_while_a_refund_is_under_way(alice: Browser):
    order = new_order(alice, kind="checkout", state="paid")
    figures = {"credit_cents": 500, "fee_cents": 0, "tax_cents": 0, "total_cents": 500, "currency": "usd"}
    payment = Payment.objects.create(
        id=f"pi_{order.pk}", order=order, wallet=order.wallet, livemode=False, created_at=order.created_at, **figures
    )
    refund = Refund.objects.create(
        id=new_id("ref"), payment=payment, wallet=order.wallet, credit_cents=500, refund_cents=500, created_by="x"
    )
    assert "a refund has not ended yet" in delete(alice)
    Refund.objects.filter(pk=refund.pk).update(state="succeeded")
    assert "Your account is deleted" in delete(alice)


def new_order(browser: Browser, *, kind: str, state: str) -> TopUpOrder:
    return TopUpOrder.objects.create(
        id=new_id("top"),
        wallet_id=membership(browser).organization_id,
        kind=kind,
        state=state,
        credit_cents=500,
        livemode=False,
        created_by=browser.email,
    )


def test_who_would_leave_members_without_an_owner_cannot_be_deleted(alice: Browser):
    bob = add(alice)
    assert "has other members and no other owner" in says(alice.get(f"{ACCOUNT}/delete"))
    assert "has other members and no other owner" in delete(alice)
    assert alice.is_logged_in
    assert row_of(bob, alice).role == "developer"
    alice.post(f"/dashboard/members/{row_of(bob, alice).pk}/role", {"role": "owner"})
    organization_id = membership(alice).organization_id
    assert "Your account is deleted" in delete(alice)
    assert [row.user.email for row in Membership.objects.filter(organization_id=organization_id)] == [bob.email]
    assert Organization.objects.get(pk=organization_id).suspended_at is None


# What a page costs.


def test_a_page_asks_the_database_at_most_twelve_times(alice: Browser):
    for _ in range(3):
        add(alice)
    pages = ["/dashboard/members", "/dashboard/organizations", "/dashboard/audit", ACCOUNT, f"{ACCOUNT}/delete"]
    for path in [*pages, "/auth/email/", "/auth/password/change/", "/auth/2fa/"]:
        with CaptureQueriesContext(connection) as queries:
            assert alice.client.get(path).status_code == 200, path
        assert len(queries) <= 12, (path, [query["sql"][:100] for query in queries])


def test_without_a_login_pages_of_the_entrance_ask_the_database_hardly_at_all():
    for path in ("/auth/login/", "/auth/signup/", "/auth/password/reset/"):
        with CaptureQueriesContext(connection) as queries:
            assert Browser().client.get(path).status_code == 200
        assert len(queries) <= 2
