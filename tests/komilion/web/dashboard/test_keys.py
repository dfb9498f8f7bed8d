"""When keys were used last, as their list shows it."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import User
from tests.billing.calling import Calls
from tests.billing.rolling import roll_forward
from tests.komilion.web.dashboard.reading import open_page, text_of
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
