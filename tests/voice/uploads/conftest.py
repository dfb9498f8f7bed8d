"""Who uploads."""

import pytest

from tests.stand import Gateway, Tenant
from tests.voice.uploads.sending import ticket


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture(scope="module")
def charlie(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture
def where(gateway: Gateway, alice: Tenant) -> dict:
    return ticket(gateway, alice)
