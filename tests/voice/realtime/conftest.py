"""Conversations with the live gateway, whose realtime provider is the strict stand-in."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.fakes import openai_audio
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.realtime import RealtimeUpstream
from tests.stand import Gateway, Tenant
from tests.voice.realtime.cascading import Cascade
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


@pytest.fixture(scope="session")
def fake_speech() -> Iterator[FakeOpenAIAudio]:
    """The provider of what hears and what speaks in a cascade."""
    with FakeOpenAIAudio() as running:
        yield running


@pytest.fixture(scope="module")
def cascade(stand: Stand, fake_speech: FakeOpenAIAudio) -> Cascade:
    """The gateway, and the parts of a cascade."""
    at = ("--base-url", fake_speech.url, "--api-key", openai_audio.KEY)
    stand.gateway.manage("provider", "add", "speech-of-cascade", *at)
    return Cascade(stand, fake_speech)


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")
