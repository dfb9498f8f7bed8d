"""What a relayed conversation costs by our own count, while it runs: how much to hold, and what to bill where nothing
is reported. Pure.

The provider counts the whole conversation as input of every answer. What it counted last is known from the last
`response.done`; what came since is counted here: 10 tokens for a second of speech heard, 20 for one spoken. Of a text
there are two counts: a likely one, a token for every 4 bytes, and a bound, since who writes it chooses what is hard for
a tokenizer: a token for every 2 letters and for every other byte. What must be held takes the bound, and every token at
its full price; what is billed takes the likely one, and what was there before as cached.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from string import ascii_letters
from typing import Any

from msgspec.structs import replace

from billing.prices import PriceVersion
from komilion.common.money import ceil_div
from komilion.common.numbers import numbers
from komilion.common.usage import Usage
from voice.realtime.events import dump
from voice.realtime.input_buffer import InputBuffer
from voice.realtime.tab import Bounds

HEARD_TOKENS_PER_S = 10
SPOKEN_TOKENS_PER_S = 20
TRANSCRIPT_TOKENS_PER_S = 5  # of what is spoken; four words a second
WRITTEN_TOKENS_PER_S = 100  # where the answer is text
BYTES_PER_TOKEN = 4
LEAST_S = 5  # of an answer that a hold must pay for
BASE64_CHARS_PER_S = {"audio/pcm": 64_000, "audio/pcmu": 10_667, "audio/pcma": 10_667}
IMAGE_TOKENS = 1_024
LETTERS = ascii_letters.encode()
LETTERS_PER_TOKEN = 2
NOTHING = Usage()
BUCKETS = (
    *("input", "cache_read", "input_audio", "cache_read_audio", "input_image", "cache_read_image"),
    *("output", "output_audio"),
)  # of a realtime model


@dataclass(slots=True)
class Said:
    """What was put into a conversation so far: speech, texts (`dense_bytes` of them are no letters) and pictures."""

    heard_chars: int = 0  # of base64, in items
    text_bytes: int = 0
    dense_bytes: int = 0
    images: int = 0

    def text(self, text: str) -> None:
        """A text, or what is written as JSON."""
        data = text.encode("utf-8", "surrogatepass")
        self.text_bytes += len(data)
        self.dense_bytes += len(data.translate(None, LETTERS))

    def item(self, item: Mapping[str, Any]) -> None:
        """An item of the conversation. What else a function was called with or answered counts as text."""
        for part in item.get("content") or ():
            if part["type"] == "input_image":
                self.images += 1
            elif part.get("audio"):
                self.heard_chars += len(part["audio"])
            else:
                self.text(dump(part))
        for name in ("name", "arguments", "output"):
            self.text(str(item.get(name, "")))

    def since(self, before: "Said") -> "Said":
        """What came after a moment."""
        return Said(
            self.heard_chars - before.heard_chars,
            self.text_bytes - before.text_bytes,
            self.dense_bytes - before.dense_bytes,
            self.images - before.images,
        )

    def tokens(self, heard_chars_per_s: int, *, is_bound: bool) -> Usage:
        """As input; of the text the bound, or what is likely."""
        likely = ceil_div(self.text_bytes, BYTES_PER_TOKEN)
        bound = self.dense_bytes + ceil_div(self.text_bytes - self.dense_bytes, LETTERS_PER_TOKEN)
        return Usage(
            input=bound if is_bound else likely,
            input_audio=ceil_div(self.heard_chars * HEARD_TOKENS_PER_S, heard_chars_per_s),
            input_image=self.images * IMAGE_TOKENS,
        )


@dataclass(slots=True)
class Answer:
    """One response that was asked for or runs: its input by our count, and what has come of it."""

    most: Usage = NOTHING  # input, as a bound, nothing of it cached
    likely: Usage = NOTHING  # input, as it is billed where the provider reports nothing
    heard: Said = field(default_factory=Said)  # all that was said when it was asked for
    is_beside: bool = False  # its input and output are not in the conversation
    event_id: str = ""  # of the event that asked for it, as it went up
    audio_chars: int = 0
    text_bytes: int = 0  # transcripts, texts and arguments of functions

    @property
    def is_begun(self) -> bool:
        """Whether anything came, so that it costs something, whatever becomes of it."""
        return bool(self.audio_chars or self.text_bytes)


@dataclass(slots=True)
class Reckoning:
    """Of one session at one price. `asked` went up and have not begun, `answers` run, by id."""

    price: PriceVersion
    buffer: InputBuffer = field(default_factory=InputBuffer)
    said: Said = field(default_factory=Said)  # beside what was heard by the buffer
    asked: list[Answer] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    before: Usage = NOTHING  # input of the last answer, and its output, which is input from now on; as if uncached
    spoken_chars_per_s: int = BASE64_CHARS_PER_S["audio/pcm"]
    is_spoken: bool = True  # answers are audio
    answers_itself: bool = True  # the provider begins an answer when somebody has spoken
    _known: Said = field(default_factory=Said)  # what of `said` is in `before`
    _config: Said = field(default_factory=Said)  # instructions and tools

    def configure(self, config: Mapping[str, Any], update: str) -> None:
        """The session's configuration changed, by this update."""
        audio = config.get("audio") or {}
        self.buffer.chars_per_s = _chars_per_s(audio.get("input"))
        self.spoken_chars_per_s = _chars_per_s(audio.get("output"))
        self.is_spoken = config.get("output_modalities", ["audio"]) == ["audio"]
        detection = (audio.get("input") or {}).get("turn_detection", {})
        self.buffer.detects_turns = detection is not None
        self.answers_itself = detection is not None and detection.get("create_response", True) is not False
        self.said.text(update)
        self._config = _instructions_of(config)

    def context(self) -> Usage:
        """Input of an answer that would begin now, at most: nothing of it cached, and all that waits is speech."""
        new = self._all_said().since(self._known)
        new.heard_chars += self.buffer.waiting_chars
        return _sum(self.before, new.tokens(self.buffer.chars_per_s, is_bound=True))

    def asking(self, wishes: Mapping[str, Any], event_id: str = "") -> Answer:
        """The answer to a `response.create`; not in `asked` yet. Its own `input` stands instead of the conversation,
        unless that refers to it.
        """
        own, items = _instructions_of(wishes), wishes.get("input")
        for item in items or ():
            own.item(item)
        is_alone = items is not None and all(item["type"] != "item_reference" for item in items)
        rate = self.buffer.chars_per_s
        heard = self._all_said()
        heard.heard_chars += self.buffer.sent_chars
        most = self._config.tokens(rate, is_bound=True) if is_alone else self.context()
        likely = self._config.tokens(rate, is_bound=False) if is_alone else self._likely_context()
        return Answer(
            _sum(most, own.tokens(rate, is_bound=True)),
            _sum(likely, own.tokens(rate, is_bound=False)),
            heard,
            is_beside=wishes.get("conversation") == "none",
            event_id=event_id,
        )

    def needs(self, seconds: int, asking: Answer | None = None, heard_s: int = 0) -> Usage:
        """What has to be paid for at most: the input of every answer that runs, was asked for, is about to be or comes
        by itself, what has come of it, so many seconds more of it, and of speech that is heard meanwhile.
        """
        answers = [*self.answers.values(), *self.asked, *(() if asking is None else (asking,))]
        if self.answers_itself or not answers:
            answers.append(Answer(most=self.context()))
        total = replace(self._output(seconds * len(answers)), input_audio=heard_s * HEARD_TOKENS_PER_S)
        for answer in answers:
            total = _sum(total, _sum(answer.most, self._delivered(answer)))
        return total

    def needs_nano(self, seconds: int, asking: Answer | None = None, heard_s: int = 0) -> int:
        """What that costs."""
        return self.price.charge(self._priced(self.needs(seconds, asking, heard_s))).charge

    def bounds(self) -> Bounds:
        """What the next hold asks for: `REALTIME_HOLD_S` each way, else some seconds of an answer."""
        seconds = numbers.REALTIME_HOLD_S
        most, least = self.needs(seconds, heard_s=seconds), self.needs(LEAST_S)
        return Bounds(self._priced(most), self._priced(least))

    def step_nano(self, seconds: int) -> int:
        """What so many seconds of output cost."""
        return self.price.charge(self._priced(self._output(seconds))).charge

    def counted(self, answer: Answer) -> Usage:
        """The usage of an answer by our own count: the likely input, and what was delivered."""
        return self._priced(_sum(answer.likely, self._delivered(answer)))

    def begin(self, response_id: str, *, is_beside: bool | None = None) -> None:
        """A response runs: the oldest that was asked for, or one that the provider began by itself. `is_beside`:
        whether it is outside of the conversation, None where that was not told.
        """
        asked = next((answer for answer in self.asked if is_beside in (None, answer.is_beside)), None)
        if asked is None:
            answer = self.asking({"conversation": "none"} if is_beside else {})
        else:
            answer = asked
            self.asked.remove(asked)
        self.answers[response_id] = answer
        # What was committed before it was asked for is confirmed by now, or was refused.
        answer.heard.heard_chars = min(answer.heard.heard_chars, self._all_said().heard_chars)

    def refused(self, event_id: str | None) -> None:
        """What was asked for by this event will not be answered; where that is not told, the oldest."""
        if event_id is None:
            self.asked = self.asked[1:]
        else:
            self.asked = [answer for answer in self.asked if answer.event_id != event_id]

    def end(self, response_id: str, usage: Usage | None) -> None:
        """A response has ended; what it heard and said is there for the next one. None: nothing is known of it, or it
        is not in the conversation.
        """
        answer = self.answers.pop(response_id, None)
        if usage is None:
            return
        self.before = Usage(
            input=usage.input + usage.cache_read + usage.output,
            input_audio=usage.input_audio + usage.cache_read_audio + usage.output_audio,
            input_image=usage.input_image + usage.cache_read_image,
        )
        self._known = self._all_said() if answer is None else answer.heard

    def _all_said(self) -> Said:
        said = copy(self.said)
        said.heard_chars += self.buffer.item_chars
        return said

    def _likely_context(self) -> Usage:
        before = self.before
        cached = Usage(
            cache_read=before.input, cache_read_audio=before.input_audio, cache_read_image=before.input_image
        )
        new = self._all_said().since(self._known)
        new.heard_chars += self.buffer.sent_chars
        return _sum(cached, new.tokens(self.buffer.chars_per_s, is_bound=False))

    def _delivered(self, answer: Answer) -> Usage:
        spoken = ceil_div(answer.audio_chars * SPOKEN_TOKENS_PER_S, self.spoken_chars_per_s)
        return Usage(output=ceil_div(answer.text_bytes, BYTES_PER_TOKEN), output_audio=spoken)

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


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(**{name: getattr(left, name) + getattr(right, name) for name in BUCKETS})


def _instructions_of(config: Mapping[str, Any]) -> Said:
    """What of a configuration, or of the wishes for one answer, the model reads."""
    said = Said()
    for name in ("instructions", "tools"):
        if config.get(name):
            said.text(dump(config[name]))
    return said


def _chars_per_s(side: Any) -> int:
    kind = ((side or {}).get("format") or {}).get("type", "audio/pcm")
    return BASE64_CHARS_PER_S[kind]
