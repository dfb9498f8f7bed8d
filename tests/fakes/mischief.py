"""What a broken or hostile upstream does. Each act writes raw bytes; most go on until the gateway leaves."""

import gzip
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.fakes import frames, wire
from tests.fakes.journal import Tokens

if TYPE_CHECKING:
    from tests.fakes.exchange import Exchange

BLOCK = b"a" * 65_536
ENOUGH_BYTES = 256 * 2**20  # a gateway that swallowed this much has no limit
LORIS_PAUSE_S = 0.05
BOMB_MEMBER_BYTES = 16 * 2**20
BOMB_MEMBERS = 64
DEEP_NESTING = 100_000
STREAM = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
PLAIN = {"Content-Type": "application/json"}

type Act = Callable[["Exchange"], Awaitable[None]]


def changing(whole: Tokens) -> dict[str, Any]:
    """Usage that goes up and down from frame to frame and is right in the last one of 12."""
    wrong = 40 * (whole.completion % 3)
    return {
        "prompt_tokens": whole.prompt + wrong,
        "completion_tokens": whole.completion + wrong,
        "total_tokens": whole.prompt + whole.completion + 2 * wrong,
    }


async def _pour(exchange: "Exchange", in_chunks: bool) -> None:
    for _ in range(ENOUGH_BYTES // len(BLOCK)):
        await exchange.send(wire.chunk(BLOCK) if in_chunks else BLOCK)
    exchange.break_off()


async def _start_stream(exchange: "Exchange", count: int) -> list[frames.Frame]:
    """A good start of a stream: the head and `count` frames; returns the frames that were planned."""
    planned = list(frames.stream(exchange.reply, exchange.call))
    await exchange.send(wire.head(200, STREAM))
    for frame in planned[:count]:
        await exchange.send(wire.chunk(frame.data))
    return planned


async def endless_line(exchange: "Exchange") -> None:
    """A stream whose third frame has no end."""
    await _start_stream(exchange, 2)
    await exchange.send(wire.chunk(b"data: "))
    await _pour(exchange, in_chunks=True)


async def endless_body(exchange: "Exchange") -> None:
    """An answer that is not streamed and never ends."""
    await exchange.send(wire.head(200, {**PLAIN, "Transfer-Encoding": "chunked"}))
    await exchange.send(wire.chunk(b'{"id": "'))
    await _pour(exchange, in_chunks=True)


async def endless_header(exchange: "Exchange") -> None:
    """A header without an end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    await _pour(exchange, in_chunks=False)


async def endless_headers(exchange: "Exchange") -> None:
    """One more header, and one more."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    line = b"X-Padding: padding\r\n" * 1_000
    for _ in range(ENOUGH_BYTES // len(line)):
        await exchange.send(line)
    exchange.break_off()


async def gzip_bomb(exchange: "Exchange") -> None:
    """A megabyte that unpacks to a gigabyte, though plain bytes were asked for."""
    bomb = gzip.compress(b" " * BOMB_MEMBER_BYTES) * BOMB_MEMBERS
    streamed = bool(exchange.call.body.get("stream"))
    kind = STREAM["Content-Type"] if streamed else PLAIN["Content-Type"]
    await exchange.respond(200, {"Content-Type": kind, "Content-Encoding": "gzip"}, bomb)


async def redirect(exchange: "Exchange") -> None:
    """Sends the gateway, with its key, to somebody else."""
    exchange.finish("refused", Tokens())
    await exchange.respond(307, {"Location": f"{exchange.trap_url}/v1/chat/completions"}, b"")


def _credentials(exchange: "Exchange") -> str:
    return exchange.call.headers.get("authorization", "") + exchange.call.headers.get("x-api-key", "")


async def echo_key(exchange: "Exchange") -> None:
    """A valid answer in whose headers and extra fields the gateway's own key stands."""
    secret = _credentials(exchange)
    body, exchange.call.declared_usage = frames.answer(exchange.reply, exchange.call)
    body["debug"] = {"authorization": secret}
    exchange.finish("completed")
    await exchange.respond(200, {**PLAIN, "X-Debug-Authorization": secret}, json.dumps(body).encode())


async def echo_key_error(exchange: "Exchange") -> None:
    """An error whose text quotes the gateway's own key."""
    error = {"message": f"bad call with {_credentials(exchange)}", "type": "server_error", "code": None}
    exchange.finish("refused", Tokens())
    await exchange.respond(500, PLAIN, json.dumps({"error": error}).encode())


async def echo_key_frame(exchange: "Exchange") -> None:
    """An error frame in the middle of a stream that quotes the gateway's own key."""
    await _start_stream(exchange, 3)
    error = {"error": {"message": f"lost {_credentials(exchange)}", "type": "server_error"}}
    exchange.finish("failed", Tokens())
    await exchange.send(wire.chunk(f"data: {json.dumps(error)}\n\n".encode()) + wire.chunk(b""))


async def promises_more(exchange: "Exchange") -> None:
    """Fewer bytes than Content-Length says, then the end."""
    body, _ = frames.answer(exchange.reply, exchange.call)
    data = json.dumps(body).encode()
    await exchange.send(wire.head(200, {**PLAIN, "Content-Length": str(len(data) + 100)}) + data)
    exchange.break_off()


async def promises_less(exchange: "Exchange") -> None:
    """A whole answer, and behind it one that nobody asked for, ready for the next call on the connection."""
    body, exchange.call.declared_usage = frames.answer(exchange.reply, exchange.call)
    exchange.finish("completed")
    await exchange.respond(200, PLAIN, json.dumps(body).encode())
    body["choices"][0]["message"]["content"] = "smuggled"
    await exchange.respond(200, PLAIN, json.dumps(body).encode())


async def loris(exchange: "Exchange") -> None:
    """A body of one blank every moment, for ever."""
    streamed = bool(exchange.call.body.get("stream"))
    headers = STREAM if streamed else {**PLAIN, "Transfer-Encoding": "chunked"}
    await exchange.send(wire.head(200, headers))
    while True:
        await exchange.send(wire.chunk(b"\n"))
        await exchange.pause(LORIS_PAUSE_S)


async def bad_chunks(exchange: "Exchange") -> None:
    """A chunk whose size is no number."""
    await _start_stream(exchange, 2)
    await exchange.send(b"zz\r\ndata: {}\r\n")
    exchange.break_off()


async def not_http(exchange: "Exchange") -> None:
    """Another protocol altogether."""
    await exchange.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    exchange.break_off()


def _with_frame(data: bytes) -> Act:
    """A good stream with this event in the middle."""

    async def act(exchange: "Exchange") -> None:
        planned = await _start_stream(exchange, 3)
        await exchange.send(wire.chunk(b"data: " + data + b"\n\n"))
        exchange.finish("completed")
        rest = b"".join(wire.chunk(frame.data) for frame in planned[3:])
        await exchange.send(rest + wire.chunk(b""))

    return act


async def twice(exchange: "Exchange") -> None:
    """Says everything after the first frame twice: content after the finish, usage and `[DONE]` again."""
    planned = await _start_stream(exchange, 1)
    exchange.finish("completed")
    rest = b"".join(wire.chunk(frame.data) for frame in planned[1:])
    await exchange.send(rest + rest + wire.chunk(b""))


ACTS: dict[str, Act] = {
    "endless-line": endless_line,
    "endless-body": endless_body,
    "endless-header": endless_header,
    "endless-headers": endless_headers,
    "gzip-bomb": gzip_bomb,
    "redirect": redirect,
    "echo-key": echo_key,
    "echo-key-error": echo_key_error,
    "echo-key-frame": echo_key_frame,
    "promises-more": promises_more,
    "promises-less": promises_less,
    "loris": loris,
    "bad-chunks": bad_chunks,
    "not-http": not_http,
    "frame-not-json": _with_frame(b"{oops"),
    "frame-not-utf8": _with_frame(b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}'),
    "frame-not-object": _with_frame(b"[1, 2]"),
    "frame-deep": _with_frame(b"[" * DEEP_NESTING + b"]" * DEEP_NESTING),
    "frame-nan": _with_frame(b'{"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":Infinity}}'),
    "twice": twice,
}
