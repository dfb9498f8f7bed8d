"""Sign-up: from the form to a dashboard with a wallet in it, and everything that may come between."""

from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from pytest_django import Settings

from accounts.actions.trial import Trial, do_claim_trial
from accounts.addresses import NOT_PLAIN
from accounts.models import AuditEntry, Membership, TrialDay, TrialGrant, User
from billing.errors import StoreUnavailable
from billing.queries import wallet_summary
from komilion.common.clock import utc_now
from komilion.env import free_port
from komilion.web import tenants
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import at_once, membership, person

SENT = "Follow the link in the e-mail that we sent you"


def mail_at_once(settings: Settings) -> None:
    """As if a minute went by between one mail to an address and the next."""
    settings.ACCOUNT_RATE_LIMITS = {
        **settings.ACCOUNT_RATE_LIMITS,
        "confirm_email": "9/m/key",
        "signup_mail": "9/m/key",
    }


def promo(browser: Browser) -> str:
    """Promo credit in her wallet, in US dollars."""
    return wallet_summary(membership(browser).organization_id)["promo"]


def granted_today() -> int:
    """Nano-USD of trial credit that everybody got together."""
    return TrialDay.objects.filter(day=utc_now().date()).values_list("granted_nano", flat=True).first() or 0


def test_who_signs_up_and_follows_the_link_has_an_organization_a_wallet_and_trial_credit():
    alice = Browser()
    assert SENT in says(alice.sign_up(time_zone="Europe/Berlin"))
    assert not alice.is_logged_in
    page = alice.verify()
    assert page.redirect_chain[-1][0] == "/dashboard"
    assert "$5.00 of trial credit is in your wallet" in says(page)
    hers = membership(alice)
    assert (hers.role, hers.organization.tier, hers.organization.limits) == ("owner", "free", {"parallel": 2})
    assert promo(alice) == "5.00"
    assert person(alice).time_zone == "Europe/Berlin"
    actions = AuditEntry.objects.filter(organization_id=hers.organization_id).values_list("action", flat=True)
    assert sorted(actions) == ["organization.create", "trial.grant"]


def test_nothing_opens_before_the_address_is_verified():
    alice = Browser()
    alice.sign_up()
    assert SENT in says(alice.log_in())
    assert alice.get("/dashboard/account").redirect_chain[-1][0].startswith("/auth/login/")
    assert len(alice.mails()) == 1, "a second mail within a minute is not sent"
    assert not Membership.objects.filter(user__email=alice.email).exists()


def test_looking_at_the_link_changes_nothing():
    alice = Browser()
    alice.sign_up()
    assert "is your address?" in says(alice.get(path_of(alice.link())))
    assert not Membership.objects.filter(user__email=alice.email).exists()


def test_in_another_browser_the_link_asks_for_the_password():
    alice = Browser()
    alice.sign_up()
    phone = Browser(alice.email)
    path = path_of(alice.link())
    assert "Type your password" in says(phone.get(path))
    assert "not the password" in says(phone.post(path, {"password": "something else"}))
    assert "This field is required" in says(phone.post(path))
    assert not phone.is_logged_in
    assert phone.post(path, {"password": alice.password}).redirect_chain[-1][0] == "/dashboard"
    assert promo(alice) == "5.00"


def test_a_link_is_good_for_one_time():
    alice = Browser().join()
    page = Browser().get(path_of(alice.link()))
    assert page.status_code == 404
    assert "not valid any more" in says(page)


def test_a_link_that_nobody_made_is_refused():
    assert Browser().get("/auth/confirm-email/Nw:1aaaaa:bbbbbb/").status_code == 404


def test_an_address_that_has_an_account_gets_the_same_page_and_another_mail(settings: Settings):
    mail_at_once(settings)
    alice = Browser().join()
    again = Browser(alice.email, password="another password")
    assert SENT in says(again.sign_up())
    assert alice.mails()[-1].subject == "You have an account already"
    assert User.objects.filter(email=alice.email).count() == 1
    assert alice.log_in().status_code == 200


@pytest.mark.parametrize("is_mail_server_away", [False, True])
def test_nothing_that_sign_up_shows_tells_whether_the_address_has_an_account(
    request: pytest.FixtureRequest, is_mail_server_away: bool
):
    known, new = Browser(Browser().move_in().email), Browser()
    if is_mail_server_away:
        request.getfixturevalue("mail_server_away")
    seen = []
    for browser in (known, new):
        page = browser.sign_up()
        again = browser.post("/auth/confirm-email/again/")
        words = [says(answer).replace(browser.email, "HER ADDRESS") for answer in (page, again)]
        seen.append((words, page.redirect_chain, again.redirect_chain, sorted(browser.client.cookies)))
    assert seen[0] == seen[1]
    assert ("could not be sent" if is_mail_server_away else "We sent an e-mail to HER ADDRESS.") in seen[0][0][0]


