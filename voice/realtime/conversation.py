"""What a conversation consists of, kept small, so that another connection or engine can go on with it.

Kept are the configuration, the items as text (what was spoken, as its transcript) and the audio that was not answered
yet, each within a limit: the oldest go first. Sizes are characters of JSON, which is ASCII but for the texts.
"""

from collections import deque
from typing import Any, NamedTuple

import msgspec

from komilion.common.numbers import numbers

type Event = dict[str, Any]
ITEMS_MOST_BYTES = 8 * 2**20  # of JSON, as two of the largest frames
ROOT = "root"  # stands for the place before the first item
PLAIN = ("id", "type", "role", "call_id", "name", "arguments", "output")


class Heard(NamedTuple):
    """A piece of audio as its client sent it, and where it begins in all that was heard."""

    frame: str
    begin: int


class Conversation:
    """Of one session; `config` is the GA `session` as it stands, in a shape that can be sent as a `session.update`."""

    def __init__(self, config: Event | None = None) -> None:
        self.config: Event = {"type": "realtime"}
        if config is not None:
            self.configure(config)
        self.items: dict[str, Event] = {}  # by id, in their order; what can be sent as `conversation.item.create`
        self.unanswered: deque[Heard] = deque()
        self.committed_frames = 0  # the first so many of them are an item already
        self.asked: list[Event] = []  # `response.create` events that were lost with a connection, with nothing to show
        self._answering_frames = 0  # the first so many of them are being answered
        self._audio_chars = 0
        self._sizes: dict[str, int] = {}  # of items, in bytes

    def configure(self, update: Event) -> None:
        """Merge a `session.update` into the configuration: objects field by field, everything else as a whole."""
        self.config = merged(self.config, {name: value for name, value in update.items() if name != "model"})

    def heard(self, frame: str, begin: int) -> None:
        """A piece of audio goes to who answers; what is too old to be of use is forgotten."""
        self.unanswered.append(Heard(frame, begin))
        self._audio_chars += len(frame)
        while self._audio_chars > numbers.REALTIME_REPLAY_AUDIO_BYTES:
            self._forget_oldest()

    def committed(self, until: int) -> None:
        """What was heard until there has become an item."""
        self.committed_frames = sum(heard.begin < until for heard in self.unanswered)

    def began(self) -> None:
        """An answer begins, to what is an item by now."""
        self._answering_frames = self.committed_frames

    def answered(self) -> None:
        """It was given; what became an item meanwhile is answered next."""
        while self._answering_frames:
            self._forget_oldest()

    def cleared(self, until: int) -> None:
        """What was heard until there, and is no item yet, was thrown away."""
        frames = list(self.unanswered)
        items, rest = frames[: self.committed_frames], frames[self.committed_frames :]
        self.unanswered = deque([*items, *(heard for heard in rest if heard.begin >= until)])
        self._audio_chars = sum(len(heard.frame) for heard in self.unanswered)

    def take_unanswered(self) -> list[str]:
        """The audio that was not answered, for somebody else to hear it: he keeps what he needs of it."""
        frames = [heard.frame for heard in self.unanswered]
        self.unanswered.clear()
        self.committed_frames = self._answering_frames = self._audio_chars = 0
        return frames

    def _forget_oldest(self) -> None:
        self._audio_chars -= len(self.unanswered.popleft().frame)
        self.committed_frames = max(0, self.committed_frames - 1)
        self._answering_frames = max(0, self._answering_frames - 1)

    def expect(self, item_id: str, role: str) -> None:
        """A message takes its place in the conversation, and `keep` will say what is in it."""
        self._put({"id": item_id, "type": "message", "role": role, "content": []})

    def keep(self, item: Event, after: str | None = None) -> None:
        """An item is complete, or was made by the client. Audio is kept as its transcript; what has none is not
        kept. A new item comes behind the item `after`, first of all behind "root", else last.
        """
        kept = {name: item[name] for name in PLAIN if name in item}
        if item.get("type") == "message":
            parts = [part for part in map(_as_text, item.get("content") or []) if part is not None]
            if not parts:
                return
            kept["content"] = parts
        if isinstance(item.get("id"), str):
            is_new = item["id"] not in self.items
            self._put(kept)
            if is_new and after is not None and item["id"] in self.items:
                self._move(item["id"], after)

    def before(self, item_id: str) -> str | None:
        """The item before this one; the last of all where this one is in no place yet."""
        previous = None
        for each in self.items:
            if each == item_id:
                break
            previous = each
        return previous

    def _put(self, item: Event) -> None:
        self.items[item["id"]] = item
        self._sizes[item["id"]] = len(msgspec.json.encode(item))
        while len(self.items) > numbers.REALTIME_REPLAY_ITEMS or sum(self._sizes.values()) > ITEMS_MOST_BYTES:
            self.delete(next(iter(self.items)))

    def _move(self, item_id: str, after: str) -> None:
        order = [each for each in self.items if each != item_id]
        if after == ROOT:
            order.insert(0, item_id)
        elif after in order:
            order.insert(order.index(after) + 1, item_id)
        else:
            return
        self.items = {each: self.items[each] for each in order}

    def transcribed(self, item_id: str, transcript: str) -> None:
        """What the user said in an item of audio."""
        if transcript:
            part = {"type": "input_text", "text": transcript}
            self.keep({"id": item_id, "type": "message", "role": "user", "content": [part]})

    def delete(self, item_id: str) -> None:
        """The item is out of the conversation."""
        self.items.pop(item_id, None)
        self._sizes.pop(item_id, None)


def merged(old: Event, new: Event) -> Event:
    """Objects field by field, what has a `type` and everything else as a whole. Both stay as they are."""
    whole = dict(old)
    for name, value in new.items():
        before = whole.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and "type" not in value:
            whole[name] = merged(before, value)
        else:
            whole[name] = value
    return whole


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
