"""Logging in and out, guessing passwords, forgetting them."""

import re

import pytest
from django.conf import settings as installed
from pytest_django import Settings

from komilion.common.redis import shared_client
from komilion.web.people.limits import FREE_ATTEMPTS, FREE_ATTEMPTS_EVERYWHERE, LoginLock
from tests.komilion.web.people.browser import Browser, new_email, new_ip, path_of, says

WRONG = "The email address and/or password you specified are not correct."


def guess(browser: Browser, times: int) -> str:
    """Type a wrong password so often; what the last answer says."""
    for number in range(times):
        page = browser.log_in(password=f"wrong {number}")
    return says(page)


def test_who_logs_in_lands_where_she_wanted_to_go(alice: Browser):
    again = Browser(alice.email)
    page = again.post("/auth/login/?next=/dashboard/members", {"login": alice.email, "password": alice.password})
    assert page.redirect_chain[-1][0] == "/dashboard/members"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/x", "javascript:alert(1)", "/\\evil.example"]
)
def test_nobody_is_sent_to_another_site_after_login(alice: Browser, target: str):
    page = Browser(alice.email).log_in(next=target)
    assert page.redirect_chain[-1][0] == "/dashboard"


def test_logging_out_takes_a_post(alice: Browser):
    assert "Log out of Komilion in this browser?" in says(alice.get("/auth/logout/"))
    assert alice.is_logged_in
    assert "You are logged out" in says(alice.post("/auth/logout/"))
    assert not alice.is_logged_in


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(alice: Browser):
    assert WRONG in says(Browser(alice.email).log_in(password="wrong"))
    assert WRONG in says(Browser(new_email("nobody")).log_in())


def test_after_five_wrong_passwords_the_right_one_must_wait_too(alice: Browser):
    guesser = Browser(alice.email)
    assert WRONG in guess(guesser, FREE_ATTEMPTS)
    assert re.search(r"Too many failed attempts. Try again in [23]\d seconds", says(guesser.log_in()))
    assert not guesser.is_logged_in
    assert alice.post("/auth/logout/").status_code == 200
    assert alice.log_in().redirect_chain[-1][0] == "/dashboard", "at her own place nothing is locked"


def test_an_address_without_account_is_locked_in_the_same_way():
    nobody = Browser(new_email("nobody"))
    guess(nobody, FREE_ATTEMPTS)
    assert re.search(r"Too many failed attempts. Try again in [23]\d seconds", says(nobody.log_in()))


