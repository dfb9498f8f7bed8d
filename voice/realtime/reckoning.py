"""What a relayed conversation costs by our own count, while it runs: how much to hold, and what to bill where nothing
is reported. Pure.

The provider counts the whole conversation as input of every answer. What it counted last is known from the last
`response.done`; what came since is counted here: 10 tokens for a second of speech heard, 20 for one spoken. Of a text
there are two counts: a likely one, a token for every 4 bytes, and a bound, since who writes it chooses what is hard for
a tokenizer: a token for every 2 letters and for every other byte. What must be held takes the bound, and every token at
its full price; what is billed takes the likely one, and what was there before as cached.
"""

from collections import Counter
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
from voice.realtime.modes import CHARS_PER_S, InForce, output_most_of, weight_of
from voice.realtime.tab import Bounds

HEARD_TOKENS_PER_S = 10
SPOKEN_TOKENS_PER_S = 20
TRANSCRIPT_TOKENS_PER_S = 5  # of what is spoken; four words a second
WRITTEN_TOKENS_PER_S = 100  # where the answer is text
BYTES_PER_TOKEN = 4
LEAST_S = 5  # of an answer that a hold must pay for
IMAGE_TOKENS = 1_024
# How far a provider's count may be from ours: so many times as much, and what it does not show us:
# instructions of its own, thoughts (as much as an answer may have), and sound that was made and cut.
TIMES_OURS = 2
UNSEEN_INPUT_TOKENS = 4_096
UNSEEN_SPOKEN_S = 10
TAG = "komilion_event"  # in the metadata of what we ask for: by which event
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

    heard_chars: int = 0  # in items, as `modes` counts them
    text_bytes: int = 0
    dense_bytes: int = 0
    images: int = 0

    def text(self, text: str) -> None:
        """A text, or what is written as JSON."""
        data = text.encode("utf-8", "surrogatepass")
        self.text_bytes += len(data)
        self.dense_bytes += len(data.translate(None, LETTERS))

    def item(self, item: Mapping[str, Any], weight: int = 1) -> None:
        """An item of the conversation; `weight`: of a character of its audio. What else a function was called with or
        answered counts as text.
        """
        for part in item.get("content") or ():
            if part["type"] == "input_image":
                self.images += 1
            elif part.get("audio"):
                self.heard_chars += len(part["audio"]) * weight
                self.text(str(part.get("transcript") or ""))
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

    def tokens(self, *, is_bound: bool) -> Usage:
        """As input; of the text the bound, or what is likely."""
        likely = ceil_div(self.text_bytes, BYTES_PER_TOKEN)
        bound = self.dense_bytes + ceil_div(self.text_bytes - self.dense_bytes, LETTERS_PER_TOKEN)
        return Usage(
            input=bound if is_bound else likely,
            input_audio=ceil_div(self.heard_chars * HEARD_TOKENS_PER_S, CHARS_PER_S),
            input_image=self.images * IMAGE_TOKENS,
        )


