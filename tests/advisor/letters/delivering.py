"""Digests and letters for tests: one that is made of a piece of advice, and a mail server to send it to."""

import email
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, time
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Any

from aiosmtpd.controller import Controller

from advisor.advice import Kind, Recommendation, Saving
from advisor.figures import Figures, Line
from advisor.weeks import last_day_told_of, week_of
from komilion.common.clock import utc_now
from komilion.env import free_port
from tests.people import Person

DOLLAR = 10**9
WEEK = "2026-W49"
MONDAY = datetime(2026, 11, 30, 9, tzinfo=UTC)  # when the digest of that week is due
CHEAPER = Recommendation(
    kind=Kind.CHEAPER,
    subject="acme/large",
    task="summarization",
    model="acme/mini",
    saving=Saving(21 * DOLLAR, 34 * DOLLAR, 47 * DOLLAR),
    confidence=0.94,
    evidence={"calls": 4_312, "days": 28, "charge_nano": 61 * DOLLAR},
    risks=("quality", "tokenizer", "a code of tomorrow"),
)


def figures(week: str = WEEK) -> Figures:
    """A month in which spending grew."""
    days = [DOLLAR * (3 + number % 7) for number in range(21)] + [9 * DOLLAR] * 7
    return Figures(
        last_day=last_day_told_of(week),
        nano=63 * DOLLAR,
        before_nano=42 * DOLLAR,
        tasks=[Line("summarization", 40 * DOLLAR, 21 * DOLLAR), Line("code-generation", 23 * DOLLAR, 21 * DOLLAR)],
        models=[Line("acme/large", 50 * DOLLAR, 42 * DOLLAR), Line("acme/mini", 13 * DOLLAR, 0)],
        days=days,
    )


def made(
    person: Person, week: str = WEEK, said: Sequence[Recommendation] = (CHEAPER,), now: datetime | None = None
) -> Any:
    """The digest of her organization; None where there was one."""
    from advisor.actions.digests import do_make_digest

    return do_make_digest(person.organization_id, week, said, figures(week), now or utc_now())


def asked(person: Person, week: str = WEEK, task: str = "writing", **more: Any) -> Any:
    """An upgrade of a pin of hers that began in the week that this digest tells of; it waits, or is as `more` says."""
    from advisor.models import Upgrade

    began = datetime.combine(last_day_told_of(week), time(12), UTC)
    values = {"old_model": "acme/large", "new_model": "acme/mini", "state": "asked", "step_at": began}
    return Upgrade.objects.create(
        **{"organization_id": person.organization_id, "task": task, "created_at": began, **values, **more}
    )


def week_now() -> str:
    return week_of(utc_now())


def letter_to(person: Person, week: str = WEEK) -> Any:
    from advisor.models import Letter

    return Letter.objects.get(user__email=person.email, digest__week=week)


def links_in(written: Any) -> dict[str, str]:
    """The paths of the links of a letter's first advice, of what it asks and of its end, by what they do."""
    item = written.context["items"][0]
    found = {"accept": item.accept, "dismiss": item.dismiss, "compare": item.compare, "off": written.context["off_url"]}
    for newer in written.context["upgrades"]:
        found |= {"agree": newer.agree, "decline": newer.decline}
    found["samples"] = written.context["samples_url"]
    return {name: re.sub(r"^https?://[^/]+", "", url) for name, url in found.items() if url}


def tokens_for(person: Person) -> dict[str, str]:
    """Of the links of a letter to her, that was just made, by what they do; an upgrade waits for an answer."""
    from advisor.links import Act, Link
    from advisor.models import Advice

    upgrade = asked(person, week_now())
    letter = made(person, week_now()).letters.get(user__email=person.email)
    advice = Advice.objects.get(organization_id=person.organization_id)
    acts = {
        "accept": (Act.ACCEPT, advice.pk),
        "dismiss": (Act.DISMISS, advice.pk),
        "agree": (Act.AGREE, upgrade.pk),
        "decline": (Act.DECLINE, upgrade.pk),
        "samples": (Act.SAMPLES, 0),
        "letters": (Act.LETTERS, 0),
    }
    return {
        name: Link(act, person.organization_id, letter.user_id, row_id, advice.expires_on).token
        for name, (act, row_id) in acts.items()
    }


def built(week: str = WEEK, *people: Person) -> None:
    """Evidence that reaches up to that week, with a call of each of these people's organizations on its last day."""
    from advisor.models import DayEvidence, EvidenceDay

    day = last_day_told_of(week)
    EvidenceDay.objects.get_or_create(day=day, defaults={"built_at": utc_now(), "calls": len(people)})
    for person in people:
        DayEvidence.objects.create(
            day=day,
            organization_id=person.organization_id,
            task="summarization",
            model="acme/large",
            way="named",
            **dict.fromkeys(SUMS, 0) | {"requests": 1, "answered": 1, "charge_nano": 2 * DOLLAR, "policy": ""},
        )


def old_key(person: Person, made_at: datetime) -> int:
    """A key of hers that was made then and never used; its id."""
    from accounts.models import ApiKey

    key = person.key("staging, old").row
    ApiKey.objects.filter(pk=key.pk).update(created_at=made_at)
    return key.pk


SUMS = (
    *("requests", "failed", "retried", "cut", "charge_nano", "answered", "rated", "votes"),
    *("input", "cache_read", "cache_write", "cache_write_1h", "input_image", "cache_read_image", "output"),
    *("log_output", "log_output_square", "log_ms", "log_ms_square", "difficulty", "score"),
)


class MailServer:
    """A real SMTP server on loopback: what it took, and what it says to which address (`250 ...` to all others)."""

    def __init__(self) -> None:
        self.took: list[EmailMessage] = []
        self.raw: list[bytes] = []  # the same, as they came over the wire
        self.says: dict[str, str] = {}
        self.says_after_data: dict[str, str] = {}  # what is not taken then is in neither list
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=off"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        said = self.says.get(address, "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=default_policy)
        assert isinstance(message, EmailMessage)
        if refusal := self.says_after_data.get(message["To"]):
            return refusal
        self.took.append(message)
        self.raw.append(envelope.content)
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """What came for an address."""
        return [message for message in self.took if message["To"] == address]

    @contextmanager
    def running(self) -> Iterator["MailServer"]:
        self._controller.start()
        try:
            yield self
        finally:
            self._controller.stop()
