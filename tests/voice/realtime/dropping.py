"""A connection to the provider that is lost, and not replaced before the client has sent something."""

import threading
from itertools import count
from typing import Any

import pytest

from tests.async_waiting import eventually
from voice.realtime.relay import RelayEngine
from voice.realtime.upstream import Upstream


def hold_up(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> threading.Event:
    """Set when the first connection from now on is lost; the next one opens, or fails with `error`, when the client has
    sent a frame since.
    """
    is_lost, came = threading.Event(), threading.Event()
    connect, ready, connections = Upstream.connect, RelayEngine.ready, count()

    async def connect_later(*arguments: Any) -> Upstream:
        if next(connections):
            is_lost.set()
            await eventually(came.is_set)
            if error is not None:
                raise error
        return await connect(*arguments)

    async def note(engine: RelayEngine) -> None:
        if is_lost.is_set():
            came.set()
        await ready(engine)

    monkeypatch.setattr(Upstream, "connect", connect_later)
    monkeypatch.setattr(RelayEngine, "ready", note)
    return is_lost
