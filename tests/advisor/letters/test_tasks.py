"""What runs when: the digest that is due is made for each organization, whatever was down or ran twice."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives
from pytest_django import Settings

from accounts.models import Organization
from advisor import tasks
from advisor.findings import Findings
from advisor.models import Digest, Letter
from komilion.celery import app
from komilion.common.clock import utc_now
from tests.advisor.letters.delivering import CHEAPER, MONDAY, WEEK, built, figures
from tests.people import Person


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks run where they are asked for, and something is found for everybody."""
    before, app.conf.task_always_eager = app.conf.task_always_eager, True
    monkeypatch.setattr(tasks, "find", lambda _, week: Findings([CHEAPER], figures(week)))
    yield
    app.conf.task_always_eager = before


def digests() -> set[tuple[int, str]]:
    return set(Digest.objects.values_list("organization_id", "week"))


@pytest.mark.parametrize(
    ("monday", "week"),
    [
        ("2026-11-30", "2026-W49"),
        ("2026-03-23", "2026-W13"),  # both sides of the change to summer time in Europe
        ("2026-03-30", "2026-W14"),
        ("2026-10-19", "2026-W43"),
        ("2026-10-26", "2026-W44"),
        ("2026-12-28", "2026-W53"),
        ("2027-01-04", "2027-W01"),
    ],
)
def test_on_monday_at_nine_and_not_before(alice: Person, charlie: Person, monday: str, week: str):
    built(week, alice, charlie)
    at_nine = datetime.fromisoformat(monday).replace(hour=9, tzinfo=UTC)
    with time_machine.travel(at_nine - timedelta(minutes=2), tick=False):
        tasks.fan_out()
        assert digests() == set()
    with time_machine.travel(
        at_nine - timedelta(seconds=1), tick=False
    ):  # beat says that it is nine; our clock is late
        tasks.fan_out()
        assert digests() == {(alice.organization_id, week), (charlie.organization_id, week)}


def test_what_was_down_over_the_hour_is_made_up_for(alice: Person):
    built(WEEK, alice)
    with time_machine.travel(MONDAY + timedelta(days=2, hours=7), tick=False):
        tasks.fan_out()
    assert digests() == {(alice.organization_id, WEEK)}


def test_two_rounds_make_one_digest_and_one_letter(alice: Person, mailoutbox: list[EmailMultiAlternatives]):
    built(WEEK, alice)
    with time_machine.travel(MONDAY, tick=False):
        for _ in range(2):
            tasks.fan_out()
            tasks.make_digest(alice.organization_id, WEEK)
            tasks.send_letters()
    assert (Digest.objects.count(), Letter.objects.count(), len(mailoutbox)) == (1, 1, 1)


def test_nothing_is_looked_at_before_the_evidence_is_whole(alice: Person):
    with time_machine.travel(MONDAY, tick=False):
        tasks.fan_out()
        assert digests() == set()
        built(WEEK, alice)
        tasks.fan_out()
        assert digests() == {(alice.organization_id, WEEK)}


def test_nobody_looks_at_a_suspended_organization(alice: Person, charlie: Person):
    built(WEEK, alice, charlie)
    Organization.objects.filter(pk=alice.organization_id).update(suspended_at=utc_now())
    with time_machine.travel(MONDAY, tick=False):
        tasks.fan_out()
    assert digests() == {(charlie.organization_id, WEEK)}


def test_who_has_not_called_for_four_weeks_is_left_in_peace(alice: Person, charlie: Person):
    built("2026-W45", alice)
    built(WEEK, charlie)
    with time_machine.travel(MONDAY, tick=False):
        tasks.fan_out()
    assert digests() == {(charlie.organization_id, WEEK)}


def test_where_it_failed_for_one_it_is_made_for_the_others_and_again_for_the_one(
    alice: Person, charlie: Person, monkeypatch: pytest.MonkeyPatch
):
    def find(organization_id: int, week: str) -> Findings:
        if organization_id == alice.organization_id:
            raise RuntimeError("crashed")
        return Findings([CHEAPER], figures(week))

    built(WEEK, alice, charlie)
    with time_machine.travel(MONDAY, tick=False), monkeypatch.context() as patched:
        patched.setattr(tasks, "find", find)
        tasks.fan_out()
        assert digests() == {(charlie.organization_id, WEEK)}
    with time_machine.travel(MONDAY + timedelta(minutes=15), tick=False):
        tasks.fan_out()
    assert len(digests()) == 2


def test_the_schedule_looks_at_nine_and_in_each_quarter_of_an_hour():
    schedule = app.conf.beat_schedule["advise"]["schedule"]
    assert schedule.minute == {0, 15, 30, 45}
    assert app.conf.timezone in (None, "UTC")
    assert app.amqp.router.route({}, "advisor.tasks.make_digest")["queue"].name == "advisor"


def test_a_mail_server_that_is_away_ends_the_run_quietly(alice: Person, settings: Settings):
    from komilion.env import free_port
    from komilion.mail_url import mailers

    built(WEEK, alice)
    settings.MAILERS = mailers(f"smtp://127.0.0.1:{free_port()}?tls=off", settings.DATA_DIR)
    with time_machine.travel(MONDAY, tick=False):
        tasks.fan_out()
        tasks.send_letters()
    assert Letter.objects.get().state == "waiting"


def test_the_letter_has_the_sums_of_the_days(alice: Person, monkeypatch: pytest.MonkeyPatch):
    """Without a word to say they are kept in a silent digest."""
    from advisor.findings import find

    monkeypatch.setattr(tasks, "find", find)
    built(WEEK, alice)
    with time_machine.travel(MONDAY, tick=False):
        tasks.fan_out()
    digest = Digest.objects.get()
    assert digest.is_silent
    assert digest.figures["last_day"] == "2026-11-29"
    assert digest.figures["days"] == [0] * 27 + [2 * 10**9]
    assert digest.figures["tasks"] == [{"name": "summarization", "nano": 2 * 10**9, "before_nano": 0}]
