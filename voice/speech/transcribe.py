"""The endpoints that turn speech into text: OpenAI's transcriptions and translations, and Deepgram's listening.

authenticate -> body -> limit -> parse -> choose -> credit -> fetch -> measure -> hold -> hear -> settle -> answer
"""

import asyncio
import io
import math
from collections.abc import Callable
from typing import Any

import orjson

from accounts.access import Caller
from komilion.common.egress import Egress
from komilion.common.errors import AudioTooLong, KomilionError, error_body
from komilion.common.numbers import numbers
from routing.catalog.voice import VoiceOffer
from routing.gateway.exchange import Exchange, Headers
from routing.gateway.metered import MeteredCall, admitted
from routing.gateway.services import Services
from routing.gateway.watch import Watch
from routing.providers.speech import Task
from voice.speech.bills import adjusted_of, cost_headers, facts_of, note_of, origin_headers, with_cost
from voice.speech.captions import SRT_TYPE, VTT_TYPE, srt, vtt
from voice.speech.choice import choose_now
from voice.speech.credit import limits_for, payable_s, too_long
from voice.speech.lengths import REQUEST_LIMITS, Audio, measure
from voice.speech.listening import Hearing, Heeded, likely_usage, transcribe
from voice.speech.raw import in_wav
from voice.speech.requests import TranscriptionAsked, parse_stt, parse_transcription
from voice.speech.shapes import deepgram_json, diarized_json, plain_json, usage_json, verbose_json

TEXT_TYPE = "text/plain; charset=utf-8"
EVENT_STREAM: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
LIKELY_MS = 60_000  # by which models without a name are compared
OPTION_NAMES = {"with_speakers": "diarize"}  # of `Listening`, as a caller knows them

type Parse = Callable[[Exchange, bytes], TranscriptionAsked]


async def serve_transcription(exchange: Exchange, services: Services) -> None:
    """`POST /audio/transcriptions`. Raises what the caller must be told before the first byte."""
    await _serve(exchange, services, "audio.transcriptions", _parser("transcribe"))


async def serve_translation(exchange: Exchange, services: Services) -> None:
    """`POST /audio/translations`: the same, in English."""
    await _serve(exchange, services, "audio.translations", _parser("translate"))


async def serve_stt(exchange: Exchange, services: Services) -> None:
    """`POST /api/deepgram/stt`."""
    await _serve(exchange, services, "deepgram.stt", parse_stt)


def _parser(task: Task) -> Parse:
    def parse(exchange: Exchange, body: bytes) -> TranscriptionAsked:
        return parse_transcription(exchange, body, task)

    return parse


async def _serve(exchange: Exchange, services: Services, endpoint: str, parse: Parse) -> None:
    session = await services.authenticator.authenticate(exchange)
    body = await services.bodies.read_any(exchange, numbers.SPEECH_BODY_LIMIT_BYTES)
    async with admitted(session, services, exchange) as admission:
        asked = await asyncio.to_thread(parse, exchange, body)  # a form of 25 MiB takes a while
        version, caller = admission.catalog_version, session.caller
        chosen = await choose_now(asked.wanted, services, version, caller, lambda offer: likely_usage(LIKELY_MS, offer))
        payable = await payable_s(chosen, caller, services)
        data = await _fetch(asked.url) if asked.url else asked.audio
        data = data if asked.raw is None else in_wav(data, asked.raw)
        audio = await _measured(exchange, services, caller, data, payable)
        facts = facts_of(exchange, endpoint, asked.wanted.name, streamed=asked.options.stream, end_user=asked.end_user)

        async def renew() -> Any:
            return await services.authenticator.authenticate(exchange)

        async with MeteredCall(services, session, exchange.request_id, facts, renew) as call, Watch(exchange) as watch:
            # Who leaves is charged all the same: the provider has the audio, and bills it.
            watch.begin_stream(first_content_s=math.inf, gap_s=math.inf, ends_with_client=False)
            answer = _Answer(exchange, watch, asked)

            async def on_text(offer: VoiceOffer, text: str) -> None:
                call.note_first_content()
                await answer.on_text(offer, text)

            try:
                hearing = Hearing(audio, asked.options, on_text if asked.options.stream else None, exchange.path)
                heeded = await transcribe(call, chosen, hearing, services)
                watch.wind_up()
                await answer.finish(heeded)
            except KomilionError as error:
                if not exchange.started:
                    raise
                await answer.break_off(error)