@dataclass(slots=True)
class Answer:
    """One response that was asked for or runs: its input by our count, and what has come of it."""

    most: Usage = NOTHING  # input, as a bound, nothing of it cached
    likely: Usage = NOTHING  # input, as it is billed where the provider reports nothing
    heard: Said = field(default_factory=Said)  # all that was said when it was asked for
    is_beside: bool = False  # its input and output are not in the conversation
    has_own_input: bool = False  # instead of the conversation
    has_own_config: bool = False  # instructions or tools instead of the session's
    event_id: str = ""  # of the event that asked for it, as it went up
    asked_by: Mapping[str, Any] | None = None  # that event, as the client sent it; None: it began by itself
    is_spoken: bool | None = None  # None: as answers of the session are
    weight: int | None = None  # of a character of its audio; None: as the session's, when it begins
    output_most: int | None = None  # tokens of output, thoughts included; None: as the session's, when it begins
    audio_chars: int = 0  # as `modes` counts them
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
    in_force: InForce = field(default_factory=InForce)
    _known: Said = field(default_factory=Said)  # what of `said` is in `before`
    _config: Said = field(default_factory=Said)  # instructions and tools

    def configure(self, config: Mapping[str, Any], update: str, event_id: str = "") -> None:
        """An update of the session goes up by this event; the configuration would then be this."""
        self.send(config, event_id)
        self.said.text(update)
        self._config = _instructions_of(config)

    def send(self, config: Mapping[str, Any], event_id: str) -> None:
        """The configuration as it stands goes up again by this event."""
        self.in_force.send(config, event_id)
        self._tune()

    def connect(self) -> None:
        """Another connection begins, and is not configured yet."""
        self.in_force.connect()
        self._tune()

    def updated(self, session: Mapping[str, Any]) -> None:
        """The oldest update that went up is in force; the session as the provider has it now."""
        self.in_force.updated(session)
        self._tune()

    @property
    def answers_itself(self) -> bool:
        """Whether the provider may begin an answer when somebody has spoken."""
        return any(modes.answers_itself for modes in self.in_force)

    def item(self, item: Mapping[str, Any]) -> None:
        """The client makes an item."""
        self.said.item(item, self._weight())

    def context(self) -> Usage:
        """Input of an answer that would begin now, at most: nothing of it cached, and all that waits is speech."""
        new = self._all_said().since(self._known)
        new.heard_chars += self.buffer.waiting_chars
        return _sum(self.before, new.tokens(is_bound=True))

    def asking(self, wishes: Mapping[str, Any], event_id: str = "") -> Answer:
        """The answer to a `response.create`; not in `asked` yet. Its own `input` stands instead of the conversation,
        unless that refers to it.
        """
        own, items = _instructions_of(wishes), wishes.get("input")
        for item in items or ():
            own.item(item, self._weight())
        references = Counter(item["id"] for item in items or () if item["type"] == "item_reference")
        is_alone = items is not None and not references
        times = max(references.values(), default=1)  # each may be as long as all that was said
        heard = self._all_said()
        heard.heard_chars += self.buffer.sent_chars
        most = self._config.tokens(is_bound=True) if is_alone else _times(self.context(), times)
        likely = self._config.tokens(is_bound=False) if is_alone else _times(self._likely_context(), times)
        return Answer(
            _sum(most, own.tokens(is_bound=True)),
            _sum(likely, own.tokens(is_bound=False)),
            heard,
            is_beside=wishes.get("conversation") == "none",
            has_own_input=items is not None,
            has_own_config="instructions" in wishes or "tools" in wishes,
            event_id=event_id,
            is_spoken=wishes["output_modalities"] == ["audio"] if "output_modalities" in wishes else None,
            weight=weight_of((wishes.get("audio") or {}).get("output")),
            output_most=output_most_of(wishes),
        )

    def needs(self, seconds: int, asking: Answer | None = None, heard_s: int = 0) -> Usage:
        """What has to be paid for at most: the input of every answer that runs, was asked for, is about to be or comes
        by itself, what has come of it, so many seconds more of it, and of speech that is heard meanwhile.
        """
        answers = [*self.answers.values(), *self.asked, *(() if asking is None else (asking,))]
        if self.answers_itself or not answers:
            answers.append(Answer(most=self.context()))
        total = Usage(input_audio=heard_s * HEARD_TOKENS_PER_S)
        for answer in answers:
            output = _sum(self._delivered(answer), self._output(seconds, answer.is_spoken))
            total = _sum(total, _sum(answer.most, output))
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

    def believable(self, answer: Answer | None) -> Usage:
        """The most that a provider may count for an answer; None: for one that was never told to have begun."""
        answer = answer or Answer(most=self.context())
        ours = _sum(answer.most, self._delivered(answer))
        unseen = Usage(
            input=UNSEEN_INPUT_TOKENS,
            output=answer.output_most or self.in_force.confirmed.output_most,
            output_audio=UNSEEN_SPOKEN_S * SPOKEN_TOKENS_PER_S,
        )
        return _sum(unseen, _times(ours, TIMES_OURS))

    def begin(self, response_id: str, *, is_beside: bool | None = None, told: Mapping[str, Any] | None = None) -> None:
        """A response runs: one that was asked for, or one that the provider began by itself. `is_beside`: whether it is
        outside of the conversation, None where that was not told; `told`: it, as the provider says.

        Which it is its metadata say, which we write; of a provider that keeps none, it is the oldest.
        """
        of_any = [answer for answer in self.asked if is_beside in (None, answer.is_beside)]
        if told is not None and "metadata" in told:
            tag = (told["metadata"] or {}).get(TAG)
            of_any = [answer for answer in self.asked if answer.event_id == tag]
        asked = next(iter(of_any), None)
        if asked is None:
            answer = self.asking({"conversation": "none"} if is_beside else {})
        else:
            answer = asked
            self.asked.remove(asked)
        self.answers[response_id] = answer
        told_weight = weight_of(((told or {}).get("audio") or {}).get("output"))
        answer.weight = told_weight or answer.weight or self.in_force.confirmed.spoken_weight
        if answer.is_spoken is None:
            answer.is_spoken = self.in_force.confirmed.is_spoken
        answer.output_most = answer.output_most or self.in_force.confirmed.output_most
        # What was committed before it was asked for is confirmed by now, or was refused.
        answer.heard.heard_chars = min(answer.heard.heard_chars, self._all_said().heard_chars)

    @property
    def is_answering(self) -> bool:
        """Whether something came of an answer that belongs to the conversation and runs."""
        return any(answer.is_begun and not answer.is_beside for answer in self.answers.values())

    @property
    def unanswered(self) -> list[Mapping[str, Any]]:
        """What was asked for and nothing came of."""
        answers = [*self.answers.values(), *self.asked]
        return [answer.asked_by for answer in answers if answer.asked_by is not None and not answer.is_begun]

    def refused(self, event_id: str) -> None:
        """What went up by this event was not done."""
        self.buffer.refused(event_id)
        self.in_force.refused(event_id)
        self._tune()
        self.asked = [answer for answer in self.asked if answer.event_id != event_id]

    def end(self, response_id: str, usage: Usage | None) -> None:
        """A response has ended; what it heard and said is there for the next one. None: nothing is known of it, or it
        is not in the conversation.
        """
        answer = self.answers.pop(response_id, None)
        if usage is None:
            return
        output = Usage(input=usage.output, input_audio=usage.output_audio)
        for asked in self.asked:  # while this one ran, as who interrupts does: it is input of the next one too
            if not (asked.is_beside or asked.has_own_input):
                asked.most, asked.likely = _sum(asked.most, output), _sum(asked.likely, output)
        if answer is not None and answer.has_own_input:  # which says nothing of the conversation but what was added
            self.before = _sum(self.before, output)
            return
        read = Usage(
            input=usage.input + usage.cache_read,
            input_audio=usage.input_audio + usage.cache_read_audio,
            input_image=usage.input_image + usage.cache_read_image,
        )
        config = self._config.tokens(is_bound=True) if answer is not None and answer.has_own_config else NOTHING
        self.before = _sum(_sum(read, output), config)
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
        return _sum(cached, new.tokens(is_bound=False))

    def _delivered(self, answer: Answer) -> Usage:
        spoken = ceil_div(answer.audio_chars * SPOKEN_TOKENS_PER_S, CHARS_PER_S)
        return Usage(output=ceil_div(answer.text_bytes, BYTES_PER_TOKEN), output_audio=spoken)

    def _tune(self) -> None:
        self.buffer.detects_turns = all(modes.detects_turns for modes in self.in_force)
        self.buffer.weigh(max(modes.heard_weight for modes in self.in_force))

    def _weight(self) -> int:
        """Of audio inside of an item."""
        return max(max(modes.heard_weight, modes.spoken_weight) for modes in self.in_force)

    def _output(self, seconds: int, is_spoken: bool | None = None) -> Usage:
        """Of an answer; None: of one that goes by the session."""
        if is_spoken is None:
            is_spoken = any(modes.is_spoken for modes in self.in_force)
        if is_spoken:
            return Usage(output=seconds * TRANSCRIPT_TOKENS_PER_S, output_audio=seconds * SPOKEN_TOKENS_PER_S)
        return Usage(output=seconds * WRITTEN_TOKENS_PER_S)

    def _priced(self, usage: Usage) -> Usage:
        """Only buckets that the price knows: an estimate must not fail over a picture that has no price of its own."""
        known = self.price.components
        if usage.input_image and "input_image" not in known:
            usage = replace(usage, input=usage.input + usage.input_image, input_image=0)
        return usage


def _times(usage: Usage, times: int) -> Usage:
    return Usage(**{name: getattr(usage, name) * times for name in BUCKETS})


def _sum(left: Usage, right: Usage) -> Usage:
    return Usage(**{name: getattr(left, name) + getattr(right, name) for name in BUCKETS})


def _instructions_of(config: Mapping[str, Any]) -> Said:
    """What of a configuration, or of the wishes for one answer, the model reads."""
    said = Said()
    for name in ("instructions", "tools"):
        if config.get(name):
            said.text(dump(config[name]))
    return said
