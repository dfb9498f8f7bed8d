"""WebSocket frames for load: as little work as can be, so that the machine is left to what is measured. RFC 6455.

Frames of audio have one size and their number at one place, so that nothing has to be parsed: who gets one reads the
digits.
"""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import override

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
AUDIO_CHARS = 1_280  # 20 ms of PCM16 at 24 kHz, in base64
DIGITS = 9
NO_MASK = bytes(4)  # a mask of zeros masks nothing, and is as legal as any
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


def up_frame(number: int) -> bytes:
    """The client's `input_audio_buffer.append` of that number."""
    return b'{"event_id":"e%0*d","type":"input_audio_buffer.append","audio":"%s"}' % (DIGITS, number, AUDIO)


def down_frame(number: int, response: bytes = b"resp_1") -> bytes:
    """The provider's `response.output_audio.delta` of that number; the id of its response has six characters."""
    return (
        b'{"event_id":"e%0*d","type":"response.output_audio.delta","response_id":"%s","item_id":"item_1",'
        b'"output_index":0,"content_index":0,"delta":"%s"}' % (DIGITS, number, response, AUDIO)
    )


AUDIO = base64.b64encode(os.urandom(AUDIO_CHARS // 4 * 3))
UP_BYTES, DOWN_BYTES = len(up_frame(0)), len(down_frame(0))
NUMBER_AT = len(b'{"event_id":"e')


class Peer(asyncio.Protocol):
    """One side. `on_audio` gets the number of each frame of `audio_bytes`, `on_event` any other event."""

    def __init__(self, audio_bytes: int, on_audio: Callable[[int], None]) -> None:
        self.transport: asyncio.Transport
        self.is_open = asyncio.get_running_loop().create_future()
        self.is_over = False
        self._audio_bytes = audio_bytes
        self._on_audio = on_audio
        self._buffer = bytearray()
        self._head: bytes | None = None

    def write(self, payload: bytes, opcode: int = TEXT) -> None:
        """One frame."""
        size = len(payload)
        masked = self.mask_bit
        length = bytes((masked | size,)) if size < 126 else bytes((masked | 126, size >> 8, size & 255))
        self.transport.write(bytes((opcode,)) + length + (NO_MASK if masked else b"") + payload)

    mask_bit = 0

    def on_event(self, event: dict[str, object]) -> None:
        """An event that is no audio."""

    def on_head(self, head: bytes) -> None:
        """The head of the handshake is whole."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        if not self.is_open.done():
            self.is_open.set_exception(ConnectionError("lost before it was open"))

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self.on_head(self._head)
        self._take_frames()

    def _take_frames(self) -> None:
        buffer, at, have = self._buffer, 0, len(self._buffer)
        while have - at >= 2:
            opcode, size, start = buffer[at], buffer[at + 1] & 127, at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            elif size == 127:
                size, start = int.from_bytes(buffer[at + 2 : at + 10]), at + 10
            mask = NO_MASK
            if buffer[at + 1] & 128:
                mask, start = bytes(buffer[start : start + 4]), start + 4
            if have < start + size:
                break
            if opcode == TEXT and size == self._audio_bytes:
                self._on_audio(self._number(start, mask))
            else:
                self._take(opcode, bytes(byte ^ mask[n & 3] for n, byte in enumerate(buffer[start : start + size])))
            at = start + size
        del buffer[:at]

    def _number(self, start: int, mask: bytes) -> int:
        """Unmask nothing but the digits."""
        digits = self._buffer[start + NUMBER_AT : start + NUMBER_AT + DIGITS]
        if mask != NO_MASK:
            digits = bytearray(byte ^ mask[(NUMBER_AT + n) & 3] for n, byte in enumerate(digits))
        return int(digits)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.write(payload, PONG)
        elif opcode == CLOSE:
            self.write(payload, CLOSE)
            self.transport.close()
        elif opcode == TEXT:
            self.on_event(json.loads(payload))


class ServerPeer(Peer):
    """The provider's side."""

    @override
    def on_head(self, head: bytes) -> None:
        key = next(line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.is_open.set_result(None)


class ClientPeer(Peer):
    """The caller's side."""

    mask_bit = 128

    def open(self, path: str, key: str) -> None:
        """Ask for the upgrade."""
        nonce = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {nonce}",
            "Sec-WebSocket-Version: 13",
            f"Authorization: Bearer {key}",
        )
        self.transport.write("\r\n".join((*lines, "", "")).encode())

    @override
    def on_head(self, head: bytes) -> None:
        if b" 101 " not in head.split(b"\r\n")[0]:
            self.is_open.set_exception(ConnectionError(head.decode("latin-1")))
