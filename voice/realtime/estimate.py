"""What a minute of conversation costs: computed from real prices and one conversation that is kept as data.

Each answer takes the whole conversation so far as input: what earlier answers had as well is cached, what was said
since (the last answer included) is not. Amounts are nano-USD and include the fee.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from django.conf import settings

from billing.prices import PriceVersion
from komilion.common.money import ceil_div
from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer
from routing.providers.speech import Speaking
from voice.realtime.reckoning import HEARD_TOKENS_PER_S, SPOKEN_TOKENS_PER_S, TRANSCRIPT_TOKENS_PER_S
from voice.speech.listening import likely_usage
from voice.speech.saying import bound_of as speech_bound

CONVERSATION = settings.BASE_DIR / "bench" / "voice" / "five_minutes.json"
S_PER_MINUTE = 60
CHARACTERS_PER_S = 15  # of what is spoken


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A turn: milliseconds that the caller spoke, and that the answer did."""

    heard_ms: int
    spoken_ms: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """A whole conversation."""

    seconds: int
    instructions_tokens: int
    turns: tuple[Exchanged, ...]


@cache
def five_minutes() -> Spoken:
    """The conversation of `bench/voice/five_minutes.json`."""
    data = json.loads(CONVERSATION.read_text(), parse_float=Decimal)
    turns = tuple(Exchanged(int(heard * 1_000), int(spoken * 1_000)) for heard, spoken in data["turns"])
    return Spoken(data["seconds"], data["instructions_tokens"], turns)


def relayed_per_minute(price: PriceVersion, spoken: Spoken | None = None) -> int:
    """What a minute of the conversation costs at a realtime model of this price."""
    spoken = spoken or five_minutes()
    total = 0
    text, audio = 0, 0  # of the input, as the last answer had it
    new_text, new_audio = spoken.instructions_tokens, 0
    for turn in spoken.turns:
        new_audio += _tokens(turn.heard_ms, HEARD_TOKENS_PER_S)
        said, written = _tokens(turn.spoken_ms, SPOKEN_TOKENS_PER_S), _tokens(turn.spoken_ms, TRANSCRIPT_TOKENS_PER_S)
        usage = Usage(
            input=new_text,
            cache_read=text,
            input_audio=new_audio,
            cache_read_audio=audio,
            output=written,
            output_audio=said,
        )
        total += price.charge(usage).charge
        text, audio = text + new_text, audio + new_audio
        new_text, new_audio = written, said
    return ceil_div(total * S_PER_MINUTE, spoken.seconds)


def written_per_minute(writes: VoiceOffer, spoken: Spoken | None = None) -> int:
    """What it costs to have that written down beside it which the caller says in a minute of the conversation."""
    spoken = spoken or five_minutes()
    total = sum(writes.price.charge(likely_usage(turn.heard_ms, writes)).charge for turn in spoken.turns)
    return ceil_div(total * S_PER_MINUTE, spoken.seconds)


def cascaded_per_minute(
    hears: VoiceOffer, thinks: PriceVersion, speaks: VoiceOffer, spoken: Spoken | None = None
) -> int:
    """What a minute of the conversation costs where one model hears, one thinks and one speaks. Nothing is cached."""
    spoken = spoken or five_minutes()
    total, context = 0, spoken.instructions_tokens
    for turn in spoken.turns:
        written = _tokens(turn.spoken_ms, TRANSCRIPT_TOKENS_PER_S)
        context += _tokens(turn.heard_ms, TRANSCRIPT_TOKENS_PER_S)
        said = Speaking("x" * (turn.spoken_ms * CHARACTERS_PER_S // 1_000), "", "pcm")
        total += hears.price.charge(likely_usage(turn.heard_ms, hears)).charge
        total += thinks.charge(Usage(input=context, output=written)).charge
        total += speaks.price.charge(speech_bound(said, speaks, 1_000 // CHARACTERS_PER_S)).charge
        context += written
    return ceil_div(total * S_PER_MINUTE, spoken.seconds)


def _tokens(milliseconds: int, per_s: int) -> int:
    return ceil_div(milliseconds * per_s, 1_000)
