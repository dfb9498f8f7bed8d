"""What a session remembers, for another connection or engine to go on with; and the end that comes while one opens."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from komilion.common.errors import ProviderError
from routing.gateway.metered import CallFacts
from voice.realtime import conversation
from voice.realtime.conversation import Conversation
from voice.realtime.ends import CLIENT_LEFT
from voice.realtime.session import Opening, Session


def item(name: str, text: str) -> dict[str, Any]:
    return {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def test_large_items_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ITEMS_MOST_BYTES", 1_000)
    kept = Conversation()
    for name in "abc":
        kept.keep(item(name, "x" * 400))
    assert list(kept.items) == ["b", "c"]
    kept.keep(item("d", "x" * 2_000))
    assert list(kept.items) == []
    kept.keep(item("e", "small"))
    kept.keep(item("e", "small again"))
    kept.delete("e")
    kept.keep(item("f", "x" * 800))
    assert list(kept.items) == ["f"], "what was deleted counts no more"


def test_a_new_item_comes_behind_the_one_that_it_names() -> None:
    kept = Conversation()
    kept.keep(item("a", "first"))
    kept.expect("b", "user")
    kept.keep(item("c", "between"), "a")
    kept.keep(item("d", "before all"), "root")
    kept.keep(item("e", "last"), "nobody")
    kept.transcribed("b", "spoken")
    kept.keep(item("a", "changed"), "c")
    assert list(kept.items) == ["d", "a", "c", "b", "e"]
    assert [kept.before(each) for each in ("d", "c", "unknown")] == [None, "a", "e"]
    assert kept.items["b"]["content"] == [{"type": "input_text", "text": "spoken"}]


def test_an_item_that_is_too_large_to_be_kept_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ITEMS_MOST_BYTES", 1_000)
    kept = Conversation()
    kept.keep(item("a", "small"))
    kept.keep(item("b", "x" * 2_000), "a")
    assert list(kept.items) == []


class Fake:
    """An engine; the second one takes its time to open."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.gate = gate
        self.calls: list[str] = []
        self.is_opening = asyncio.Event()

    async def open(self) -> None:
        self.calls.append("open")
        self.is_opening.set()
        if self.gate is not None:
            await self.gate.wait()

    async def start(self) -> None:
        self.calls.append("start")

    async def close(self, end: object) -> None:
        self.calls.append("close")


def test_an_engine_that_opens_while_the_session_ends_is_closed_and_never_begins() -> None:
    async def play() -> tuple[Fake, Fake]:
        gate = asyncio.Event()
        first, second = Fake(), Fake(gate)
        opening: Any = Opening(SimpleNamespace(), SimpleNamespace(), CallFacts("realtime", "m"), "m")
        engines: Any = [lambda _: first, lambda _: second]
        session = Session(SimpleNamespace(), opening, engines)
        await session.open()

        async def receive() -> dict[str, Any]:
            return await asyncio.Future()

        async def send(text: str) -> None:
            pytest.fail(f"nobody is there to read {text}")

        running = asyncio.ensure_future(session.run(receive, send))
        switching = asyncio.ensure_future(session.fail_over(first, ProviderError()))
        await second.is_opening.wait()
        session.end(CLIENT_LEFT)
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(running, switching)
        return first, second

    first, second = asyncio.run(play())
    assert first.calls == ["open", "start", "close"]
    assert second.calls == ["open", "close"]