def test_who_signs_up_with_anothers_address_leaves_nothing_behind_for_her_to_confirm(settings: Settings):
    mail_at_once(settings)
    charlie = Browser(new_email("alice"), password="what charlie knows")
    charlie.sign_up()
    old_link = path_of(charlie.link())
    alice = Browser(charlie.email)
    alice.sign_up()
    assert alice.get(old_link).status_code == 404
    alice.verify()
    assert promo(alice) == "5.00"
    assert "not correct" in says(charlie.log_in())


def test_a_weak_password_is_refused_beside_its_field():
    page = Browser(password="password12").sign_up()
    assert page.context["form"].errors["password1"]
    assert "too common" in says(page)
    assert "at least 10 characters" in says(Browser(password="short").sign_up())


@pytest.mark.parametrize("email", ["", "nobody", "a@b", "two@at@signs.example"])
def test_what_is_no_address_is_refused_beside_its_field(email: str):
    assert "email" in Browser(email).sign_up().context["form"].errors


ODD_ADDRESSES = ['"bob"@corp.example.com', '"b\\ob"@corp.example.com', "bob@[127.0.0.1]"]


@pytest.mark.parametrize("email", ODD_ADDRESSES)
def test_other_spellings_of_a_mailbox_are_refused_beside_the_field_wherever_an_address_is_typed(
    alice: Browser, email: str
):
    alice.reauthenticate("/auth/email/")
    for page in (
        Browser(email).sign_up(),
        alice.post("/auth/email/", {"email": email, "action_add": "1"}),
        alice.post("/dashboard/members", {"email": email, "role": "viewer"}),
    ):
        assert page.context["form"].errors["email"] == [NOT_PLAIN]
    assert not User.objects.filter(email=email).exists()


@pytest.mark.parametrize("email", ODD_ADDRESSES)
def test_an_account_that_has_such_an_address_all_the_same_gets_no_trial_credit(email: str):
    assert promo(Browser(email).move_in()) == "0.00"


def test_links_in_mails_go_to_the_public_address_whatever_the_host_header_says(settings: Settings):
    settings.PUBLIC_URL = "https://gateway.example.com"
    alice = Browser(headers={"host": "evil.example"})
    alice.sign_up()
    assert alice.link().startswith("https://gateway.example.com/auth/confirm-email/")
    assert "evil.example" not in str(alice.mails()[0].message())


def test_a_mail_server_that_is_away_loses_no_sign_up(mail_server_away: None, settings: Settings):
    alice = Browser()
    page = alice.sign_up()
    assert "could not be sent" in says(page)
    assert SENT in says(page)
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    assert f"We sent an e-mail to {alice.email}" in says(alice.post("/auth/confirm-email/again/"))
    alice.verify()
    assert promo(alice) == "5.00"


def test_a_mail_that_was_just_sent_is_not_sent_again():
    alice = Browser()
    alice.sign_up()
    assert "less than a minute ago" in says(alice.post("/auth/confirm-email/again/"))
    assert len(alice.mails()) == 1
    assert "Log in, and the e-mail is sent again" in says(Browser().post("/auth/confirm-email/again/"))


def test_the_last_link_that_was_mailed_is_valid_after_the_form_is_sent_twice():
    alice = Browser()
    alice.sign_up()
    page = alice.sign_up()
    assert "less than a minute ago" in str(page.context["form"].errors["email"])
    assert SENT not in says(page), "no mail is claimed that was not sent"
    assert len(alice.mails()) == 1
    alice.verify()
    assert promo(alice) == "5.00"


def test_of_two_who_sign_up_at_once_with_one_address_one_is_told_to_wait():
    alice = Browser()
    at_once([alice.sign_up, Browser(alice.email).sign_up])
    assert len(alice.mails()) == 1
    assert alice.get(path_of(alice.link())).status_code == 200


def test_a_form_that_was_refused_can_be_sent_again_within_the_minute():
    alice = Browser(password="short")
    alice.sign_up()
    alice.password = "correct horse battery"
    assert SENT in says(alice.sign_up())


