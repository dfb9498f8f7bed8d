"""Server-sent events, bytes in and whole events out (WHATWG HTML, section 9.2.6), for streams of JSON.

An upstream may cut its bytes anywhere and end its lines with LF, CRLF or CR. `EventBuffer` gives back
blocks of whole events whose lines end with LF alone; `events` reads such a block line by line. Rewriting
line ends never touches what a model wrote: JSON has to escape CR and LF inside strings.
"""

from collections.abc import Iterator

from komilion.common.errors import ProviderError

EVENT_LIMIT_BYTES = 8 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventBuffer:
    """Holds back what is not a whole event yet; time is linear in the bytes, however they are cut."""

    __slots__ = ("_after_return", "_held", "_limit_bytes")

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._held = bytearray()
        self._after_return = False  # the last byte was CR: an LF that follows belongs to it
        self._limit_bytes = limit_bytes

    def feed(self, data: bytes) -> bytes:
        """The events completed by `data`, each ended by an empty line; empty when none is.

        Raises `ProviderError` when one event is longer than the limit.
        """
        if self._after_return and data:
            self._after_return = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            self._after_return = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        held = self._held
        if not held and data.endswith(b"\n\n"):
            block = data
        else:
            seen = len(held)
            held += data
            end = held.rfind(b"\n\n", max(0, seen - 1)) + 2  # only the new bytes are searched
            if end < 2:
                block = b""
            else:
                block = bytes(held[:end])
                del held[:end]
            if len(held) > self._limit_bytes:
                raise _too_long()
        if len(block) > self._limit_bytes and max(map(len, block.split(b"\n\n"))) > self._limit_bytes:
            raise _too_long()
        return block

    def finish(self) -> bytes:
        """What is left at the end of the stream, closed as if it were a whole event."""
        if not self._held:
            return b""
        rest = bytes(self._held) + b"\n\n"
        self._held.clear()
        return rest


def _too_long() -> ProviderError:
    return ProviderError("The provider sent an event that is too large.")


def events(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(event name, data) of each event with data; comments, ids and retry times are passed over.

    Data lines are joined by LF and stripped of white space, which is nothing in front of and behind JSON.
    """
    for event in block.removeprefix(BYTE_ORDER_MARK).split(b"\n\n"):
        name = b""
        data = []
        for line in event.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.strip()
        if data:
            yield name, b"\n".join(data).strip()
