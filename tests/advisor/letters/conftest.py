"""Alice owns an organization, Bob is a developer of it, Charlie owns another one."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from tests.advisor.letters.delivering import MailServer
from tests.people import Person, new_member, new_owner


@pytest.fixture
def alice(db: None, valkey_url: str) -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def bob(alice: Person) -> Person:
    return new_member("bob@example.com", alice.organization_id, "developer")


@pytest.fixture
def charlie(alice: Person) -> Person:
    return new_owner("charlie@example.com")


@pytest.fixture
def models(alice: Person, capsys: pytest.CaptureFixture[str]) -> None:
    """Two that cost the same."""
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("large", "mini"):
        prices = ("--input-price", "3.00", "--output-price", "15.00")
        call_command("model", "add", f"acme/{name}", "--provider", "acme", "--upstream-id", name, *prices)


@pytest.fixture
def anybody() -> Client:
    """A browser in which nobody is logged in, whose forms must be ours."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    """Where mail goes during the test, as fast as it can."""
    from komilion.mail_url import mailers

    settings.ADVISOR_LETTERS_PER_S = 1_000
    with MailServer().running() as server:
        settings.MAILERS = mailers(server.url, settings.DATA_DIR)
        yield server