def test_every_further_failure_doubles_the_lock_up_to_an_hour():
    lock = LoginLock(new_email("alice"), "192.0.2.1")
    for _ in range(FREE_ATTEMPTS):
        assert lock.attempt() == 0
    waits = []
    for _ in range(9):
        waits.append(lock.attempt())
        shared_client(installed.REDIS_URL).hset(lock._keys()[0], "until", 0)  # the time has passed
        assert lock.attempt() == 0
    expected = [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert all(0 <= wanted - wait <= 9 for wanted, wait in zip(expected, waits, strict=True)), waits


def test_who_guesses_from_everywhere_is_locked_out_but_not_from_where_the_person_logs_in():
    email = new_email("alice")
    LoginLock(email, "192.0.2.1").succeeded()
    for number in range(FREE_ATTEMPTS_EVERYWHERE):
        assert LoginLock(email, f"198.51.{number}.7").attempt() == 0
    assert LoginLock(email, "203.0.113.9").attempt() > 0
    assert LoginLock(email, "192.0.2.1").attempt() == 0


def test_the_right_password_forgets_the_failures_before_it(alice: Browser):
    again = Browser(alice.email)
    for _ in range(3):
        guess(again, FREE_ATTEMPTS - 2)
        assert again.log_in().redirect_chain[-1][0] == "/dashboard"
        again.post("/auth/logout/")


def test_another_host_header_is_no_way_around_the_lock(alice: Browser):
    guesser = Browser(alice.email)
    for number in range(FREE_ATTEMPTS):
        guesser.client.post(
            "/auth/login/", {"login": alice.email, "password": "wrong"}, headers={"host": f"host{number}.example"}
        )
    assert "Too many failed attempts" in says(guesser.log_in())


def test_without_a_proxy_the_forwarded_address_is_not_believed(alice: Browser):
    guesser = Browser(alice.email)
    for _ in range(FREE_ATTEMPTS):
        guesser.client.post(
            "/auth/login/", {"login": alice.email, "password": "x"}, headers={"x-forwarded-for": new_ip()}
        )
    assert "Too many failed attempts" in says(guesser.log_in())


def test_behind_a_proxy_the_address_that_it_saw_counts_and_none_that_the_client_wrote(
    alice: Browser, settings: Settings
):
    settings.BEHIND_PROXY = True
    seen, other = new_ip(), new_ip()
    proxy = Browser(alice.email)
    for _ in range(FREE_ATTEMPTS):
        forwarded = {"x-forwarded-for": f"{new_ip()}, {seen}"}
        proxy.client.post("/auth/login/", {"login": alice.email, "password": "x"}, headers=forwarded)
    right = {"login": alice.email, "password": alice.password}
    locked = proxy.client.post("/auth/login/", right, headers={"x-forwarded-for": f"{other}, {seen}"})
    assert "Too many failed attempts" in says(locked)
    free = proxy.client.post("/auth/login/", right, headers={"x-forwarded-for": f"{seen}, {other}"})
    assert free.status_code == 302


@pytest.mark.parametrize(
    ("peer", "same"),
    [
        ("2001:db8:1:2:3::9", "2001:db8:1:2:ffff::1"),  # one customer's network
        ("::ffff:192.0.2.77", "192.0.2.77"),
    ],
)
def test_addresses_of_one_place_count_as_one(alice: Browser, peer: str, same: str):
    guess(Browser(alice.email, ip=peer), FREE_ATTEMPTS)
    assert "Too many failed attempts" in says(Browser(alice.email, ip=same).log_in())


def test_many_logins_from_one_place_are_limited(settings: Settings, alice: Browser):
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login": "1/m/ip"}
    guesser = Browser(alice.email)
    assert guesser.log_in(password="wrong").status_code == 200
    assert guesser.log_in().status_code == 429


# Forgotten passwords.


def test_a_forgotten_password_is_set_anew_by_a_link_and_ends_every_session(alice: Browser, settings: Settings):
    settings.PUBLIC_URL = "https://gateway.example.com"
    lost = Browser(alice.email, headers={"host": "evil.example"})
    assert "Look at your mail" in says(lost.post("/auth/password/reset/", {"email": alice.email}))
    assert lost.link().startswith("https://gateway.example.com/auth/password/reset/key/")
    form = lost.get(path_of(lost.link()))
    new = "a password of another kind"
    page = lost.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert "Your password is set" in says(page)
    assert not alice.is_logged_in
    assert WRONG in says(Browser(alice.email).log_in())
    lost.password = new
    assert lost.log_in().redirect_chain[-1][0] == "/dashboard"
    assert lost.mails()[-1].subject == "Your account was changed"


def test_setting_the_password_anew_unlocks_the_login(alice: Browser):
    lost = Browser(alice.email)
    guess(lost, FREE_ATTEMPTS)
    lost.post("/auth/password/reset/", {"email": alice.email})
    form = lost.get(path_of(lost.link()))
    lost.password = "a password of another kind"
    lost.post(form.redirect_chain[-1][0], {"password1": lost.password, "password2": lost.password})
    assert lost.log_in().redirect_chain[-1][0] == "/dashboard"


def test_an_unknown_address_gets_the_same_page_and_a_mail_that_says_so():
    nobody = Browser(new_email("nobody"))
    assert "Look at your mail" in says(nobody.post("/auth/password/reset/", {"email": nobody.email}))
    assert nobody.mails()[0].subject == "There is no account with this address"


def test_a_link_to_set_the_password_is_good_once_and_not_for_ever(alice: Browser):
    lost = Browser(alice.email)
    lost.post("/auth/password/reset/", {"email": alice.email})
    path = path_of(lost.link())
    form = lost.get(path)
    new = {"password1": "a password of another kind", "password2": "a password of another kind"}
    lost.post(form.redirect_chain[-1][0], new)
    assert "not valid any more" in says(Browser().get(path))
    assert "not valid any more" in says(Browser().get("/auth/password/reset/key/1-d2ab3f-0123456789abcdef/"))


def test_requests_for_a_new_password_are_limited_for_each_address(settings: Settings, alice: Browser):
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "reset_password": "20/h/ip,1/h/key"}
    assert Browser().post("/auth/password/reset/", {"email": alice.email}).status_code == 200
    assert Browser().post("/auth/password/reset/", {"email": alice.email}).status_code == 429
