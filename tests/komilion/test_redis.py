"""Whether Redis answers, in words for the operator."""

import pytest

from komilion.common.redis import trouble_of
from tests.services.valkey import ValkeyServer, free_url


def test_a_redis_that_answers_is_no_trouble(valkey_server: ValkeyServer) -> None:
    assert trouble_of(valkey_server.url) is None


def test_a_redis_that_is_gone_is_named_without_its_password() -> None:
    url = free_url()
    password, _, address = url.removeprefix("redis://:").removesuffix("/0").partition("@")
    trouble = trouble_of(url)
    assert trouble is not None
    assert f"Redis at {address} (REDIS_URL) does not answer: " in trouble
    assert password not in trouble
    assert "\n" not in trouble


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_a_wrong_password_is_trouble(valkey_server: ValkeyServer, scheme: str) -> None:
    address = valkey_server.url.rpartition("@")[2]
    url = f"redis://:wrong@{address}" if scheme == "tcp" else f"unix://:wrong@{valkey_server.socket_path}"
    trouble = trouble_of(url)
    assert trouble is not None
    assert "wrong@" not in trouble
