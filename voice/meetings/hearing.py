"""The parts of a recording at the models that hear them: which model, how the recording is cut, one call each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from komilion.common.errors import ModelNotServed
from komilion.common.usage import Usage
from routing.catalog.snapshot import Catalog
from routing.catalog.voice import VoiceOffer
from routing.gateway.exchange import Vouch
from routing.gateway.metered import CallFacts, MeteredCall
from routing.gateway.services import Services
from routing.gateway.types import Session
from routing.providers.registry import speech_dialect
from routing.providers.speech import Listening
from voice.meetings.options import MeetingOptions
from voice.meetings.recording import PART_MOST_MS, Recording, Span, cut
from voice.speech.choice import Chosen, Wanted, choose
from voice.speech.lengths import Audio
from voice.speech.listening import Hearing, Heeded, OnHeard, likely_usage, transcribe

ENDPOINT = "meetings"
PATH = "/api/voice/transcribe-meeting"
TAKES_HOURS = frozenset({"deepgram"})  # dialects that hear a whole meeting at once, and so know its speakers
WHOLE_MOST_BYTES = 100 * 2**20  # of a file that goes out in one piece, and so is in memory
TELLS_SPEAKERS = "diarization"
NEEDS: Sequence[tuple[frozenset[str], ...]] = (  # the first that some model has; the first of all only for speakers
    (frozenset({TELLS_SPEAKERS}), frozenset({"word_timestamps"})),
    (frozenset({"word_timestamps"}),),
    (),
)


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose behalf something is asked; `renew` finds the session, again where its rights changed meanwhile."""

    services: Services
    renew: Vouch


def choose_ears(catalog: Catalog, session: Session, options: MeetingOptions) -> Chosen:
    """The model for a meeting: the one that is named, else the cheapest of those that tell most of what is wanted.

    Raises what `voice.speech.choice.choose` does.
    """

    def likely(offer: VoiceOffer) -> Usage:
        return likely_usage(PART_MOST_MS, offer)

    if options.model:
        return choose(Wanted("transcription", options.model), catalog, session.caller, likely)
    for needs in NEEDS if options.diarize else NEEDS[1:]:
        try:
            return choose(Wanted("transcription", "", needs), catalog, session.caller, likely)
        except ModelNotServed:
            if not needs:
                raise
    raise ModelNotServed


def takes_whole(chosen: Chosen, recording: Recording) -> bool:
    """Whether the model hears the file as it came, in one call."""
    dialect = chosen.offers[0].dialect
    most_bytes = min(WHOLE_MOST_BYTES, speech_dialect(dialect).largest_audio_bytes)
    is_short = recording.length_ms <= PART_MOST_MS
    return recording.size_bytes <= most_bytes and (is_short or dialect in TAKES_HOURS)


def spans_of(chosen: Chosen, recording: Recording) -> list[Span]:
    """The parts to be asked for."""
    return [Span(0, recording.length_ms)] if takes_whole(chosen, recording) else cut(recording.samples)


def audio_of(chosen: Chosen, recording: Recording, span: Span) -> Audio:
    """What is sent for a part."""
    is_all = (span.start_ms, span.end_ms) == (0, recording.length_ms)
    return recording.whole() if is_all and takes_whole(chosen, recording) else recording.part(span)


@dataclass(frozen=True, slots=True)
class PartAsked:
    """One call: `on_heard` gets the answer before it is charged for."""

    request_id: str
    audio: Audio
    options: MeetingOptions
    on_heard: OnHeard | None = None


def _taking_hours(offers: Sequence[VoiceOffer]) -> tuple[VoiceOffer, ...]:
    return tuple(offer for offer in offers if offer.dialect in TAKES_HOURS)


async def hear(payer: Payer, chosen: Chosen, part: PartAsked) -> Heeded:
    """Hold, hear and charge one part under its request id. Raises what `transcribe` does."""
    audio, options = part.audio, part.options
    if audio.length_ms > PART_MOST_MS:  # sent whole, since the first offer takes that
        chosen = replace(chosen, offers=_taking_hours(chosen.offers), others=_taking_hours(chosen.others))
    listening = Listening(
        language=options.language,
        with_times=True,
        with_words=True,
        with_speakers=options.diarize and TELLS_SPEAKERS in chosen.offers[0].target.capabilities,
    )
    facts = CallFacts(ENDPOINT, options.model or chosen.model.id)
    async with MeteredCall(payer.services, await payer.renew(), part.request_id, facts, payer.renew) as call:
        hearing = Hearing(audio, listening, path=PATH, on_heard=part.on_heard)
        return await transcribe(call, chosen, hearing, payer.services)
