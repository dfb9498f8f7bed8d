"""The ASGI application of the local model server, and how it is served.

Chats wait in line for one worker thread, since the model answers one at a time. The thread hands its text to the
event loop piece by piece and looks before each token whether the client is still there. What hears and what speaks has
threads and processes of its own (`transcriptions`, `speech`).
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, override

import orjson
import uvicorn

from routing.local_models import speaking, whisper, wire
from routing.local_models.answers import STREAM_TYPE, Receive, Send, answer, chunk, gone, read_body, start
from routing.local_models.engine import MODEL_ID, Engine, Generation, find_model
from routing.local_models.speech import Speech
from routing.local_models.transcriptions import Transcriptions
from routing.local_models.wire import RequestError

BODY_LIMIT_BYTES = 8 * 2**20
WAITING_LIMIT = 64  # requests in line; one more gets 503 rather than minutes of silence
SHUTDOWN_GRACE_S = 5

logger = logging.getLogger(__name__)


class Job:
    """One request on its way through the worker thread; `events` ends with None or with what went wrong."""

    def __init__(self, request: wire.ChatRequest) -> None:
        self.request = request
        self.record = Generation(0)
        self.cancelled = threading.Event()
        self.events: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def say(self, event: str | Exception | None) -> None:
        """From the worker thread to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is gone and nobody waits
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    async def pieces(self) -> AsyncIterator[str]:
        """Text as it comes. Raises what the worker raised."""
        while (event := await self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


class LocalModels:
    """The application; `make_engine` runs on the worker thread while `/health` answers 503."""

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._jobs: set[Job] = set()
        self._transcriptions = Transcriptions()
        self._speech = Speech()
        self.load_error: Exception | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Lifespan loads the model in the background; HTTP answers at once."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await self._route(scope, receive, send)
            except RequestError as error:
                await answer(send, error.status, error.body())

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loading = self._worker.submit(self._load)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        loading.cancel()
        for job in self._jobs:
            job.cancelled.set()
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._transcriptions.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _load(self) -> None:
        try:
            self._engine = self._make_engine()
        except Exception as error:
            self.load_error = error
            raise

    async def _route(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/health":
                ready = self._engine is not None
                await answer(send, 200 if ready else 503, orjson.dumps({"status": "ok" if ready else "loading"}))
            case "GET", "/v1/models":
                await answer(send, 200, wire.model_list([MODEL_ID, whisper.MODEL_ID, *speaking.installed()]))
            case "POST", "/v1/chat/completions":
                await self._chat(receive, send)
            case "POST", "/v1/audio/transcriptions":
                await self._transcriptions.serve(scope, receive, send)
            case "POST", "/v1/audio/speech":
                await self._speech.serve(receive, send)
            case _:
                raise RequestError("There is nothing at this address.", status=404)

    async def _chat(self, receive: Receive, send: Send) -> None:
        request = wire.parse_chat_request(await read_body(receive, BODY_LIMIT_BYTES))
        if request.model != MODEL_ID:
            raise RequestError(
                f"The model {request.model!r} does not exist; there is {MODEL_ID}.",
                param="model",
                code="model_not_found",
                status=404,
            )
        if self._engine is None or len(self._jobs) >= WAITING_LIMIT:
            raise RequestError("The model is loading or too many requests wait for it. Try again.", status=503)
        job = Job(request)
        self._jobs.add(job)
        watcher = asyncio.create_task(_cancel_when_gone(receive, job))
        try:
            self._worker.submit(self._run, self._engine, job)
            await (_send_stream if request.stream else _send_whole)(job, send)
        finally:
            job.cancelled.set()
            self._jobs.discard(job)
            watcher.cancel()

    def _run(self, engine: Engine, job: Job) -> None:
        """On the worker thread: the whole generation of one job."""
        try:
            if job.cancelled.is_set():
                return
            prompt = engine.tokenize(job.request.messages)
            job.record.prompt_tokens = len(prompt)
            for piece in engine.generate(job.request, prompt, job.record, job.cancelled.is_set):
                job.say(piece)
            job.say(None)
        except RequestError as error:
            job.say(error)
        except Exception as error:
            logger.exception("generation failed")
            job.say(error)


async def _cancel_when_gone(receive: Receive, job: Job) -> None:
    await gone(receive)
    job.cancelled.set()
    job.events.put_nowait(RequestError("The client went away.", status=499))


async def _send_whole(job: Job, send: Send) -> None:
    try:
        text = "".join([piece async for piece in job.pieces()])
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"The model failed: {type(error).__name__}.", status=500) from error
    body = wire.Answer(MODEL_ID).whole(text, job.record.finish_reason, _usage(job))
    await answer(send, 200, body)


async def _send_stream(job: Job, send: Send) -> None:
    """Frames as they come. The status waits for the first text, so that a refusal is still a status."""
    frames = wire.Answer(MODEL_ID)
    started = False

    async def begin() -> None:
        nonlocal started
        if not started:
            started = True
            await start(send, 200, STREAM_TYPE)
            await chunk(send, frames.opening())

    try:
        async for piece in job.pieces():
            await begin()
            await chunk(send, frames.text(piece))
    except Exception as error:
        failure = error if isinstance(error, RequestError) else RequestError("The model failed.", status=500)
        if not started:
            raise failure from error
        await chunk(send, wire.frame(failure.body()), more=False)
        return
    await begin()
    await chunk(send, frames.closing(job.record.finish_reason))
    if job.request.include_usage:
        await chunk(send, frames.usage(_usage(job)))
    await chunk(send, wire.DONE, more=False)


def _usage(job: Job) -> dict[str, int]:
    return wire.usage_of(job.record.prompt_tokens, job.record.completion_tokens)


class _Server(uvicorn.Server):
    """Ends the process when the model cannot be loaded, so that its supervisor reports it and tries again."""

    def __init__(self, config: uvicorn.Config, application: LocalModels) -> None:
        super().__init__(config)
        self._application = application

    @override
    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        return self._application.load_error is not None or await super().on_tick(counter)


def serve(port: int) -> int:
    """Serve on the loopback `port` until a signal. The exit code: 1 when the model cannot be loaded.

    Raises `OSError` when the port is taken.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    speaking.log_what_speaks()
    application = LocalModels(lambda: Engine(find_model()))
    config = uvicorn.Config(
        application,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    _Server(config, application).run(sockets=[listener])
    if application.load_error is not None:
        logger.error("the local model cannot be loaded: %s", application.load_error)
        return 1
    return 0
