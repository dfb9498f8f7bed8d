"""OpenAI's chat completions as this server understands it: requests in, answers and stream frames out.

Parameters that the model cannot follow (tools, penalties, ...) are ignored, as other small servers do; what
would silently change the meaning of a request (`n` above 1, pictures) is refused.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from komilion.common import clock

type FinishReason = Literal["stop", "length"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 500


class RequestError(Exception):
    """The request cannot be served; becomes an error object in OpenAI's shape."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status

    def body(self) -> bytes:
        """The JSON body of the answer."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return orjson.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `role` is one that the model was trained on."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated request. None means that the client left it to the model."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stops: tuple[str, ...]


def parse_chat_request(raw: bytes) -> ChatRequest:
    """Read the body of `POST /v1/chat/completions`. Raises `RequestError` that names the field."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object.")
    if body.get("n") not in {None, 1}:
        raise RequestError("This model gives one choice a request.", param="n")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("`model` must be a text.", param="model")
    options = body.get("stream_options") or {}
    asked = body.get("max_completion_tokens")
    return ChatRequest(
        model=model,
        messages=_messages(body.get("messages")),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=_whole(body.get("max_tokens") if asked is None else asked, "max_tokens", least=1),
        temperature=_number(body.get("temperature"), "temperature", most=2.0),
        top_p=_number(body.get("top_p"), "top_p", most=1.0),
        seed=_whole(body.get("seed"), "seed", least=-(2**63)),
        stops=_stops(body.get("stop")),
    )


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RequestError("`messages` must be a list with at least one message.", param="messages")
    return tuple(_message(entry, f"messages[{index}]") for index, entry in enumerate(value))


def _message(entry: Any, param: str) -> Message:
    role = ROLES.get(str(entry.get("role"))) if isinstance(entry, dict) else None
    if role is None:
        raise RequestError(f"`{param}.role` must be one of {', '.join(ROLES)}.", param=param)
    content = entry.get("content")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise RequestError(f"`{param}.content` may only hold parts of type text.", param=param)
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise RequestError(f"`{param}.content` must be a text or a list of text parts.", param=param)
    return Message(role, content)


def _whole(value: Any, param: str, *, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RequestError(f"`{param}` must be a whole number of at least {least}.", param=param)
    return value


def _number(value: Any, param: str, *, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise RequestError(f"`{param}` must be a number from 0 to {most:g}.", param=param)
    return float(value)


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise RequestError(f"`stop` must be a text or a list of at most {MAX_STOPS} texts.", param="stop")
    if not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
        raise RequestError(f"A stop sequence is a text of 1 to {MAX_STOP_CHARACTERS} characters.", param="stop")
    return tuple(stops)


class Answer:
    """The identity of one answer, and every body or frame that it is sent in."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = clock.unix_s()

    def whole(self, text: str, reason: FinishReason, usage: dict[str, int]) -> bytes:
        """The body of a non-streamed answer."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": reason,
        }
        return orjson.dumps(self._envelope("chat.completion", [choice]) | {"usage": usage})

    def opening(self) -> bytes:
        """The first frame: the role, no text."""
        return self._frame({"role": "assistant", "content": ""}, None)

    def text(self, text: str) -> bytes:
        """A frame with text."""
        return self._frame({"content": text}, None)

    def closing(self, reason: FinishReason) -> bytes:
        """The frame that says why the answer ends."""
        return self._frame({}, reason)

    def usage(self, usage: dict[str, int]) -> bytes:
        """The frame with no choices that `include_usage` asks for."""
        return frame(orjson.dumps(self._envelope("chat.completion.chunk", []) | {"usage": usage}))

    def _frame(self, delta: dict[str, str], reason: FinishReason | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return frame(orjson.dumps(self._envelope("chat.completion.chunk", [choice])))

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


DONE = b"data: [DONE]\n\n"


def frame(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def model_list(ids: list[str]) -> bytes:
    """The body of `GET /v1/models`."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "local"} for name in ids]
    return orjson.dumps({"object": "list", "data": rows})