def test_by_default_mails_are_files_that_only_the_owner_reads(settings: Settings, tmp_path: Path):
    from komilion.mail_url import mailers

    settings.MAILERS = mailers("", tmp_path)
    alice = Browser()
    alice.sign_up()
    (file,) = (tmp_path / "mail").iterdir()
    assert file.name.endswith(f"-{alice.email}.eml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700
    content = file.read_text()
    assert f"To: {alice.email}" in content
    assert f"{settings.PUBLIC_URL}/auth/confirm-email/" in content


def test_five_sign_ups_an_hour_are_enough_for_one_address(settings: Settings):
    mail_at_once(settings)
    email = new_email("alice")
    for _ in range(5):
        assert SENT in says(Browser(email).sign_up())
    assert "Too many sign-ups with this address" in says(Browser(email).sign_up())


def test_sign_ups_from_one_place_are_limited(settings: Settings):
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "signup": "2/h/ip"}
    here = Browser()
    for _ in range(2):
        here.email = new_email("alice")
        assert here.sign_up().status_code == 200
    here.email = new_email("alice")
    page = here.sign_up()
    assert page.status_code == 429
    assert "Too many requests" in says(page)
    assert not User.objects.filter(email=here.email).exists()


# Trial credit.


@pytest.mark.parametrize("domain", ["mailinator.com", "team.mailinator.com"])
def test_disposable_addresses_have_an_account_but_no_credit_and_the_page_says_so(domain: str):
    alice = Browser(new_email("alice", domain))
    alice.sign_up()
    assert "get no trial credit" in says(alice.verify())
    assert promo(alice) == "0.00"
    assert membership(alice).organization.limits == {}


def test_one_mailbox_has_trial_credit_once_however_it_is_spelled():
    name = new_email("al.ice").split("@")[0]
    first = Browser(f"{name}@gmail.com").join()
    assert promo(first) == "5.00"
    second = Browser(f"{name.replace('.', '')}+again@googlemail.com")
    second.sign_up()
    assert "You had trial credit before" in says(second.verify())
    assert promo(second) == "0.00"


def test_other_domains_of_a_mail_service_are_the_same_mailbox():
    name = new_email("alice").split("@")[0]
    assert promo(Browser(f"{name}@proton.me").join()) == "5.00"
    for email in (f"{name}@pm.me", f"a.{name[1:]}@protonmail.com"):
        again = Browser(email)
        again.sign_up()
        assert "You had trial credit before" in says(again.verify())
        assert promo(again) == "0.00"


def test_another_address_and_another_organization_are_still_the_same_person(alice: Browser):
    assert promo(alice) == "5.00"
    first = membership(alice).organization_id
    heir = Browser(new_email("bob")).move_in()
    alice.post("/dashboard/members", {"email": heir.email, "role": "owner"})
    heir.post(path_of(heir.link()))
    alice.post(f"/dashboard/members/{membership(alice).pk}/remove")
    alice.post("/dashboard/organizations", {"name": "Another"})
    assert promo(alice) == "0.00"
    alice.email = new_email("alice")
    alice.reauthenticate("/auth/email/")
    alice.post("/auth/email/", {"email": alice.email, "action_add": "1"})
    link = path_of(alice.link())
    alice.post(link)
    alice.post("/auth/logout/")
    alice.log_in()
    assert membership(alice).organization_id != first
    assert promo(alice) == "0.00"


def test_trial_credit_can_be_switched_off(settings: Settings):
    settings.TRIAL_CREDIT_NANO = 0
    assert "is on us" not in says(Browser().get("/auth/signup/"))
    alice = Browser()
    alice.sign_up()
    assert "trial credit" not in says(alice.verify())
    assert promo(alice) == "0.00"


def test_trial_credit_can_be_another_amount(settings: Settings):
    settings.TRIAL_CREDIT_NANO = 1_250_000_000
    assert promo(Browser().join()) == "1.25"


def test_when_the_days_budget_is_used_up_the_page_says_so_and_another_day_makes_up_for_it(settings: Settings):
    settings.TRIAL_DAILY_BUDGET_NANO = granted_today() + settings.TRIAL_CREDIT_NANO - 1
    alice = Browser()
    alice.sign_up()
    assert "Today's trial credit is used up" in says(alice.verify())
    assert promo(alice) == "0.00"
    settings.TRIAL_DAILY_BUDGET_NANO = 10**15
    alice.post("/auth/logout/")
    assert "$5.00 of trial credit" in says(alice.log_in())
    assert promo(alice) == "5.00"


