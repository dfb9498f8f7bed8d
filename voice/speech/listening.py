"""Audio -> text at the first offer that hears it: held before a byte goes out, charged by what was measured.

Whoever has an `Audio` can use it: the endpoints of speech, meetings, a conversation. Provider errors cost nothing.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec.structs import replace

from komilion.common.errors import BadRequest, KomilionError, PayloadTooLarge, ProviderError
from komilion.common.http_client import Response
from komilion.common.http_errors import TooLarge
from komilion.common.money import ceil_div
from komilion.common.numbers import numbers
from komilion.common.usage import MAX_UNITS, Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.call import NotSent
from routing.gateway.metered import MeteredCall
from routing.gateway.services import Services
from routing.gateway.types import Outcome, Settled
from routing.providers.registry import speech_dialect
from routing.providers.scrub import scrub
from routing.providers.speech import Heard, Listening, TextDelta, TranscriptionStream
from voice.speech.attempts import Attempts, opened
from voice.speech.belief import can_be_true
from voice.speech.choice import Chosen
from voice.speech.lengths import Audio

# The most that a second of speech can come to where tokens are paid: of sound, and of text.
AUDIO_TOKENS_PER_S = 50
TEXT_TOKENS_PER_S = 10
TEXT_TOKENS_LEAST = 64
LIKELY_AUDIO_TOKENS_PER_S = 10  # where a provider does not say
BYTES_PER_TOKEN = 4
ANSWER_BASE_S = 30.0
HEARD_PER_S = 2.0  # seconds of audio that the slowest provider hears in one
FOLLOWED_BASE_S = 15.0  # where another offer can still be asked
FOLLOWED_PER_S = 5.0

NOTHING = Usage()

type Priced = tuple[VoiceOffer, int]  # and what all of it comes to there at most, nano-USD
type OnText = Callable[[VoiceOffer, str], Awaitable[None]]
type OnHeard = Callable[[VoiceOffer, Heard, Usage, UsageSource], Awaitable[None]]


@dataclass(slots=True)
class Heeded:
    """A transcription that is paid for. `dropped` names options that its provider has no place for."""

    offer: VoiceOffer
    heard: Heard
    settled: Settled
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is to be heard and how. `on_text` gets the text as it comes, and whose it is, where the provider streams it;
    `on_heard` all of it and what it is charged by, before it is charged.

    `path` is the caller's, by which a time limit is told.
    """

    audio: Audio
    options: Listening
    on_text: OnText | None = None
    path: str = "/v1"
    on_heard: OnHeard | None = None


@dataclass(slots=True)
class _Ask:
    """What each offer is asked; `dropped` is of the one that was asked last."""

    services: Services
    hearing: Hearing
    attempts: Attempts
    dropped: tuple[str, ...] = ()


def likely_usage(length_ms: int, offer: VoiceOffer) -> Usage:
    """What so much audio may come to at most, in the units that the offer is paid by; some count whole seconds."""
    if not is_paid_by_tokens(offer):
        return Usage(audio_ms=likely_ms(length_ms))
    seconds = ceil_div(length_ms, 1000)
    return Usage(input_audio=seconds * AUDIO_TOKENS_PER_S, output=TEXT_TOKENS_LEAST + seconds * TEXT_TOKENS_PER_S)


def likely_ms(length_ms: int) -> int:
    """In whole seconds, as some count."""
    return min(ceil_div(length_ms, 1000) * 1000, MAX_UNITS)


def is_paid_by_tokens(offer: VoiceOffer) -> bool:
    """Whether tokens have a price; where seconds have one too, what the provider reports decides."""
    return "input_audio" in offer.price.components and "output" in offer.price.components


def bound_of(audio: Audio, options: Listening, offer: VoiceOffer, add_ons: int = 0) -> Usage:
    """The hold for a transcription: every channel that is heard apart, add-ons, and the words that go along."""
    length_ms = _heard_ms(audio, options)
    usage = likely_usage(length_ms, offer)
    extra = min(likely_ms(length_ms) * add_ons, MAX_UNITS)
    if not usage.input_audio:
        return replace(usage, add_on_ms=extra)
    words = len(options.prompt.encode()) + sum(len(word.encode()) for word in options.keywords)
    return replace(usage, input=words, add_on_ms=extra)


def _heard_ms(audio: Audio, options: Listening) -> int:
    """As we measured it, each channel that is heard apart."""
    return audio.length_ms * (audio.channels if "true" in (options.query or {}).get("multichannel", ()) else 1)


def _payable(hearing: Hearing, chosen: Chosen) -> tuple[list[Priced], list[Priced]]:
    """The offers that have a price for all of it: the model's, and those others that take audio of this size.

    Raises `BadRequest` where the model has none.
    """
    add_ons = max((_add_ons(hearing.options, offer) for offer in chosen.offers), key=len)
    mine = _priced(hearing, chosen.offers, len(add_ons))
    if not mine:
        raise BadRequest(f"{', '.join(add_ons)} cost extra, and have no price here.", param=add_ons[0])
    size = len(hearing.audio.data)
    others = [offer for offer in chosen.others if size <= speech_dialect(offer.dialect).largest_audio_bytes]
    return mine, _priced(hearing, others, len(add_ons))


def _priced(hearing: Hearing, offers: Iterable[VoiceOffer], add_ons: int) -> list[Priced]:
    bounds = ((offer, bound_of(hearing.audio, hearing.options, offer, add_ons)) for offer in offers)
    return [(offer, offer.price.charge(bound).charge) for offer, bound in bounds if not offer.price.unpriced(bound)]


