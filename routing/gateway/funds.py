"""Credit for a stream while it runs: the next part of the hold is asked for when half of this one is used."""

import asyncio

from billing.ledger.committer import Committer
from komilion.common.errors import LedgerUnavailable
from komilion.common.tasks import spawn
from routing.gateway.reserve import Extension, extend, is_metered
from routing.gateway.types import Outcome, Reserved

MOST_OVER_CEILING = 4  # our count of a token is four bytes; no model writes four times as much in one
FEW_TOKENS = 256


class Stopped(Exception):
    """The answer ends here, by us; what was delivered is charged. `reason` is why, for the client."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason


class Funds:
    """What pays for one stream."""

    def __init__(self, reserved: Reserved, request_id: str, committer: Committer) -> None:
        self._reserved = reserved
        self._request_id = request_id
        self._committer = committer
        self._asking: asyncio.Task[Extension] | None = None
        self._ask_again_at = 0  # counted output tokens

    async def cover(self, used: int) -> None:
        """So many output tokens have come, half of what is held or more.

        Raises `Stopped` when nothing more is paid for, or `LedgerUnavailable`. A provider that keeps no limit at all is
        stopped too: what is beyond the ceiling nobody has paid for.
        """
        reserved = self._reserved
        ceiling = reserved.attempt.output_ceiling
        if used > ceiling * MOST_OVER_CEILING + FEW_TOKENS:
            raise Stopped("completed", "max_tokens")
        if not is_metered(reserved.attempt):
            return
        while used * 2 >= reserved.held_output and reserved.held_output < ceiling:
            if self._asking is None:
                if used < self._ask_again_at:
                    return
                asking = extend(reserved, used, self._request_id, self._committer)
                self._asking = spawn(asking, name="extend")
            if used < reserved.held_output and not self._asking.done():
                return
            extension = await self._asking
            self._asking = None
            if extension != "granted":
                if used >= reserved.held_output:
                    if extension == "unavailable":
                        raise LedgerUnavailable
                    raise Stopped(extension, extension)
                self._ask_again_at = (used + reserved.held_output + 1) // 2  # not with every frame
                return

    async def rest(self) -> None:
        """Nothing is on its way any more, so that a settlement releases all of the hold."""
        if self._asking is not None:
            await asyncio.wait({self._asking})
