"""What the contract tests share: a tenant with plenty of money and the unmodified client."""

from collections.abc import Iterator

import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.stand import Gateway, Tenant


class Person(BaseModel):
    """What the script `json` answers."""

    name: str
    age: int


@pytest.fixture(autouse=True)
def _no_pause(settings: object) -> None:
    """A provider that failed is tried again at once, and not after the wait that it asks for."""
    settings.RETRY_PAUSE_S, settings.RETRY_AFTER_MOST_S = 0.005, 0


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """A tenant who pays."""
    return gateway.tenant(credit="100.00")


@pytest.fixture
def client(gateway: Gateway, alice: Tenant) -> Iterator[OpenAI]:
    """Alice's client; every test sees the first answer, so it does not retry."""
    with OpenAI(api_key=alice.key, base_url=f"{gateway.url}/v1", max_retries=0) as ready:
        yield ready
