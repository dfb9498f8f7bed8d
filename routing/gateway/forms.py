"""The forms in which a chat request may come and is answered: how its JSON is read, and what its answer looks like.

Streams exist in the first form only; everything between reading and answering is the same for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from komilion.common.errors import BadRequest
from routing.gateway.parameters import Extras, parse_chat
from routing.providers.base import ChatRequest

FLAT_FIELDS = (  # that mean what they mean in the first form
    *("model", "temperature", "max_tokens"),
    *("policy", "taskHint", "task_hint", "session_id", "x_komilion"),
)
FLAT_READ = frozenset({*FLAT_FIELDS, "message", "messages", "system", "stream"})


@dataclass(frozen=True, slots=True)
class Form:
    """One form. `render` takes OpenAI's answer with the bill in it; both may change what they are given."""

    endpoint: str  # as the usage row names it
    parse: Callable[[dict[str, Any], Extras], ChatRequest]
    render: Callable[[dict[str, Any]], dict[str, Any]]


def parse_flat(body: dict[str, Any], extras: Extras) -> ChatRequest:
    """`message` or `messages`, `model`, `system`, `temperature`, `max_tokens`. Raises `BadRequest`."""
    if body.get("stream"):
        raise BadRequest("This endpoint does not stream; use /api/chat/completions.", param="stream")
    chat = {name: body[name] for name in FLAT_FIELDS if name in body}
    chat["messages"] = [*_system(body.get("system")), *_messages(body)]
    dropped = tuple({"param": name, "action": "dropped"} for name in body if name not in FLAT_READ)
    parsed = parse_chat(chat, extras)
    return replace(parsed, adjusted=parsed.adjusted + dropped)


def _system(system: Any) -> list[dict[str, Any]]:
    if system is None:
        return []
    if not isinstance(system, str):
        raise BadRequest("system must be a string.", param="system")
    return [{"role": "system", "content": system}]


def _messages(body: dict[str, Any]) -> list[Any]:
    message, messages = body.get("message"), body.get("messages")
    if (message is None) == (messages is None):
        raise BadRequest("Send either message or messages.", param="message")
    if messages is not None:
        if not isinstance(messages, list) or not messages:
            raise BadRequest("messages must be a list of at least one message.", param="messages")
        return messages
    if not isinstance(message, str):
        raise BadRequest("message must be a string.", param="message")
    return [{"role": "user", "content": message}]


def render_flat(payload: dict[str, Any]) -> dict[str, Any]:
    """The text of the first choice, who wrote it and what it cost."""
    note, usage = payload["x_komilion"], payload["usage"]
    message = payload["choices"][0]["message"]
    del usage["cost"], usage["cost_nano_usd"]  # it stands beside
    flat = {
        "reply": message.get("content") or message.get("refusal") or "",
        "model": note["model"],
        "provider": note["provider"],
        "cost": note["cost_usd"],
        "cost_nano_usd": note["cost_nano_usd"],
        "usage": usage,
        "id": payload["id"],
    }
    if note["adjusted"]:
        flat["adjusted"] = note["adjusted"]
    if "receipt" in note:
        flat["receipt"] = note["receipt"]
    return flat


OPENAI = Form("chat.completions", parse_chat, lambda payload: payload)
FLAT = Form("chat", parse_flat, render_flat)
CHATS = (OPENAI.endpoint, FLAT.endpoint)  # as usage rows name them; a comparison of models is no chat
