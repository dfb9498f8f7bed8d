"""A workshop: whose work runs, who waits, who is refused, and what becomes of work that nobody waits for."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from komilion.common.errors import TooManyParallel, Unavailable
from tests.async_waiting import eventually
from voice.threads import Workshop


class Jam:
    """Work that begins and stays until `clear`."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open = threading.Event()

    def work(self, name: str) -> Callable[[], str]:
        def wait() -> str:
            self.begun.append(name)
            assert self._open.wait(20)
            return name

        return wait

    def clear(self) -> None:
        self._open.set()


def test_one_organization_with_much_work_leaves_threads_to_others() -> None:
    async def main() -> None:
        jam, shop = Jam(), Workshop("shop", threads=4, waiting=20, each=10)
        mine = [asyncio.create_task(shop.run(1, jam.work(f"mine-{number}"))) for number in range(6)]
        await eventually(lambda: len(jam.begun) == 2)
        others = [asyncio.create_task(shop.run(who, jam.work(f"of-{who}"))) for who in (2, 3)]
        await eventually(lambda: {"of-2", "of-3"} <= set(jam.begun))
        assert len(jam.begun) == 4
        jam.clear()
        assert await asyncio.gather(*mine, *others) == [f"mine-{number}" for number in range(6)] + ["of-2", "of-3"]

    asyncio.run(main())


def test_who_has_too_much_is_refused_and_so_is_who_comes_behind_too_many() -> None:
    async def main() -> None:
        jam, shop = Jam(), Workshop("shop", threads=2, waiting=1, each=2)
        running = [asyncio.create_task(shop.run(1, jam.work(str(number)))) for number in range(2)]
        await eventually(lambda: len(jam.begun) == 1)
        with pytest.raises(TooManyParallel) as own:
            await shop.run(1, jam.work("own"))
        running.append(asyncio.create_task(shop.run(2, jam.work("other"))))
        await eventually(lambda: len(jam.begun) == 2)
        with pytest.raises(Unavailable) as late:
            await shop.run(3, jam.work("late"))
        assert own.value.headers["Retry-After"] == late.value.headers["Retry-After"] == "5"
        jam.clear()
        assert sorted(await asyncio.gather(*running)) == ["0", "1", "other"]

    asyncio.run(main())


def test_work_that_nobody_waits_for_is_told_or_never_begun() -> None:
    async def main() -> None:
        jam, shop, gone = Jam(), Workshop("shop", threads=2, waiting=9, each=9), threading.Event()
        running = asyncio.create_task(shop.run(1, jam.work("running"), gone))
        await eventually(lambda: jam.begun == ["running"])
        waiting = asyncio.create_task(shop.run(1, jam.work("waiting")))
        last = asyncio.create_task(shop.run(1, jam.work("last")))
        await asyncio.sleep(0)
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait({running, waiting})
        assert gone.is_set()
        jam.clear()
        assert await last == "last"
        assert jam.begun == ["running", "last"]

    asyncio.run(main())


def test_what_goes_wrong_is_told_to_who_waits() -> None:
    async def main() -> None:
        shop = Workshop("shop", threads=1, waiting=1, each=1)
        for _ in range(3):  # and the thread goes on
            with pytest.raises(ZeroDivisionError):
                await shop.run(1, lambda: 1 // 0)

    asyncio.run(main())
