"""Which model a conversation was answered by last, so that its prefix cache can be used again.

A conversation is known by the `session_id` that its caller sends, else by a keyed hash of its head: the first system
text and the first user text, of each the first 1,000 characters. What is kept is a model, a provider and a number of
tokens; no text. It lives in the memory of a process, for as long as providers keep a prefix, and losing it costs one
discount.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from routing.selection.guesses import GUESSES

HEAD_CHARACTERS = 1_000
SESSIONS_KEPT = 20_000
KEY_BYTES = 16


class Sticky(msgspec.Struct, frozen=True):
    """Who answered last, and how many tokens the conversation had then."""

    model: str
    provider: str
    prefix_tokens: int
    used_s: float


def session_key(
    secret: bytes, organization: str, session_id: str | None, messages: Iterable[Mapping[str, Any]]
) -> bytes:
    """The conversation of this organization: by its id, or by its head."""
    digest = hashlib.blake2b(key=secret[:64], digest_size=KEY_BYTES)
    parts = ("id", session_id) if session_id else ("head", *_head(messages))
    for part in (organization, *parts):
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()


def _head(messages: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    system = ""
    for message in messages:
        role = message.get("role")
        if role in {"system", "developer"} and not system:
            system = _first_text(message.get("content"))
        elif role == "user":
            return system, _first_text(message.get("content"))
    return system, ""


def _first_text(content: Any) -> str:
    if isinstance(content, str):
        return content[:HEAD_CHARACTERS]
    parts = content if isinstance(content, list) else []
    texts = (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
    return next(texts, "")[:HEAD_CHARACTERS]


class Sessions:
    """Bounded and expiring: the conversations that were used longest ago go first."""

    def __init__(self, size: int = SESSIONS_KEPT, life_s: float = GUESSES.prefix_cache.life_s) -> None:
        self._size = size
        self._life_s = life_s
        self._kept: OrderedDict[bytes, Sticky] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now_s: float) -> Sticky | None:
        """Who answered last, where the provider may still remember it."""
        sticky = self._kept.get(key)
        if sticky is None or now_s - sticky.used_s <= self._life_s:
            return sticky
        del self._kept[key]
        return None

    def note(self, key: bytes, sticky: Sticky) -> None:
        """An answer came; called with a `used_s` that does not go back."""
        self._kept[key] = sticky
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
