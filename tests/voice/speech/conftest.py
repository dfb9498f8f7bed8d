"""What the tests of speech run against: the live gateway, and the scripted providers of this worker."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.stand import Gateway, Tenant
from tests.voice.speech.stand import SpeechStand, at_both


@pytest.fixture(autouse=True)
def _no_pause(settings: Any) -> None:
    """A provider that failed is tried again at once, and not after the wait that it asks for."""
    settings.RETRY_PAUSE_S, settings.RETRY_AFTER_MOST_S = 0.005, 0


@pytest.fixture(scope="session")
def fake_deepgram() -> Iterator[FakeDeepgram]:
    """The scripted Deepgram of this worker."""
    with FakeDeepgram() as running:
        yield running


@pytest.fixture(scope="session")
def fake_openai() -> Iterator[FakeOpenAIAudio]:
    """The scripted OpenAI of this worker."""
    with FakeOpenAIAudio() as running:
        yield running


@pytest.fixture(scope="module")
def stand(gateway: Gateway, fake_deepgram: FakeDeepgram, fake_openai: FakeOpenAIAudio) -> SpeechStand:
    """What the tests of a file share."""
    return at_both(gateway, fake_deepgram, fake_openai)


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")
