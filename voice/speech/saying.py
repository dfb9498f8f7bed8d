"""Text -> audio at the first offer that can speak it, piece by piece where it is long.

A text that fits into one request passes through as the provider encodes it. A longer one, and one that is paid by
what is spoken, is asked for as samples, which are joined, measured and encoded here. Nothing is charged for a piece
that its provider broke off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec.structs import replace

from komilion.common.audio import pcm
from komilion.common.audio.encode import Encoder, encoder
from komilion.common.audio.pcm import Samples
from komilion.common.errors import LedgerUnavailable, ProviderError
from komilion.common.http_client import Response
from komilion.common.money import ceil_div
from komilion.common.numbers import numbers
from komilion.common.usage import Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.funds import Stopped
from routing.gateway.services import Services
from routing.providers.registry import speech_dialect
from routing.providers.speech import PCM_RATE_HZ, Speaking
from voice.audio.join import Joiner
from voice.speech.attempts import Attempts, opened
from voice.speech.belief import can_be_true
from voice.speech.cover import Cover
from voice.speech.sentences import pieces_of

# The most that a character may take to be spoken, at the usual speed, and what of sound comes to how many tokens.
MS_A_CHARACTER = 350
LEAST_MS_A_CHARACTER = 60
AUDIO_TOKENS_PER_S = 25
CHARACTERS_PER_TOKEN = 4
NO_SOUND = ("application/json", "text/html", "text/plain", "text/event-stream")  # media types that carry none
PLAIN_FORMATS = ("pcm", "wav")  # written without an encoder

type OnAudio = Callable[[bytes], Awaitable[None]]


def is_paid_by_characters(offer: VoiceOffer) -> bool:
    """Whether the text is what is paid for, else what becomes of it."""
    return "characters" in offer.price.components


def bound_of(options: Speaking, offer: VoiceOffer, ms_a_character: int = MS_A_CHARACTER) -> Usage:
    """The first hold for a text, in the units that the offer is paid by. Some voices read no faster than they like."""
    if is_paid_by_characters(offer):
        return Usage(characters=len(options.text))
    length_ms = int(len(options.text) * ms_a_character / min(options.speed, 1.0)) + 1_000
    return _spoken_for(options, offer, length_ms, len(_pieces(options, [offer])))


def _spoken_for(options: Speaking, offer: VoiceOffer, length_ms: int, pieces: int) -> Usage:
    """The most that so much speech may be charged by, where what is spoken is paid for: the instructions go to the
    provider with each piece of the text.
    """
    if "output_audio" not in offer.price.components:
        return Usage(audio_ms=length_ms)
    told = len(_told(options, offer).encode("utf-8", "replace"))
    said = len(options.text.encode("utf-8", "replace")) + told * pieces
    return Usage(input=said, output_audio=ceil_div(length_ms * AUDIO_TOKENS_PER_S, 1000))


def _pieces(options: Speaking, offers: Sequence[VoiceOffer]) -> list[str]:
    """The text as any of these offers takes it."""
    return pieces_of(options.text, min(speech_dialect(offer.dialect).longest_text(offer.target) for offer in offers))


def _told(options: Speaking, offer: VoiceOffer) -> str:
    """How it should sound, where a model knows such a thing; nobody else is sent it."""
    return options.instructions if "instructions" in offer.target.capabilities else ""


class Saying:
    """One text being spoken. `on_audio` gets the bytes of the file as they come.

    `offer` is who speaks, `notes` has each try for the usage row, `cover` is asked ahead of sound that is paid for.
    """

    cover: Cover | None = None

    def __init__(
        self, services: Services, offers: Sequence[VoiceOffer], options: Speaking, on_audio: OnAudio, path: str = "/v1"
    ) -> None:
        self.offer = offers[0]
        self.notes: list[dict[str, object]] = []
        self.is_begun = False  # audio was passed on
        self._services = services
        self._offers = offers
        self._options = options
        self._on_audio = on_audio
        self._path = path
        self._pieces = _pieces(options, offers)
        self._spoken = 0  # pieces
        self._characters = 0  # of pieces that were spoken
        self._asked = 0  # of the piece that is being spoken
        self._samples = 0  # of pieces that were spoken
        self._heard = 0  # samples of the piece that is being spoken
        self._tokens: Usage | None = Usage()  # None once a provider did not tell
        self._joiner = Joiner(PCM_RATE_HZ)
        self._encoder: Encoder | None = None

    async def run(self) -> None:
        """Speak all of it. Raises the last offer's error, `NotSent` where none could be reached at all."""
        offers = self._offers
        for piece in self._pieces:
            attempts = Attempts(self._services, offers, self._path)
            try:
                self.offer, _ = await attempts.run(partial(self._speak, attempts, piece, len(self._pieces) > 1))
            finally:
                self.notes += attempts.notes
            offers = [self.offer]  # one voice to the end
        if self._encoder is not None:
            await self._pass_on(await self._encoded(self._joiner.end_piece(), is_last=True))

    def used(self, *, is_broken_off: bool = False) -> tuple[Usage, UsageSource]:
        """What is to be charged by now; with a piece that the caller did not wait for, without one that failed."""
        components = self.offer.price.components
        pieces, characters, samples = self._spoken, self._characters, self._samples
        if not is_broken_off and (self._asked or self._heard):
            pieces, characters, samples = pieces + 1, characters + self._asked, samples + self._heard
        if is_paid_by_characters(self.offer):
            return Usage(characters=characters), "provider"
        length_ms = _length_ms(samples)
        tokens = self._tokens if "output_audio" in components and (is_broken_off or not self._asked) else None
        if tokens is not None and self._is_possible(tokens, length_ms):
            return tokens, "provider"
        if "audio_ms" in components:
            return Usage(audio_ms=length_ms), "provider" if "output_audio" not in components else "estimated"
        said = characters + pieces * len(_told(self._options, self.offer))
        spoken = ceil_div(length_ms * AUDIO_TOKENS_PER_S, 1000)
        return Usage(input=ceil_div(said, CHARACTERS_PER_TOKEN), output_audio=spoken), "estimated"

    def _is_possible(self, tokens: Usage, length_ms: int) -> bool:
        """Whether so much sound may come to these tokens; what has no price is left out where it is settled."""
        return can_be_true(tokens, self._spoken_for(length_ms), self.offer)

    def _spoken_for(self, length_ms: int) -> Usage:
        return _spoken_for(self._options, self.offer, length_ms, len(self._pieces))

    async def _speak(self, attempts: Attempts, text: str, is_part: bool, offer: VoiceOffer) -> None:
        """One piece at one offer."""
        self.offer = offer
        by_samples = is_part or not is_paid_by_characters(offer)
        form = "pcm" if by_samples else self._options.format
        with_usage = "output_audio" in offer.price.components and not is_paid_by_characters(offer)
        options = replace(self._options, text=text, format=form, with_usage=with_usage)
        dialect = speech_dialect(offer.dialect)
        request = dialect.speech_request(options, offer.target)
        self._asked = len(text)
        limit_s = numbers.FIRST_CONTENT_TIMEOUT_S if len(self._offers) == 1 else numbers.FIRST_CONTENT_FALLBACK_S
        try:
            async with asyncio.timeout(limit_s) as patience:
                opening = opened(
                    self._services, offer, request.url, request.headers, request.body, timeout_s=numbers.TOTAL_TIMEOUT_S
                )
                async with opening as response:
                    self._asked = dialect.characters(response.headers, text)
                    await self._read(attempts, response, patience, offer, by_samples=by_samples)
        except (Stopped, LedgerUnavailable):
            raise  # what was passed on is charged
        except Exception:
            self._asked = self._heard = 0  # a provider's failure costs nothing
            raise
        self._spoken += 1
        self._characters, self._asked = self._characters + self._asked, 0
        self._samples, self._heard = self._samples + self._heard, 0

    async def _read(
        self, attempts: Attempts, response: Response, patience: asyncio.Timeout, offer: VoiceOffer, *, by_samples: bool
    ) -> None:
        """The audio of one piece, which is not silent for longer than a gap may be."""
        loop = asyncio.get_running_loop()
        stream, kind = None, response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            stream = speech_dialect(offer.dialect).speech_stream()
        if stream is None and kind in NO_SOUND:
            raise ProviderError(f"{offer.provider} answered with {kind} in place of audio.")
        rest, came = b"", 0
        while data := await response.read_some():
            patience.reschedule(None)  # what follows is our own and the client's time
            audio = data if stream is None else stream.feed(data)
            came += len(audio)
            attempts.is_committed = attempts.is_committed or bool(audio)
            rest = await self._take(rest + audio, by_samples=by_samples)
            patience.reschedule(loop.time() + numbers.FRAME_GAP_TIMEOUT_S)
        patience.reschedule(None)
        if stream is not None:
            audio = stream.close()
            came += len(audio)
            await self._take(rest + audio, by_samples=by_samples)
        if not came:
            raise ProviderError(f"{offer.provider} answered without a sound.")
        told = None if stream is None else stream.usage
        self._tokens = None if told is None or self._tokens is None else _sum(self._tokens, told)
        if by_samples:
            await self._pass_on(await self._encoded(self._joiner.end_piece()))

    async def _take(self, audio: bytes, *, by_samples: bool) -> bytes:
        """Pass audio on; what is left is half a sample."""
        if not by_samples:
            await self._pass_on(audio)
            return b""
        whole = len(audio) - len(audio) % pcm.BYTES_PER_SAMPLE
        samples = pcm.from_bytes(audio[:whole])
        for start in range(0, len(samples), PCM_RATE_HZ):
            await self._hear(samples[start : start + PCM_RATE_HZ])
        return audio[whole:]

    async def _hear(self, samples: Samples) -> None:
        """A second at most, which is passed on only where it is paid for."""
        if self.cover is not None and not is_paid_by_characters(self.offer):
            length_ms = _length_ms(self._samples + self._heard + len(samples))
            await self.cover.reach(self.offer, self._spoken_for(length_ms))
        self._heard += len(samples)
        await self._pass_on(await self._encoded(self._joiner.feed(samples)))

    async def _encoded(self, samples: Samples, *, is_last: bool = False) -> bytes:
        """Encoding takes milliseconds of processor time for each second of speech, which others do not wait for."""
        if self._encoder is None:
            self._encoder = encoder(self._options.format, PCM_RATE_HZ)
        encode = partial(_encode, self._encoder, samples, is_last)
        return encode() if self._options.format in PLAIN_FORMATS else await asyncio.to_thread(encode)

    async def _pass_on(self, data: bytes) -> None:
        if data:
            self.is_begun = True
            await self._on_audio(data)


def _length_ms(samples: int) -> int:
    return ceil_div(samples * 1000, PCM_RATE_HZ)


def _encode(encoding: Encoder, samples: Samples, is_last: bool) -> bytes:
    data = encoding.feed(samples) if len(samples) else b""
    return data + encoding.finish() if is_last else data


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(input=one.input + other.input, output_audio=one.output_audio + other.output_audio)
