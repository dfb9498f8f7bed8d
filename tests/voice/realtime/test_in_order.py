"""Work behind the events of a session."""

import asyncio

from voice.realtime.in_order import InOrder


def test_pieces_run_one_after_the_other_also_behind_one_that_fails() -> None:
    ran: list[str] = []

    async def piece(name: str, opened: asyncio.Event) -> None:
        await opened.wait()
        ran.append(name)
        if name == "b":
            raise RuntimeError(name)

    async def run() -> None:
        work, last, first = InOrder("work"), asyncio.Event(), asyncio.Event()
        last.set()
        work.add(piece("a", first))
        work.add(piece("b", last))
        work.add(piece("c", last))
        assert work.waiting == 3
        first.set()
        await work.done()
        assert work.waiting == 0

    asyncio.run(run())
    assert ran == ["a", "b", "c"]


def test_who_waits_for_room_goes_on_when_the_oldest_piece_is_done() -> None:
    async def run() -> None:
        work, gates = InOrder("work"), [asyncio.Event() for _ in range(2)]
        for gate in gates:
            work.add(_pass(gate))
        waits = asyncio.ensure_future(work.room(2))
        await asyncio.wait({waits}, timeout=0)
        assert not waits.done()
        gates[0].set()
        await waits
        assert work.waiting == 1
        gates[1].set()
        await work.done()

    asyncio.run(run())


async def _pass(gate: asyncio.Event) -> None:
    await gate.wait()
