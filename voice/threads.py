"""What blocks, out of the event loop: the database, the disk, and work of the processor."""

import asyncio
from collections.abc import Callable

from django.db import connection


async def in_thread[**P, T](function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run what blocks elsewhere; its connection to the database is given back."""

    def work() -> T:
        try:
            return function(*arguments, **named)
        finally:
            connection.close()

    return await asyncio.to_thread(work)