async def _measured(exchange: Exchange, services: Services, caller: Caller, data: bytes, payable: int | None) -> Audio:
    """How long the audio is, as far as that is paid for and somebody waits."""
    limits = limits_for(payable, REQUEST_LIMITS)
    async with Watch(exchange) as watch:
        watch.begin_whole(ends_with_client=True)
        try:
            return await measure(data, caller.organization_id, limits)
        except AudioTooLong:
            if limits == REQUEST_LIMITS:
                raise
            raise too_long(limits, caller, services) from None


async def _fetch(url: str) -> bytes:
    """What is behind a caller's URL. Raises `UrlRefused`, `UrlUnreachable`, `PayloadTooLarge`."""
    sink = io.BytesIO()
    limit_bytes, timeout_s = numbers.SPEECH_BODY_LIMIT_BYTES, numbers.BODY_TIMEOUT_S
    await Egress().fetch(url, sink, most_bytes=limit_bytes, timeout_s=timeout_s)
    return sink.getvalue()


class _Answer:
    """The response: whole in one of its shapes, or as events."""

    def __init__(self, exchange: Exchange, watch: Watch, asked: TranscriptionAsked) -> None:
        self._exchange = exchange
        self._watch = watch
        self._asked = asked
        self._is_v1 = exchange.path.startswith("/v1/")

    async def on_text(self, offer: VoiceOffer, text: str) -> None:
        """A piece of a text that is streamed."""
        await self._begin(offer)
        await self._event({"type": "transcript.text.delta", "delta": text})

    async def break_off(self, error: KomilionError) -> None:
        """The provider failed after something of the text was sent."""
        await self._event({"type": "error", **error_body(error, self._exchange.path)}, last=True)

    async def finish(self, heeded: Heeded) -> None:
        """Send the transcription, or what is left of it, with its bill."""
        if self._asked.options.stream:
            await self._finish_stream(heeded)
            return
        body, media_type = self._body(heeded)
        headers = origin_headers(heeded.offer, self._dropped(heeded), is_v1=self._is_v1)
        headers += cost_headers(heeded.settled, is_v1=self._is_v1)
        if media_type is None:
            await self._exchange.respond(200, body, headers)
            return
        kind = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        await self._exchange.start(200, [*kind, *headers])
        await self._watch.write(body, last=True)

    async def _finish_stream(self, heeded: Heeded) -> None:
        transcript = heeded.heard.transcript
        if not self._exchange.started and transcript.text:
            await self.on_text(heeded.offer, transcript.text)
        await self._begin(heeded.offer)
        if self._asked.response_format == "diarized_json":
            for segment in diarized_json(transcript)["segments"]:
                await self._event(segment)
        done = {"type": "transcript.text.done", "text": transcript.text, **self._bill(heeded)}
        await self._event(done, last=True)

    async def _begin(self, offer: VoiceOffer) -> None:
        if not self._exchange.started:
            headers = origin_headers(offer, self._asked.dropped, is_v1=self._is_v1)
            await self._exchange.start(200, [*EVENT_STREAM, *headers])

    async def _event(self, event: dict[str, Any], *, last: bool = False) -> None:
        if not self._exchange.is_gone:
            await self._watch.write(b"data: " + orjson.dumps(event) + b"\n\n", last=last)

    def _body(self, heeded: Heeded) -> tuple[bytes, str | None]:
        """The whole answer and its media type; None for JSON."""
        heard, asked = heeded.heard, self._asked
        match asked.response_format:
            case "text":
                return f"{heard.transcript.text}\n".encode("utf-8", "replace"), TEXT_TYPE
            case "srt":
                return srt(heard.transcript).encode("utf-8", "replace"), SRT_TYPE
            case "vtt":
                return vtt(heard.transcript).encode("utf-8", "replace"), VTT_TYPE
            case "verbose_json":
                shape = verbose_json(heard, asked.granularities, asked.options.task)
            case "diarized_json":
                shape = diarized_json(heard.transcript)
            case "deepgram":
                shape = deepgram_json(heard, self._exchange.request_id)
                return orjson.dumps({**shape, "x_komilion": self._bill(heeded)["x_komilion"]}), None
            case _:
                shape = plain_json(heard)
        return orjson.dumps({**shape, **self._bill(heeded)}), None

    def _bill(self, heeded: Heeded) -> dict[str, Any]:
        settled, adjusted = heeded.settled, adjusted_of(self._dropped(heeded))
        note = note_of(heeded.offer, self._asked.wanted.name, settled, adjusted)
        return {"usage": with_cost(usage_json(settled.usage), settled), "x_komilion": note}

    def _dropped(self, heeded: Heeded) -> tuple[str, ...]:
        return (*self._asked.dropped, *(OPTION_NAMES.get(name, name) for name in heeded.dropped))
