"""Trial credit: who gets it, once, and within which limits."""

from threading import Barrier, Event
from typing import Any

import pytest
from pytest_django import Settings

from accounts.actions.trial import Trial, do_claim_trial
from accounts.models import Membership, TrialDay, TrialGrant
from billing.errors import StoreUnavailable
from billing.queries import wallet_summary
from komilion.common.clock import utc_now
from komilion.web import tenants
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import at_once, membership, person


def promo(browser: Browser) -> str:
    """Promo credit in her wallet, in US dollars."""
    return wallet_summary(membership(browser).organization_id)["promo"]


def granted_today() -> int:
    """Nano-USD of trial credit that everybody got together."""
    return TrialDay.objects.filter(day=utc_now().date()).values_list("granted_nano", flat=True).first() or 0


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
