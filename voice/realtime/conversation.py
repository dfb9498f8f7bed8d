"""What a conversation consists of, kept small, so that another connection or engine can go on with it.

Kept are the configuration, the items as text (what was spoken, as its transcript) and the audio that was not answered
yet, each within a limit: the oldest go first. Sizes are characters of JSON, which is ASCII but for the texts.
"""

from collections import deque
from typing import Any

import msgspec

from komilion.common.numbers import numbers

type Event = dict[str, Any]
ITEMS_MOST_BYTES = 8 * 2**20  # of JSON, as two of the largest frames
PLAIN = ("id", "type", "role", "call_id", "name", "arguments", "output")


class Conversation:
    """Of one session; `config` is the GA `session` as it stands, in a shape that can be sent as a `session.update`."""

    def __init__(self, config: Event | None = None) -> None:
        self.config: Event = {"type": "realtime"}
        if config is not None:
            self.configure(config)
        self.items: dict[str, Event] = {}  # by id, in their order; what can be sent as `conversation.item.create`
        self.unanswered: deque[str] = deque()  # frames of audio
        self.committed_frames = 0  # the first so many of them are an item already
        self.asked: Event | None = None  # a `response.create` of which nothing came yet
        self._audio_chars = 0
        self._sizes: dict[str, int] = {}  # of items, in bytes

    def configure(self, update: Event) -> None:
        """Merge a `session.update` into the configuration: objects field by field, everything else as a whole."""
        self.config = _merged(self.config, {name: value for name, value in update.items() if name != "model"})

    def heard(self, frame: str) -> None:
        """A piece of audio came; what is too old to be of use is forgotten."""
        self.unanswered.append(frame)
        self._audio_chars += len(frame)
        while self._audio_chars > numbers.REALTIME_REPLAY_AUDIO_BYTES:
            self._forget_oldest()

    def committed(self) -> None:
        """The audio so far has become an item, which is answered next."""
        self.committed_frames = len(self.unanswered)

    def answered(self) -> None:
        """What became an item has been answered."""
        while self.committed_frames:
            self._forget_oldest()

    def cleared(self) -> None:
        """The audio that is no item yet was thrown away."""
        while len(self.unanswered) > self.committed_frames:
            self._audio_chars -= len(self.unanswered.pop())

    def _forget_oldest(self) -> None:
        self._audio_chars -= len(self.unanswered.popleft())
        self.committed_frames = max(0, self.committed_frames - 1)

    def keep(self, item: Event) -> None:
        """An item is complete, or was made by the client. Audio is kept as its transcript; what has none is not
        kept.
        """
        kept = {name: item[name] for name in PLAIN if name in item}
        if item.get("type") == "message":
            parts = [part for part in map(_as_text, item.get("content") or []) if part is not None]
            if not parts:
                return
            kept["content"] = parts
        identity = item.get("id")
        if isinstance(identity, str):
            self.items[identity] = kept
            self._sizes[identity] = len(msgspec.json.encode(kept))
            while len(self.items) > numbers.REALTIME_REPLAY_ITEMS or sum(self._sizes.values()) > ITEMS_MOST_BYTES:
                self.delete(next(iter(self.items)))

    def transcribed(self, item_id: str, transcript: str) -> None:
        """What the user said in an item of audio."""
        if transcript:
            part = {"type": "input_text", "text": transcript}
            self.keep({"id": item_id, "type": "message", "role": "user", "content": [part]})

    def delete(self, item_id: str) -> None:
        """The item is out of the conversation."""
        self.items.pop(item_id, None)
        self._sizes.pop(item_id, None)


def _merged(old: Event, new: Event) -> Event:
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and "type" not in value:
            merged[name] = _merged(before, value)
        else:
            merged[name] = value
    return merged


def _as_text(part: Event) -> Event | None:
    """A part of an item without its audio."""
    kind = part.get("type")
    if kind in {"input_text", "output_text"} and part.get("text"):
        return {"type": kind, "text": part["text"]}
    if kind == "input_image":
        return part
    transcript = part.get("transcript")
    if not transcript:
        return None
    return {"type": "input_text" if kind == "input_audio" else "output_text", "text": transcript}
