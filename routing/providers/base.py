"""What the gateway and a wire dialect say to each other; pure data and one protocol.

A dialect turns a neutral `ChatRequest` into the bytes of one provider's API and that provider's answer back into
OpenAI's chat shape, which is the neutral one here. It does no I/O and knows no tenant, no price and no Django.
Adding one: a module in this folder, a line in `registry.py`, a scripted test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from komilion.common.errors import KomilionError
from komilion.common.usage import Usage


class Wishes(msgspec.Struct, frozen=True):
    """What the caller wants of the choice of a model; for the gateway alone."""

    policy: str | None = None
    task_hint: str | None = None  # a task type
    session_id: str | None = None
    explain: bool = False  # the answer is to carry its receipt


NO_WISHES = Wishes()


class ChatRequest(msgspec.Struct, frozen=True):
    """A validated chat request. `parameters` go upstream as they are; what is ours was taken out of them before."""

    model: str
    messages: list[dict[str, Any]]
    parameters: dict[str, Any]
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    max_output_tokens: int | None = None
    needs: frozenset[str] = frozenset()  # capabilities: tools, vision, json_schema, audio, files
    unknown: dict[str, Any] = msgspec.field(
        default_factory=dict
    )  # dropped, unless the provider passes unknown parameters
    adjusted: tuple[dict[str, Any], ...] = ()  # what was changed or dropped, for `x_komilion.adjusted`
    end_user: str = ""
    tags: tuple[str, ...] = ()
    wishes: Wishes = NO_WISHES
    fallbacks: tuple[str, ...] = ()  # models to try after `model`, in order


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a provider or a model does its own way.

    `refuses`: parameters that it answers with an error, `stream_options` among them. `renames`: what it calls others.
    `efforts`: the values of `reasoning_effort` that it takes, in the order of effort; empty where nobody knows.
    """

    refuses: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    efforts: tuple[str, ...] = ()


NO_QUIRKS = Quirks()


@dataclass(frozen=True, slots=True)
class Target:
    """Where one attempt goes: an offer as a dialect sees it."""

    base_url: str  # without a trailing slash
    api_key: str
    upstream_id: str
    capabilities: frozenset[str]
    pass_unknown: bool = False
    quirks: Quirks = NO_QUIRKS


class UpstreamRequest(msgspec.Struct, frozen=True):
    """The POST to make."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Identity(msgspec.Struct, frozen=True):
    """What the client must see instead of the provider's id and model."""

    request_id: str
    model: str


class UsageReport(msgspec.Struct, frozen=True):
    """Usage as the provider sent it; `usage` is None where it is not integers in 0..2^31 (never to be read as 0)."""

    usage: Usage | None
    raw: Any
    tells_writes_apart: bool = False  # cache writes by how long they last


class ChatAnswer(msgspec.Struct, frozen=True):
    """A whole answer, id and model already the client's. `report` is None where the provider sent no usage."""

    payload: dict[str, Any]
    report: UsageReport | None
    output_bytes: int  # UTF-8 bytes of everything the model wrote: text, reasoning, refusals, tool arguments


class Frames(msgspec.Struct, frozen=True):
    """One or more whole content frames, as bytes for the client; nothing in them needs to be looked at."""

    data: bytes
    count: int  # frames that carry content (a role alone is none)
    output_bytes: int


class Closing(msgspec.Struct, frozen=True):
    """One parsed frame that ends a choice (`finish_reason`), reports usage, or both."""

    chunk: dict[str, Any]
    finished: bool
    report: UsageReport | None
    count: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider sent an error inside the stream."""

    error: KomilionError


@dataclass(frozen=True, slots=True)
class Ended:
    """The provider said that nothing more will come (`[DONE]`)."""


type StreamEvent = Frames | Closing | Failed | Ended


class StreamDecoder(Protocol):
    """Bytes in, events out, for one streamed answer; frames may be cut anywhere between two calls."""

    skipped: int  # events so far that were malformed and left out

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes. Raises `ProviderError` when a line or event is over the size limit."""

    def close(self) -> list[StreamEvent]:
        """Events completed by the end of the stream."""


class Dialect(Protocol):
    """One provider API, e.g. OpenAI's Chat Completions."""

    def chat_request(self, request: ChatRequest, target: Target, max_output_tokens: int | None) -> UpstreamRequest:
        """The call to make; `max_output_tokens` may be lower than asked, None leaves it to the provider."""

    def chat_answer(self, body: bytes, identity: Identity) -> ChatAnswer:
        """Read a whole 200 answer. Raises a `KomilionError` when the body is an error or no answer at all."""

    def usage_at_end(self, tail: bytes) -> UsageReport | None:
        """What a whole answer says it used, by its last bytes alone; None where it is not there."""

    def chat_stream(self, identity: Identity) -> StreamDecoder:
        """A decoder for one streamed answer."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
        """What a non-2xx answer means to our caller; never quotes the provider's credentials or internals."""