def test_two_who_race_for_the_last_of_the_budget_get_one_grant(settings: Settings):
    racers = [Browser(), Browser()]
    for racer in racers:
        racer.sign_up()
    settings.TRIAL_DAILY_BUDGET_NANO = granted_today() + settings.TRIAL_CREDIT_NANO
    at_once([racer.verify for racer in racers])
    assert sorted(promo(racer) for racer in racers) == ["0.00", "5.00"]
    assert granted_today() == settings.TRIAL_DAILY_BUDGET_NANO


def test_from_one_place_so_many_trials_begin_in_a_day(settings: Settings):
    settings.TRIAL_GRANTS_A_DAY_PER_IP = 1
    first = Browser().join()
    second = Browser(ip=first.ip)
    second.sign_up()
    assert "Too many trials began where you are" in says(second.verify())
    assert (promo(first), promo(second)) == ("5.00", "0.00")


def test_many_at_once_from_one_place_begin_no_more_trials_than_one_after_the_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    settings.TRIAL_GRANTS_A_DAY_PER_IP = 2
    first = Browser()
    racers = [first, *(Browser(ip=first.ip) for _ in range(3))]
    for racer in racers:
        racer.sign_up()
    barrier, everybody_asked = Barrier(len(racers)), Event()

    def claim_when_everybody_asked(*args: Any, **options: Any) -> Trial:
        if not everybody_asked.is_set():  # who has none by then asks again when she is logged in
            barrier.wait()
            everybody_asked.set()
        return do_claim_trial(*args, **options)

    monkeypatch.setattr(tenants, "do_claim_trial", claim_when_everybody_asked)
    at_once([racer.verify for racer in racers])
    assert sorted(promo(racer) for racer in racers) == ["0.00", "0.00", "5.00", "5.00"]


def test_who_gets_no_trial_credit_takes_no_room_from_others(settings: Settings):
    settings.TRIAL_GRANTS_A_DAY_PER_IP = 1
    first = Browser(new_email("alice", "mailinator.com")).join()
    assert promo(first) == "0.00"
    assert promo(Browser(ip=first.ip).join()) == "5.00"


def test_credit_that_the_ledger_could_not_grant_comes_with_the_next_login_once(monkeypatch: pytest.MonkeyPatch):
    def away(_movement: object) -> None:
        raise StoreUnavailable("the database is restarting")

    alice = Browser()
    alice.sign_up()
    with monkeypatch.context() as patched:
        patched.setattr(tenants, "do_move", away)
        alice.verify()
    assert alice.is_logged_in
    assert promo(alice) == "0.00"
    for _ in range(2):
        alice.post("/auth/logout/")
        alice.log_in()
        assert promo(alice) == "5.00"
    assert TrialGrant.objects.filter(organization_id=membership(alice).organization_id).count() == 1


def test_a_crash_after_the_address_was_verified_is_made_up_for_at_login():
    alice = Browser()
    alice.sign_up()
    person(alice).emailaddress_set.update(verified=True)
    assert alice.log_in().redirect_chain[-1][0] == "/dashboard"
    assert promo(alice) == "5.00"


def test_two_logins_at_once_make_one_organization():
    here, there = Browser(), Browser()
    here.sign_up()
    there.email = here.email
    person(here).emailaddress_set.update(verified=True)
    at_once([here.log_in, there.log_in])
    assert Membership.objects.filter(user__email=here.email).count() == 1
    assert promo(here) == "5.00"


def test_a_tenant_of_the_operator_gets_no_trial_credit():
    email = new_email("alice")
    tenants.do_open_tenant(email, tier="standard", credit_nano=0, actor="test")
    alice = Browser(email)
    alice.post("/auth/password/reset/", {"email": email})
    form = alice.get(path_of(alice.link()))
    alice.post(form.redirect_chain[-1][0], {"password1": alice.password, "password2": alice.password})
    alice.log_in()
    alice.verify()
    assert promo(alice) == "0.00"


# Without Redis.


@pytest.fixture
def redis_away(settings: Settings) -> None:
    """Nobody listens at REDIS_URL."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings.REDIS_URL = url
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": url}}


def test_without_redis_logging_in_says_503_and_who_is_logged_in_notices_nothing(alice: Browser, redis_away: None):
    page = Browser(alice.email).log_in()
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"
    assert "This is not possible for a moment" in says(page)
    assert Browser().sign_up().status_code == 503
    assert alice.get("/dashboard/account").status_code == 200
    assert alice.get("/auth/login/").status_code == 200
