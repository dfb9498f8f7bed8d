"""The endpoints that speak a text: OpenAI's speech, and Deepgram's speaking.

authenticate -> body -> limit -> parse -> choose -> hold -> speak, which streams -> settle -> the last byte
"""

import base64
import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import orjson

from komilion.common.audio.encode import CONTENT_TYPES
from komilion.common.errors import (
    BadRequest,
    KomilionError,
    LedgerUnavailable,
    error_body,
)
from komilion.common.usage import Usage
from routing.gateway.call import NotSent
from routing.gateway.exchange import Exchange, Headers
from routing.gateway.funds import Stopped
from routing.gateway.metered import MeteredCall, admitted
from routing.gateway.services import Services
from routing.gateway.types import Outcome, Settled
from routing.gateway.watch import Interrupted, Watch
from routing.providers.deepgram import VOICES
from routing.providers.speech import Speaking
from voice.speech.bills import adjusted_of, facts_of, note_of, origin_headers, with_cost
from voice.speech.choice import choose_now, same_units
from voice.speech.cover import Cover, unpaid
from voice.speech.requests import SpeechAsked, parse_speech, parse_tts
from voice.speech.saying import LEAST_MS_A_CHARACTER, Saying, bound_of

EVENT_STREAM = b"text/event-stream; charset=utf-8"
LIKELY = Speaking("x" * 1_000, "", "mp3")  # by which models without a name are compared
NOTHING = Usage()

type Parse = Callable[[Exchange, bytes], SpeechAsked]


async def serve_speech(exchange: Exchange, services: Services) -> None:
    """`POST /audio/speech`. Raises what the caller must be told before the first byte."""
    await _serve(exchange, services, "audio.speech", parse_speech)


async def serve_tts(exchange: Exchange, services: Services) -> None:
    """`POST /api/deepgram/tts`."""
    await _serve(exchange, services, "deepgram.tts", parse_tts)


async def _serve(exchange: Exchange, services: Services, endpoint: str, parse: Parse) -> None:
    session = await services.authenticator.authenticate(exchange)
    body = await services.bodies.read(exchange)
    async with admitted(session, services, exchange) as admission:
        asked = parse(exchange, body)
        version, caller = admission.catalog_version, session.caller
        chosen = await choose_now(asked.wanted, services, version, caller, lambda offer: bound_of(LIKELY, offer))
        facts = facts_of(exchange, endpoint, asked.wanted.name, streamed=True, end_user=asked.end_user)

        async def renew() -> Any:
            return await services.authenticator.authenticate(exchange)

        async with MeteredCall(services, session, exchange.request_id, facts, renew) as call:
            most = bound_of(asked.options, chosen.offers[0])
            offers = same_units(chosen.offers, most)
            await call.hold(offers, most, bound_of(asked.options, offers[0], LEAST_MS_A_CHARACTER))
            answer = _Answer(exchange, asked, call)
            saying = Saying(services, offers, asked.options, answer.on_audio, exchange.path)
            saying.cover = Cover(call)
            await _speak(call, saying, answer, exchange)


async def _speak(call: MeteredCall, saying: Saying, answer: "_Answer", exchange: Exchange) -> None:
    """Speak to the end, and settle however that comes. Raises what the caller can still be told by a status."""
    answer.saying = saying
    try:
        async with Watch(exchange) as watch:
            answer.watch = watch
            watch.begin_stream(first_content_s=math.inf, gap_s=math.inf, ends_with_client=True)
            await saying.run()
            watch.wind_up()
            usage, source = saying.used()
            settled = await call.settle(saying.offer, usage, source=source, detail={"attempts": saying.notes})
            await answer.finish(settled)
    except NotSent:
        await call.void()
        raise
    except (KomilionError, Interrupted, Stopped) as error:
        settled = await _settle_broken(call, saying, error)
        if isinstance(error, Stopped):
            error = unpaid(error)
        if exchange.started and isinstance(error, KomilionError):
            await answer.break_off(error, settled)
            return
        if type(error) is BadRequest:
            error = answer.explained(error)
        raise error


async def _settle_broken(call: MeteredCall, saying: Saying, error: Exception) -> Settled:
    """What was spoken for a caller who left, or until his money ended, is charged; a provider's failure is charged up
    to its last whole piece.
    """
    usage, source = saying.used(is_broken_off=not isinstance(error, Stopped | LedgerUnavailable))
    outcome: Outcome = "provider_cut" if saying.is_begun else "provider_failed"
    if isinstance(error, Interrupted) and error.reason in {"client_left", "write_stall"}:
        usage, source = saying.used()
        outcome = "client_left"
    if isinstance(error, Stopped):
        outcome = error.outcome
    if outcome == "provider_failed":
        usage, source = NOTHING, "absent"
    detail = {"attempts": saying.notes}
    return await call.settle(saying.offer, usage, outcome=outcome, source=source, detail=detail)


class _Answer:
    """The response: audio as it comes, bare or in events. The last of it waits for the bill to be settled."""

    saying: Saying
    watch: Watch

    def __init__(self, exchange: Exchange, asked: SpeechAsked, call: MeteredCall) -> None:
        self._exchange = exchange
        self._asked = asked
        self._call = call
        self._waiting = b""

    async def on_audio(self, data: bytes) -> None:
        """The next bytes of the file."""
        if not self._exchange.started:
            self._call.note_first_content()
            await self._exchange.start(200, self._headers())
        if self._asked.as_events:
            await self.watch.write(_event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}))
            return
        waiting, self._waiting = self._waiting, data
        if waiting:
            await self.watch.write(waiting)

    async def finish(self, settled: Settled) -> None:
        """The last bytes."""
        if not self._asked.as_events:
            await self.watch.write(self._waiting, last=True)
            return
        done = {"type": "speech.audio.done", **self._bill(settled)}
        await self.watch.write(_event(done), last=True)

    def explained(self, error: BadRequest) -> BadRequest:
        """What a provider refuses, with the name that may have been meant for a voice."""
        voice = self._asked.options.voice.lower()
        near = [] if voice in VOICES else get_close_matches(voice, VOICES, 2)
        if not near:
            return error
        return BadRequest(f"{error.message} Was {' or '.join(near)} meant for the voice {voice[:40]!r}?", param="voice")

    async def break_off(self, error: KomilionError, settled: Settled) -> None:
        """An event can say what went wrong; bare audio just ends in the middle, which closes the connection."""
        if self._asked.as_events:
            said = {"type": "error", **error_body(error, self._exchange.path), **self._bill(settled)}
            await self._exchange.write(_event(said), last=True)

    def _headers(self) -> Headers:
        kind = EVENT_STREAM if self._asked.as_events else CONTENT_TYPES[self._asked.options.format].encode()
        is_v1 = self._exchange.path.startswith("/v1/")
        origin = origin_headers(self.saying.offer, self._asked.dropped, is_v1=is_v1)
        return [(b"content-type", kind), (b"cache-control", b"no-cache"), *origin]

    def _bill(self, settled: Settled) -> dict[str, Any]:
        usage = settled.usage
        tokens = {"input_tokens": usage.get("input", 0), "output_tokens": usage.get("output_audio", 0)}
        tokens["total_tokens"] = sum(tokens.values())
        note = note_of(self.saying.offer, self._asked.wanted.name, settled, adjusted_of(self._asked.dropped))
        return {"usage": with_cost({**tokens, **usage}, settled), "x_komilion": note}


def _event(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"
