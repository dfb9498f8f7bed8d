"""Chat bodies as clients send them, parsed or refused, for the tests of the parser."""

from typing import Any

import pytest

from komilion.common.errors import BadRequest
from routing.gateway.parameters import Extras, parse_chat
from routing.providers.base import ChatRequest

HELLO = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}, "strict": True}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}


def parse(extras: Extras | None = None, **more: Any) -> ChatRequest:
    """The request that this body is; model and messages have defaults."""
    body = {"model": "up/ok", "messages": HELLO, **more}
    return parse_chat(body) if extras is None else parse_chat(body, extras)


def refused_param(**more: Any) -> str | None:
    """The field that this body is refused for; the message names it too."""
    with pytest.raises(BadRequest) as refused:
        parse(**more)
    assert refused.value.param is None or refused.value.param.split("[")[0].split(".")[0] in refused.value.message
    return refused.value.param


def dropped(request: ChatRequest) -> list[str]:
    """The parameters that were dropped, as the caller is told."""
    assert all(entry["action"] == "dropped" for entry in request.adjusted)
    return [entry["param"] for entry in request.adjusted]
