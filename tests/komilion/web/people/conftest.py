"""Pages on the real database and Valkey. Nothing is rolled back: everybody has an address of her own."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.mail.backends.locmem import EmailBackend
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from accounts.models import Membership, User
from tests.komilion.web.people.browser import Browser, new_email


@pytest.fixture(autouse=True)
def pages(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, valkey_url: str, settings: Settings
) -> Iterator[None]:
    """Pages can be asked for; a password costs no second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.TRIAL_DAILY_BUDGET_NANO = 10**15
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def alice() -> Browser:
    """The owner of an organization of her own, logged in."""
    return Browser(new_email("alice")).move_in()


@pytest.fixture
def charlie() -> Browser:
    """A stranger with an organization of his own, logged in."""
    return Browser(new_email("charlie")).move_in()


def person(browser: Browser) -> User:
    """Whoever sits there, as the database knows her."""
    return User.objects.get(email=browser.email)


def membership(browser: Browser) -> Membership:
    """Her oldest one."""
    return Membership.objects.filter(user__email=browser.email).order_by("pk")[0]


class MailServerAway(EmailBackend):
    """A mail server that does not answer."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError(111, "Connection refused")


@pytest.fixture
def mail_server_away(settings: Settings) -> None:
    """No mail can be sent for now."""
    settings.MAILERS = {"default": {"BACKEND": f"{__name__}.MailServerAway"}}


def at_once(actions: list[Any]) -> None:
    """Do them in threads that start together; what one raises is raised."""
    barrier, errors = threading.Barrier(len(actions)), []

    def run(action: Any) -> None:
        try:
            barrier.wait()
            action()
        except Exception as error:  # noqa: BLE001 - raised below, in the thread of the test
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
