"""Alice owns an organization, Bob is a developer of it, Charlie owns another one."""

from collections.abc import Iterator

import pytest
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
def mail_server(settings: Settings) -> Iterator[MailServer]:
    """Where mail goes during the test, as fast as it can."""
    from komilion.mail_url import mailers

    settings.ADVISOR_LETTERS_PER_S = 1_000
    with MailServer().running() as server:
        settings.MAILERS = mailers(server.url, settings.DATA_DIR)
        yield server
