"""OpenAI's Chat Completions dialect, for OpenAI and for everybody who copied it.

Vendors differ in data, not in code: a capability of the offer says which field bounds the output, errors
and usage are read in every shape the vendors use (`failures`, `usage`). Protocol: OpenAI's API reference,
POST /chat/completions.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from komilion.common.errors import KomilionError, ProviderError
from routing.providers.base import (
    ChatAnswer,
    ChatRequest,
    Identity,
    StreamDecoder,
    Target,
    UpstreamRequest,
    UsageReport,
)
from routing.providers.failures import failure_of
from routing.providers.openai_stream import ChatStream, failure_within, parse, settle_finishes
from routing.providers.sse import EVENT_LIMIT_BYTES
from routing.providers.usage import read_usage, usage_at_end

WRITTEN_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")
PART_FIELDS = ("text", "thinking")
CALL_FIELDS = ("name", "arguments", "input")


class OpenAICompatible:
    """The `Dialect` of OpenAI-shaped providers."""

    def __init__(self, event_limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._event_limit_bytes = event_limit_bytes

    def chat_request(self, request: ChatRequest, target: Target, max_output_tokens: int | None) -> UpstreamRequest:
        """The call to make, its body written anew; `max_output_tokens` bounds the output of each choice."""
        body: dict[str, Any] = dict(request.unknown) if target.pass_unknown else {}
        body |= request.parameters  # after the unknown ones, which may not overrule what was checked
        body["model"] = target.upstream_id
        body["messages"] = request.messages
        if max_output_tokens is not None:
            # OpenAI's reasoning models refuse the old name, most other vendors do not know the new one.
            new_name = "max_completion_tokens" in target.capabilities
            body["max_completion_tokens" if new_name else "max_tokens"] = max_output_tokens
        if request.choices > 1:
            body["n"] = request.choices
        if request.stream:
            body["stream"] = True
            if "stream_options" not in target.quirks.refuses:  # who refuses it sends usage unasked
                body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if request.stream else "application/json",
            "Accept-Encoding": "identity",
        }
        if target.api_key:
            headers["Authorization"] = "Bearer " + target.api_key
        return UpstreamRequest(target.base_url + "/chat/completions", headers, orjson.dumps(body))

    def chat_answer(self, body: bytes, identity: Identity) -> ChatAnswer:
        """Read a whole 200 answer; every field but id and model stays as it came.

        Raises what an error in the body means, and `ProviderError` for what is no completion at all.
        """
        payload = parse(body)
        failure = failure_within(payload)
        if failure is not None:
            raise failure
        if type(payload) is not dict:
            raise ProviderError("The provider's answer could not be read.")
        choices = payload.get("choices")
        if type(choices) is not list or not choices or type(choices[0]) is not dict:
            raise ProviderError("The provider's answer holds no choices.")
        settle_finishes(choices)
        payload["id"] = identity.request_id
        payload["model"] = identity.model
        return ChatAnswer(payload, read_usage(payload.get("usage")), _written_bytes(choices))

    def usage_at_end(self, tail: bytes) -> UsageReport | None:
        """What a whole answer says it used, by its last bytes alone; None where it is not there."""
        return usage_at_end(tail)

    def chat_stream(self, identity: Identity) -> StreamDecoder:
        """A decoder for one streamed answer."""
        return ChatStream(identity, self._event_limit_bytes)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
        """What a non-2xx answer means to our caller (the table in `failures`)."""
        return failure_of(status, headers, body)


def _size(text: object) -> int:
    """UTF-8 bytes of a text, or of the texts in a list of parts; 0 for anything else."""
    if type(text) is str:
        return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    if type(text) is list:
        return sum(_size(part.get(field)) for part in text if type(part) is dict for field in PART_FIELDS)
    return 0


def _written_bytes(choices: list[Any]) -> int:
    """UTF-8 bytes of all that the model wrote, over all choices."""
    size = 0
    for choice in choices:
        if type(choice) is not dict:
            continue
        message = choice.get("message")
        if type(message) is not dict:
            size += _size(choice.get("text"))  # an old completion's
            continue
        for field in WRITTEN_FIELDS:
            size += _size(message.get(field))
        calls = message.get("tool_calls")
        for call in calls if type(calls) is list else ():
            if type(call) is dict:
                for function in (call.get("function"), call.get("custom")):
                    size += _call_size(function)
        size += _call_size(message.get("function_call"))
    return size


def _call_size(function: object) -> int:
    """UTF-8 bytes of a call's name and arguments."""
    return sum(_size(function.get(field)) for field in CALL_FIELDS) if type(function) is dict else 0
