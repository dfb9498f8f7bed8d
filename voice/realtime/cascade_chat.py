"""The conversation as a chat: items of a realtime session become messages, its tools those of chats. Pure."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
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
    """Calls of functions are told together with their results, however late these came: a chat takes one only right
    behind the other. A call without its result, a result without its call and a message that nobody heard are left out.
    """
    outputs = {item["call_id"]: item["output"] for item in items if item["type"] == "function_call_output"}
    messages: list[Event] = []
    for kind, group in groupby(items, key=itemgetter("type")):
        if kind == "message":
            messages += (
                {"role": item["role"], "content": _content(item["content"])} for item in group if item["content"]
            )
        elif kind == "function_call" and (calls := [item for item in group if item["call_id"] in outputs]):
            messages.append({"role": "assistant", "content": None, "tool_calls": [_call(item) for item in calls]})
            for item in calls:
                output = outputs[item["call_id"]]
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": output})
    return messages


def _call(item: Event) -> Event:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


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
