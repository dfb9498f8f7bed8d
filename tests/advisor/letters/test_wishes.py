"""How often a member hears, as she sets it on her account page."""

import re

from advisor.actions.letters import do_close_address
from advisor.models import ClosedAddress, MailWishes
from tests.people import Person

ACCOUNT = "/dashboard/account"


def test_without_a_choice_it_is_weekly_with_alerts(alice: Person):
    page = alice.browser.get(ACCOUNT).content.decode()
    assert re.search(r'value="weekly" selected', page)
    assert re.search(r'name="wants_alerts"[^>]*checked', page)


def test_a_choice_is_kept_and_shown(alice: Person):
    path = f"{ACCOUNT}/letters/{alice.organization_id}"
    assert alice.browser.post(path, {"often": "monthly"}).status_code == 302
    row = MailWishes.objects.get()
    assert (row.membership_id, row.often, row.wants_alerts) == (alice.membership_id, "monthly", False)
    assert re.search(r'value="monthly" selected', alice.browser.get(ACCOUNT).content.decode())


def test_stopping_by_a_link_leaves_alerts_as_they_are(alice: Person):
    from advisor.actions.wishes import do_set_wishes

    do_set_wishes(alice.membership_id, MailWishes.Often.WEEKLY, wants_alerts=False)
    do_set_wishes(alice.membership_id, MailWishes.Often.OFF)
    assert not MailWishes.objects.get().wants_alerts


def test_a_word_that_is_none_of_these_changes_nothing(alice: Person):
    alice.browser.post(f"{ACCOUNT}/letters/{alice.organization_id}", {"often": "hourly"})
    assert not MailWishes.objects.exists()


def test_nobody_chooses_for_another_organization(alice: Person, charlie: Person):
    assert charlie.browser.post(f"{ACCOUNT}/letters/{alice.organization_id}", {"often": "off"}).status_code == 404
    assert not MailWishes.objects.exists()


def test_a_closed_address_is_said(alice: Person):
    assert "No letters go to your address" not in alice.browser.get(ACCOUNT).content.decode()
    do_close_address(alice.email, ClosedAddress.Why.BOUNCE)
    assert "No letters go to your address" in alice.browser.get(ACCOUNT).content.decode()
