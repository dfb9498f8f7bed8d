"""`POST /v1/audio/transcriptions`: the audio is decoded in a process of its own, then heard stretch by stretch.

The model has a thread of its own, so a chat goes on meanwhile; between two stretches another recording may have its
turn, and a client that left is noticed.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from komilion.common.audio.decode import Limits, decode
from komilion.common.errors import KomilionError
from routing.local_models.answers import Receive, Send, answer, read_body, while_there
from routing.local_models.shortest_first import ShortestFirst
from routing.local_models.transcription_wire import (
    Segment,
    TranscriptionRequest,
    parse_transcription_request,
    transcription,
)
from routing.local_models.whisper import MODEL_ID, RATE_HZ, Whisper, find_model, stretches
from routing.local_models.wire import RequestError

BODY_LIMIT_BYTES = 26 * 2**20  # 25 MiB of audio and the form around it
LIMITS = Limits(longest_s=2 * 3600)  # some eight minutes of work; 230 MB of samples
WAITING_LIMIT = 64

logger = logging.getLogger(__name__)


class Transcriptions:
    """The endpoint and its model, which is loaded when it is first asked for."""

    def __init__(self, make_model: Callable[[], Whisper] = lambda: Whisper(find_model())) -> None:
        self._make_model = make_model
        self._model: Whisper | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="whisper")
        self._turns = ShortestFirst()

    def close(self) -> None:
        """No more work is begun."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request. Raises `RequestError`."""
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        request = parse_transcription_request(await read_body(receive, BODY_LIMIT_BYTES), content_type)
        if request.model != MODEL_ID:
            raise RequestError(
                f"The model {request.model!r} does not exist here; there is {MODEL_ID}.",
                param="model",
                code="model_not_found",
                status=404,
            )
        if len(self._turns) >= WAITING_LIMIT:
            raise RequestError("Too many requests wait for the model. Try again.", status=503)
        await while_there(receive, self._transcribe(request, send))

    async def _transcribe(self, request: TranscriptionRequest, send: Send) -> None:
        try:
            samples = await asyncio.to_thread(decode, request.audio, LIMITS, rate_hz=RATE_HZ)
        except KomilionError as error:
            raise RequestError(error.message, param="file", code=error.reason, status=error.status) from error
        segments: list[Segment] = []
        for begin, end in stretches(samples):
            async with self._turns.turn(len(samples) - begin):
                heard = await self._on_worker(samples[begin:end], request)
            segments += [segment.later(begin / RATE_HZ) for segment in heard]
        body, content_type = transcription(request, segments, len(samples) / RATE_HZ)
        await answer(send, 200, body, content_type)

    async def _on_worker(self, samples: Any, request: TranscriptionRequest) -> list[Segment]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, self._hear, samples, request)
        except FileNotFoundError as error:
            raise RequestError(str(error), status=503) from error
        except Exception as error:
            logger.exception("transcription failed")
            raise RequestError(f"The model failed: {type(error).__name__}.", status=500) from error

    def _hear(self, samples: Any, request: TranscriptionRequest) -> list[Segment]:
        if self._model is None:
            self._model = self._make_model()
        return self._model.hear(samples, request)
