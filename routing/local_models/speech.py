"""`POST /v1/audio/speech`: text to a program that speaks, its samples to the client as they come.

https://platform.openai.com/docs/api-reference/audio/createSpeech. The programs are `speaking`'s; each request has a
process of its own, which ends when the client leaves.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from komilion.common.audio import encode, pcm
from routing.local_models import speaking
from routing.local_models.answers import Receive, Send, chunk, read_body, start, while_there
from routing.local_models.wire import RequestError

RATE_HZ = 24_000  # of what is sent, as OpenAI's
BODY_LIMIT_BYTES = 2**16
MOST_CHARACTERS = 4_096  # OpenAI's limit
LEAST_SPEED, MOST_SPEED = 0.25, 4.0
AT_ONCE = 2  # programs that speak side by side
WAITING_LIMIT = 64
READ_BYTES = 2**14
WALL_CLOCK_S = 120  # for one text; a program that hangs is ended


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A validated request."""

    model: str
    text: str
    voice: str
    response_format: str
    speed: float


def parse_speech_request(raw: bytes) -> SpeechRequest:
    """Read the body of `POST /v1/audio/speech`. Raises `RequestError` that names the field."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object.")
    if body.get("model") not in speaking.HOW_TO_INSTALL:
        names = " and ".join(speaking.HOW_TO_INSTALL)
        raise RequestError(f"The models that speak are {names}.", param="model", code="model_not_found", status=404)
    text, speed = body.get("input"), body.get("speed", 1.0)
    if not isinstance(text, str) or not text.strip():
        raise RequestError("`input` must be a text.", param="input")
    if len(text) > MOST_CHARACTERS:
        raise RequestError(
            f"`input` may have {MOST_CHARACTERS} characters.", param="input", code="string_above_max_length"
        )
    if body.get("voice") not in speaking.VOICES:
        raise RequestError(f"`voice` must be one of {', '.join(speaking.VOICES)}.", param="voice")
    if body.get("response_format", "mp3") not in encode.FORMATS:
        raise RequestError(f"`response_format` must be one of {', '.join(encode.FORMATS)}.", param="response_format")
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not LEAST_SPEED <= speed <= MOST_SPEED:
        raise RequestError(f"`speed` must be a number from {LEAST_SPEED} to {MOST_SPEED:g}.", param="speed")
    return SpeechRequest(body["model"], text, body["voice"], body.get("response_format", "mp3"), float(speed))


class Speech:
    """The endpoint."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def serve(self, receive: Receive, send: Send) -> None:
        """One request. Raises `RequestError`."""
        request = parse_speech_request(await read_body(receive, BODY_LIMIT_BYTES))
        try:
            program = speaking.program(request.model, speaking.VOICES[request.voice], request.speed)
        except speaking.NotInstalled as error:
            raise RequestError(str(error), code="model_not_available", status=503) from error
        if self._waiting >= WAITING_LIMIT:
            raise RequestError("Too many requests wait to be spoken. Try again.", status=503)
        self._waiting += 1
        try:
            await while_there(receive, self._speak(request, program, send))
        finally:
            self._waiting -= 1

    async def _speak(self, request: SpeechRequest, program: speaking.Program, send: Send) -> None:
        """The status waits for the first sound, so that a failure before it is still a status.

        Raises `SpeakingFailed` after it, which cuts the answer.
        """
        writing = encode.encoder(request.response_format, RATE_HZ)
        content_type = encode.CONTENT_TYPES[request.response_format].encode()
        resampling = pcm.Resampler(program.rate_hz, RATE_HZ)
        started = False
        try:
            async with self._places, asyncio.timeout(WALL_CLOCK_S), aclosing(_samples(program, request.text)) as pieces:
                async for samples in pieces:
                    if not started:
                        started = True
                        await start(send, 200, content_type)
                    await chunk(send, writing.feed(resampling.feed(samples)))
        except (SpeakingFailed, TimeoutError) as error:
            if started:
                raise
            raise RequestError("The program that speaks failed.", status=500) from error
        await chunk(send, writing.feed(resampling.finish()) + writing.finish(), more=False)


class SpeakingFailed(Exception):
    """The program ended with an error, or said nothing."""


async def _samples(program: speaking.Program, text: str) -> AsyncGenerator[pcm.Samples]:
    """What the program says, piece by piece. It is ended with the iteration. Raises `SpeakingFailed`."""
    child = await asyncio.create_subprocess_exec(
        *program.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},  # it needs none of our secrets
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(" ".join(text.split()).encode(errors="replace") + b"\n")
        child.stdin.close()
        rest, said = b"", 0
        header = await _exactly(child.stdout, program.skip_bytes)
        while len(header) == program.skip_bytes and (data := await child.stdout.read(READ_BYTES)):
            rest += data
            whole = len(rest) - len(rest) % pcm.BYTES_PER_SAMPLE
            said += whole
            yield pcm.from_bytes(rest[:whole])
            rest = rest[whole:]
        if await child.wait() or not said:
            raise SpeakingFailed
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _exactly(stream: asyncio.StreamReader, length: int) -> bytes:
    """That many bytes, or fewer when there are no more."""
    try:
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return error.partial
