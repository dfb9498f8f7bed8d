"""Alice owns an organization, Bob is her team mate in three roles, Charlie owns another one.

Nothing is rolled back, since the ledger commits by itself: everybody has an address and an organization of her own.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from tests.komilion.web.paying.wallets import ROLES
from tests.people import Person, new_member, new_owner

_numbers = count(1)


@pytest.fixture(autouse=True)
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def alice() -> Person:
    return new_owner(_address("alice"))


@pytest.fixture
def charlie() -> Person:
    return new_owner(_address("charlie"))


@pytest.fixture
def bob(alice: Person) -> Callable[[str], Person]:
    """Bob in a role."""
    made = {role: new_member(_address(f"bob-{role}"), alice.organization_id, role) for role in ROLES}
    return made.__getitem__


def _address(name: str) -> str:
    return f"{name}-{next(_numbers)}@paying.example.com"


@pytest.fixture
def test_money(settings: Any) -> None:
    settings.TEST_PAYMENTS = True


@pytest.fixture
def stripe_keys(settings: Any) -> None:
    """Stripe in its test mode, set up; nothing here may reach it."""
    settings.STRIPE_SECRET_KEY = "sk_test_0123456789"
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_0123456789"]
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
