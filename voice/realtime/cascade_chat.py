"""The conversation as a chat: items of a realtime session become messages, its tools those of chats. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from komilion.common.errors import BadRequest

type Event = dict[str, Any]

SPOKEN = (
    "You are speaking with somebody. Answer in short, plain sentences that sound natural when they are spoken:"
    " no lists, no markup, no emoji."
)


def chat_of(model: str, config: Mapping[str, Any], items: Iterable[Event], *, is_spoken: bool) -> Event:
    """The body of a chat completion that answers a conversation. `config` is the session's, with the wishes of one
    response over it.
    """
    instructions = "\n\n".join(filter(None, [config.get("instructions"), SPOKEN if is_spoken else ""]))
    messages = [{"role": "system", "content": instructions}] if instructions else []
    body: Event = {"model": model, "messages": [*messages, *messages_of(list(items))]}
    body["stream_options"] = {"include_usage": True}
    if tools := config.get("tools"):
        body["tools"] = [_tool(tool) for tool in tools]
        body["tool_choice"] = _choice(config.get("tool_choice", "auto"))
        if "parallel_tool_calls" in config:
            body["parallel_tool_calls"] = config["parallel_tool_calls"]
    most = config.get("max_output_tokens", "inf")
    if most != "inf":
        body["max_tokens"] = most
    return body


def items_of(wished: Iterable[Event], known: Mapping[str, Event]) -> list[Event]:
    """The `input` of a response: items, and references to those of the conversation. Raises `BadRequest`."""
    items = []
    for item in wished:
        if item["type"] != "item_reference":
            items.append(item)
        elif item["id"] in known:
            items.append(known[item["id"]])
        else:
            raise BadRequest(f"There is no item {item['id'][:80]!r}.", param="response.input")
        if any("text" not in part and part["type"] != "input_image" for part in items[-1].get("content") or []):
            raise BadRequest("Audio is taken by `input_audio_buffer.append` alone.", param="response.input")
    return items


def messages_of(items: list[Event]) -> list[Event]:
    """Calls of functions are told with their results; one without the other would be refused."""
    outputs = {item["call_id"] for item in items if item["type"] == "function_call_output"}
    called: set[str] = set()
    messages: list[Event] = []
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": _content(item["content"])})
        elif item["type"] == "function_call" and item["call_id"] in outputs:
            called.add(item["call_id"])
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            if messages and messages[-1].get("tool_calls"):
                messages[-1]["tool_calls"].append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif item["type"] == "function_call_output" and item["call_id"] in called:
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
    return messages


def _content(parts: list[Event]) -> Any:
    if all(part["type"] != "input_image" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return [_part(part) for part in parts]


def _part(part: Event) -> Event:
    if part["type"] != "input_image":
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part.get("detail", "auto")}}


def _tool(tool: Event) -> Event:
    function = {name: tool[name] for name in ("name", "description", "parameters") if name in tool}
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice
