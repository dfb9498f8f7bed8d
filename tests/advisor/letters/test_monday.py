"""A Monday with a real worker, real beat, a real Valkey and a real mail server, at any time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from advisor.weeks import week_of
from tests.advisor.letters.delivering import MONDAY, MailServer, built, old_key
from tests.people import Person, new_owner
from tests.services.valkey import ValkeyServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

PATIENCE_S = 90
WORKER = ("worker", "--pool", "solo", "--queues", "advisor", "--without-gossip", "--without-mingle")
ROOT = Path(__file__).parents[3]


class Jobs:
    """Workers and beats of one installation."""

    def __init__(self, valkey: ValkeyServer, mail_server: MailServer, folder: Path) -> None:
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "komilion.settings",
            "DATA_DIR": str(settings.DATA_DIR),
            "REDIS_URL": valkey.url,
            "MAIL_URL": mail_server.url,
            "ADVISOR_LETTERS_PER_S": "100",
            "TZ": "Europe/Berlin",  # where clocks are put forward and back
        }
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, moment: datetime, *command: str, failpoints: str = "") -> subprocess.Popen[bytes]:
        """Celery at that moment."""
        with (self._folder / f"celery-{len(self._running)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.advisor.letters.celery_at", moment.isoformat(), *command],
                cwd=ROOT,
                env={**self._environment, "KOMILION_FAILPOINTS": failpoints},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        return process

    def stop(self) -> None:
        """All of them."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("celery-*.log")))


@pytest.fixture
def jobs(valkey_server: ValkeyServer, mail_server: MailServer, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(valkey_server, mail_server, tmp_path)
    try:
        yield jobs
    finally:
        jobs.stop()


@pytest.fixture
def people(valkey_url: str) -> list[Person]:
    """Two tenants, each with a key that nobody uses."""
    found = [new_owner("alice@example.com"), new_owner("charlie@example.com")]
    for person in found:
        old_key(person, datetime(2025, 1, 1, tzinfo=UTC))
    return found


@contextmanager
def explained(jobs: Jobs) -> Iterator[None]:
    """What the processes said, where something does not happen."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}\n{jobs.logs()[-8_000:]}") from error


def all_are_sent(week: str, people: list[Person]) -> bool:
    from advisor.models import Letter

    return Letter.objects.filter(digest__week=week, state="sent").count() == len(people)


def each_has_one(week: str, people: list[Person], mail_server: MailServer) -> None:
    from advisor.models import Digest, Letter

    assert Digest.objects.filter(week=week).count() == len(people)
    assert Letter.objects.filter(digest__week=week).count() == len(people)
    assert sorted(message["To"] for message in mail_server.took) == sorted(person.email for person in people)


@pytest.mark.parametrize(
    "monday",
    [
        "2026-03-23",  # the Monday before clocks are put forward in Europe
        "2026-03-30",  # and after
        "2026-10-19",  # before they are put back
        "2026-10-26",
        "2026-12-28",  # of week 53
    ],
)
def test_at_nine_two_beats_bring_each_member_one_letter(
    jobs: Jobs, people: list[Person], mail_server: MailServer, monday: str
):
    nine = datetime.fromisoformat(f"{monday}T09:00:00+00:00")
    week = week_of(nine)
    built(week, *people)
    with explained(jobs):
        jobs.start(nine - timedelta(seconds=15), *WORKER)
        for _ in range(2):
            jobs.start(nine - timedelta(seconds=15), "beat")
        wait_until(lambda: all_are_sent(week, people), PATIENCE_S, "the letters")
        each_has_one(week, people, mail_server)


def test_a_beat_that_was_down_over_the_hour_loses_nothing(jobs: Jobs, people: list[Person], mail_server: MailServer):
    later = MONDAY + timedelta(hours=5, minutes=14, seconds=50)
    week = week_of(MONDAY)
    built(week, *people)
    with explained(jobs):
        jobs.start(later, *WORKER)
        jobs.start(later, "beat")
        wait_until(lambda: all_are_sent(week, people), PATIENCE_S, "the letters")
        each_has_one(week, people, mail_server)


def test_a_worker_killed_between_sending_and_marking_sends_the_same_letter_again(
    jobs: Jobs, people: list[Person], mail_server: MailServer
):
    from advisor.models import Letter

    week = week_of(MONDAY)
    built(week, *people)
    with explained(jobs):
        first = jobs.start(MONDAY - timedelta(seconds=10), *WORKER, failpoints="letter-sent=kill")
        beat = jobs.start(MONDAY - timedelta(seconds=10), "beat")
        wait_until(lambda: first.poll() is not None, PATIENCE_S, "the end of the worker")
        assert len(mail_server.took) == 1
        beat.kill()
        beat.wait()
        later = MONDAY + timedelta(minutes=12)
        jobs.start(later, *WORKER)
        jobs.start(later, "beat")
        wait_until(lambda: all_are_sent(week, people), PATIENCE_S, "the letters")
    to_alice = mail_server.to(people[0].email)
    assert len(to_alice) == 2
    assert len({message["Message-ID"] for message in to_alice}) == 1
    assert len(mail_server.to(people[1].email)) == 1
    assert Letter.objects.filter(state="sent").count() == 2
