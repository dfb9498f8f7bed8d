"""When keys were used last, as their list shows it."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import User
from tests.billing.calling import Calls
from tests.billing.rolling import roll_forward
from tests.komilion.web.dashboard.reading import link_of, open_page, text_of
from tests.people import Person

EVENING = datetime(2026, 6, 17, 18, 20, tzinfo=UTC)


@pytest.mark.parametrize("ago", [timedelta(), timedelta(days=9)])
@pytest.mark.parametrize("is_rolled_up", [True, False])
@pytest.mark.parametrize(("zone", "later"), [("Asia/Tokyo", 1), ("America/Lima", 0), ("Asia/Kathmandu", 1)])
@time_machine.travel(EVENING)
def test_the_day_of_the_last_use_is_that_of_who_looks(
    alice: Person, calls: Calls, ago: timedelta, is_rolled_up: bool, zone: str, later: int
):
    User.objects.filter(email=alice.email).update(time_zone=zone)
    calls.add(EVENING - ago - timedelta(days=2), 1_000)
    calls.add(EVENING - ago, 1_000)
    if is_rolled_up or ago:
        roll_forward()
    day = (EVENING - ago).date() + timedelta(days=later)
    assert f"{day:%b} {day.day}, {day.year}" in text_of(open_page(alice, "/dashboard/keys"))


def test_who_stored_a_new_key_goes_on_with_the_first_steps_while_they_run(alice: Person, calls: Calls):
    for token, next_page in (("a" * 24, "/dashboard"), ("b" * 24, "/dashboard/keys")):
        made = alice.browser.post("/dashboard/keys/new", {"name": "checkout", "form_token": token}).content.decode()
        assert link_of(made, "I have stored it") == next_page
        assert "/api/v1/key" in made
        calls.add(EVENING, 1_000)
