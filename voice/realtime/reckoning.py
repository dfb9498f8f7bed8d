"""What a relayed conversation costs by our own count, while it runs: how much to hold, and what to bill where nothing
is reported. Pure.

The provider counts the whole conversation as input of every answer. What it counted last is known from the last
`response.done`; what came since is counted here: 10 tokens for a second of speech heard, 20 for one spoken, a token for
every 4 bytes of text. A bound takes every token at its full price, a likely figure what was there before as cached.
"""

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from billing.prices import PriceVersion
from komilion.common.money import ceil_div
from komilion.common.numbers import numbers
from komilion.common.usage import Usage
from voice.realtime.tab import Bounds

HEARD_TOKENS_PER_S = 10
SPOKEN_TOKENS_PER_S = 20
TRANSCRIPT_TOKENS_PER_S = 5  # of what is spoken; four words a second
WRITTEN_TOKENS_PER_S = 100  # where the answer is text
BYTES_PER_TOKEN = 4
LEAST_S = 5  # of an answer that a hold must pay for
BASE64_CHARS_PER_S = {"audio/pcm": 64_000, "audio/pcmu": 10_667, "audio/pcma": 10_667}
IMAGE_TOKENS = 1_024
NOTHING = Usage()


@dataclass(slots=True)
class Answer:
    """What has come of one response."""

    audio_chars: int = 0
    text_bytes: int = 0  # transcripts, texts and arguments of functions

    @property
    def is_begun(self) -> bool:
        """Whether anything came, so that it costs something."""
        return bool(self.audio_chars or self.text_bytes)


@dataclass(slots=True)
class Reckoning:
    """Of one session at one price. `answers` are the responses that run, by id."""

    price: PriceVersion
    before: Usage = NOTHING  # input of the last answer, and its output, which is input from now on; as if uncached
    answers: dict[str, Answer] = field(default_factory=dict)
    heard_chars: int = 0  # since the last answer began
    said_bytes: int = 0  # likewise: texts, tools, instructions
    images: int = 0
    heard_chars_per_s: int = BASE64_CHARS_PER_S["audio/pcm"]
    spoken_chars_per_s: int = BASE64_CHARS_PER_S["audio/pcm"]
    is_spoken: bool = True  # answers are audio

    def configure(self, config: dict[str, Any], said_bytes: int) -> None:
        """The session's configuration changed, by an update of so many bytes."""
        audio = config.get("audio") or {}
        self.heard_chars_per_s = _chars_per_s(audio.get("input"))
        self.spoken_chars_per_s = _chars_per_s(audio.get("output"))
        self.is_spoken = config.get("output_modalities", ["audio"]) == ["audio"]
        self.said_bytes += said_bytes

    def context(self) -> Usage:
        """Input of an answer that would begin now, as if nothing were cached."""
        return replace(
            self.before,
            input=self.before.input + ceil_div(self.said_bytes, BYTES_PER_TOKEN),
            input_audio=self.before.input_audio
            + ceil_div(self.heard_chars * HEARD_TOKENS_PER_S, self.heard_chars_per_s),
            input_image=self.before.input_image + self.images * IMAGE_TOKENS,
        )

    def bounds(self) -> Bounds:
        """What the next hold asks for: `REALTIME_HOLD_S` of the worst, else some seconds of what is likely."""
        seconds = numbers.REALTIME_HOLD_S
        most = _plus(self.context(), self._output(seconds))
        most = replace(most, input_audio=most.input_audio + seconds * HEARD_TOKENS_PER_S)
        return Bounds(self._priced(most), self._priced(_plus(self._likely_context(), self._output(LEAST_S))))

    def used_nano(self) -> int:
        """What the answers that run have cost so far."""
        if not self.answers:
            return 0
        total = sum(self.price.charge(self._priced(self.counted(answer))).charge for answer in self.answers.values())
        return int(total)

    def step_nano(self, seconds: int) -> int:
        """What so many seconds of output cost."""
        return self.price.charge(self._priced(self._output(seconds))).charge

    def counted(self, answer: Answer) -> Usage:
        """The usage of an answer by our own count: the likely input, and what was delivered."""
        spoken = ceil_div(answer.audio_chars * SPOKEN_TOKENS_PER_S, self.spoken_chars_per_s)
        written = ceil_div(answer.text_bytes, BYTES_PER_TOKEN)
        return self._priced(_plus(self._likely_context(), Usage(output=written, output_audio=spoken)))

    def begin(self, response_id: str) -> None:
        """A response runs."""
        self.answers[response_id] = Answer()

    def end(self, response_id: str, usage: Usage | None) -> None:
        """A response has ended; what it heard and said is there for the next one. None: nothing is known of it."""
        self.answers.pop(response_id, None)
        if usage is None:
            return
        self.before = Usage(
            input=usage.input + usage.cache_read + usage.output,
            input_audio=usage.input_audio + usage.cache_read_audio + usage.output_audio,
            input_image=usage.input_image + usage.cache_read_image,
        )
        self.heard_chars = self.said_bytes = self.images = 0

    def _likely_context(self) -> Usage:
        context, before = self.context(), self.before
        return replace(
            context,
            input=context.input - before.input,
            cache_read=before.input,
            input_audio=context.input_audio - before.input_audio,
            cache_read_audio=before.input_audio,
            input_image=context.input_image - before.input_image,
            cache_read_image=before.input_image,
        )

    def _output(self, seconds: int) -> Usage:
        if self.is_spoken:
            return Usage(output=seconds * TRANSCRIPT_TOKENS_PER_S, output_audio=seconds * SPOKEN_TOKENS_PER_S)
        return Usage(output=seconds * WRITTEN_TOKENS_PER_S)

    def _priced(self, usage: Usage) -> Usage:
        """Only buckets that the price knows: an estimate must not fail over a picture that has no price of its own."""
        known = self.price.components
        if usage.input_image and "input_image" not in known:
            usage = replace(usage, input=usage.input + usage.input_image, input_image=0)
        return usage


def _plus(left: Usage, right: Usage) -> Usage:
    return replace(left, output=left.output + right.output, output_audio=left.output_audio + right.output_audio)


def _chars_per_s(side: Any) -> int:
    kind = ((side or {}).get("format") or {}).get("type", "audio/pcm")
    return BASE64_CHARS_PER_S[kind]