def _add_ons(options: Listening, offer: VoiceOffer) -> tuple[str, ...]:
    return speech_dialect(offer.dialect).add_ons(options, offer.target)


async def transcribe(call: MeteredCall, chosen: Chosen, hearing: Hearing, services: Services) -> Heeded:
    """Hear it at the first of these offers that can, and settle `call`. Others than the model's are asked as far as the
    wallet had enough for them when it was held for.

    Raises what a hold does, what the last offer's failing means, `NotSent` where none could be reached.
    """
    mine, others = _payable(hearing, chosen)
    ceiling, minimum = (max(nano for _, nano in priced) for priced in ([*mine, *others], mine))
    await call.hold_nano(ceiling, minimum, [offer for offer, _ in (*mine, *others)])
    payable = [offer for offer, nano in (*mine, *others) if nano <= call.held]
    attempts = Attempts(services, payable, hearing.path)
    ask = _Ask(services, hearing, attempts)
    try:
        offer, heard = await attempts.run(partial(_ask, ask))
    except NotSent:
        await call.void()
        raise
    except KomilionError:
        detail = {"attempts": attempts.notes}
        outcome: Outcome = "provider_cut" if attempts.is_committed else "provider_failed"
        await call.settle(payable[0], NOTHING, outcome=outcome, source="absent", detail=detail)
        raise
    usage, source = charged_usage(heard, hearing, offer, call.request_id)
    if hearing.on_heard is not None:
        await hearing.on_heard(offer, heard, usage, source)
    settled = await call.settle(offer, usage, source=source, detail={"attempts": attempts.notes})
    return Heeded(offer, heard, settled, ask.dropped)


def charged_usage(heard: Heard, hearing: Hearing, offer: VoiceOffer, request_id: str) -> tuple[Usage, UsageSource]:
    """What the provider measured, where its price has a figure for all of it and the audio is long enough for that;
    else what we measured, marked so.
    """
    usage, source = _heard_usage(heard, hearing, offer, request_id)
    length_ms = usage.audio_ms or _heard_ms(hearing.audio, hearing.options)
    return replace(usage, add_on_ms=min(length_ms * len(_add_ons(hearing.options, offer)), MAX_UNITS)), source


def _heard_usage(heard: Heard, hearing: Hearing, offer: VoiceOffer, request_id: str) -> tuple[Usage, UsageSource]:
    reported, most = heard.usage, bound_of(hearing.audio, hearing.options, offer)
    if (
        reported is not None
        and not offer.price.unpriced(reported)
        and can_be_true(reported, most, offer, request_id=request_id)
    ):
        return reported, "provider"
    length_ms = _heard_ms(hearing.audio, hearing.options)
    if "audio_ms" in offer.price.components:
        return Usage(audio_ms=min(length_ms, MAX_UNITS)), "estimated"
    text = heard.transcript.text.encode("utf-8", "replace")
    counted = Usage(
        input_audio=ceil_div(length_ms * LIKELY_AUDIO_TOKENS_PER_S, 1000),
        output=min(ceil_div(len(text), BYTES_PER_TOKEN), most.output),
    )
    return counted, "estimated"


async def _ask(ask: _Ask, offer: VoiceOffer) -> Heard:
    dialect = speech_dialect(offer.dialect)
    if len(ask.hearing.audio.data) > dialect.largest_audio_bytes:
        raise PayloadTooLarge(f"{offer.provider} takes {dialect.largest_audio_bytes // 2**20} MiB of audio at most.")
    upload = dialect.transcription_request(ask.hearing.options, offer.target, ask.hearing.audio.media_type)
    ask.dropped = upload.dropped
    is_last, length_s = ask.attempts.is_at_last, ask.hearing.audio.length_ms / 1000
    limit_s = ANSWER_BASE_S + length_s / HEARD_PER_S if is_last else FOLLOWED_BASE_S + length_s / FOLLOWED_PER_S
    limit_s = min(numbers.TOTAL_TIMEOUT_S, limit_s)
    body = upload.parts(ask.hearing.audio.data)
    async with opened(ask.services, offer, upload.url, upload.headers, body, timeout_s=limit_s) as response:
        stream = dialect.transcription_stream()
        if stream is not None and response.headers.get("content-type", "").startswith("text/event-stream"):
            return await _read_stream(ask, offer, stream, response)
        try:
            data = await response.read(numbers.UPSTREAM_BODY_LIMIT_BYTES)
        except TooLarge:
            raise ProviderError(f"{offer.provider}'s answer is too large.") from None
        return dialect.transcription_answer(scrub(data, offer.target.api_key.encode()))


async def _read_stream(ask: _Ask, offer: VoiceOffer, stream: TranscriptionStream, response: Response) -> Heard:
    heard: Heard | None = None
    while data := await response.read_some():
        for event in stream.feed(data):
            heard = await _take(ask, offer, event) or heard
    for event in stream.close():
        heard = await _take(ask, offer, event) or heard
    if heard is None:
        raise ProviderError("The provider broke off the transcription.")
    return heard


async def _take(ask: _Ask, offer: VoiceOffer, event: Any) -> Heard | None:
    if not isinstance(event, TextDelta):
        whole: Heard = event
        return whole
    if ask.hearing.on_text is not None and event.text:
        ask.attempts.is_committed = True
        await ask.hearing.on_text(offer, event.text)
    return None
