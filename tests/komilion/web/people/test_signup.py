"""Sign-up: from the form to a dashboard with a wallet in it, and everything that may come between."""

from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.addresses import NOT_PLAIN
from accounts.models import AuditEntry, Membership, TrialDay, User
from billing.queries import wallet_summary
from komilion.common.clock import utc_now
from komilion.env import free_port
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
