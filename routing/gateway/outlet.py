"""The client's side of a streamed answer: head, frames, comments, the last frames; and their recording.

The head leaves with the first content, so that it names who answers. What comes before (a role, say) waits, and is
forgotten when the attempt fails. Only a comment, after a long silence, opens the head earlier; it then names nobody
where somebody else may yet answer.
"""

from komilion.common.failpoints import failpoint
from routing.gateway.exchange import Exchange, Headers
from routing.gateway.notes import origin_headers
from routing.gateway.types import Reserved
from routing.gateway.watch import Watch
from routing.providers.scrub import scrub

SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Outlet:
    """Sends to one client, or to nobody once it has left."""

    def __init__(self, exchange: Exchange, reserved: Reserved, watch: Watch) -> None:
        self._exchange = exchange
        self._reserved = reserved
        self._watch = watch
        self._is_v1 = exchange.path.startswith("/v1/")
        self._waiting: list[bytes] = []
        keys = {attempt.offer.target.api_key for attempt in reserved.attempts}
        self._secrets = [key.encode() for key in keys if key]

    def keep(self, data: bytes) -> None:
        """Frames without content, before the first content."""
        self._waiting.append(data)

    def forget(self) -> None:
        """The attempt that sent them failed."""
        self._waiting.clear()

    def head(self) -> Headers:
        """Of an answer by the running attempt."""
        return [*SSE_HEADERS, *origin_headers(self._reserved, is_v1=self._is_v1)]

    def scrub(self, data: bytes) -> bytes:
        """`data` without the credentials of those who may have written it."""
        for secret in self._secrets:
            data = scrub(data, secret)
        return data

    async def send(self, data: bytes) -> None:
        """Frames, behind those that wait."""
        if self._waiting:
            data = b"".join((*self._waiting, data))
            self._waiting.clear()
        for secret in self._secrets:
            data = scrub(data, secret)
        recording = self._reserved.recording
        if recording is not None:
            recording.add(data)
        if not self._exchange.is_gone:
            if not self._exchange.started:
                await self._start(self.head())
            await self._watch.write(data)

    async def send_comment(self, comment: bytes) -> None:
        """Sign of life."""
        if not self._exchange.started:
            await self._start(self.head() if self._is_decided else SSE_HEADERS)
        if self._reserved.recording is not None:
            self._reserved.recording.add(comment)
        await self._exchange.write(comment)

    async def send_last(self, data: bytes) -> None:
        """What closes the answer; it is recorded already."""
        if self._exchange.is_gone:
            return
        if not self._exchange.started:
            await self._start(self.head())
        await self._watch.write(data)
        await self._watch.write(b"", last=True)

    @property
    def _is_decided(self) -> bool:
        """Whether nobody else can answer any more."""
        offers = {(attempt.offer.model_id, attempt.offer.provider) for attempt in self._reserved.attempts}
        return len(offers) == 1

    async def _start(self, head: Headers) -> None:
        failpoint("first-byte")
        await self._exchange.start(200, head)
