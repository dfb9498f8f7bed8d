"""Conversations with the live gateway, whose realtime provider is the strict stand-in."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.fakes.realtime import RealtimeUpstream
from tests.stand import Gateway
from tests.voice.realtime.talking import Stand

_names = count(1)


@pytest.fixture(scope="session")
def realtime_upstream() -> Iterator[RealtimeUpstream]:
    """The realtime provider of this worker."""
    with RealtimeUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def stand(gateway: Gateway, realtime_upstream: RealtimeUpstream) -> Stand:
    """The gateway, and models at the stand-in."""
    name = f"rt-{next(_names)}"
    gateway.add_provider(name, base_url=realtime_upstream.url)
    return Stand(gateway, realtime_upstream, name)
