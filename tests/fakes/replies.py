"""How the scripted upstream answers one call, as data; and how a model name says the same.

The upstream id of a model is a script: `ok`, or a preset with options: `ok,frames=40,gap=0.01,cut=7,reset`.
Tests in the same process may also name a `Reply` of their own (`Upstream.script`).

    frames=N       content frames, one token each            usage=IN+OUT   what is billed and reported
    gap=S          pause between frames                      seed=N         usage drawn by seed and call id
    wait=S         pause before the head                     overrun=N      bills max_tokens + N, declared so
    first=S        pause between head and first content      report=WHERE   frame missing null every finish
    rechunk=N      pieces of N bytes, 1 = every byte         split=N        pieces of random size, by seed
    spaced         JSON with blanks                          crlf, cr       line endings
    comments       a comment before each frame               nodone         no [DONE]
    cut=N          breaks off after N content frames         cutbyte=N      after N bytes of the body
    cutin=N        in the middle of content frame N          cuthead        before the head
    reset          ... by a TCP reset                        end            ... as if the body were whole
    status=N       an error in OpenAI's words                retry=S        its Retry-After
    error=N        an error frame after N content frames     nostop         goes on billing when left
    role           the role in a frame of its own            words=N        N times the text in each frame
    down=N         503 for the first N calls of this model
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from tests.fakes.journal import Call, Tokens

if TYPE_CHECKING:
    from tests.fakes.exchange import Exchange

WORDS = [
    *("Quantum", "computing", "uses", "quantum", "states", "to", "process", "information", "in", "ways"),
    *("that", "classical", "machines", "cannot"),
]
PROMPT_TOKENS = 25
FRAMES = 12


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where the upstream breaks off; the first that applies. `how` is what the gateway's socket sees."""

    frames: int | None = None  # after so many content frames
    inside: int | None = None  # in the middle of this content frame (1 is the first)
    body_bytes: int | None = None  # after so many bytes of the body
    before_head: bool = False
    how: Literal["close", "reset", "end"] = "close"  # end: a whole HTTP body, but half a stream


@dataclass(frozen=True)
class ToolCall:
    """A function the model calls; streamed, its arguments come in pieces."""

    name: str
    arguments: str
    id: str = "call_abc123"


type ReportWhere = Literal["frame", "missing", "null", "every", "finish"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One way to answer. The defaults are a plain, quick, honest answer of 12 words."""

    # What the model writes.
    frames: int = FRAMES
    words_per_frame: int = 1
    content: str | None = None  # instead of the usual words; cut into `frames` pieces when streamed
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = None  # None: `stop` or `tool_calls`, as it fits
    role_alone: bool = False
    extra: dict[str, Any] = field(default_factory=dict)  # merged into the answer and into each frame

    # What is billed, and what is told about it.
    usage: Tokens | None = None  # None: PROMPT_TOKENS and a token for each content frame
    usage_seed: int | None = None
    overrun: int | None = None
    report: ReportWhere = "frame"
    report_always: bool = False  # also where `stream_options.include_usage` was not asked for
    declared: Callable[[Tokens], Any] | None = None  # what is reported instead of the truth
    bills_when_left: bool = False  # the provider bills the whole answer though the gateway left

    # When.
    before_head_s: float = 0.0
    before_content_s: float = 0.0
    between_frames_s: float = 0.0

    # The bytes of a stream.
    spaced: bool = False
    line_end: str = "\n"
    comments: bool = False
    done: bool = True
    pieces: tuple[int, ...] = ()  # sizes into which the bytes are cut again, over and over
    split_seed: int | None = None  # or: random sizes
    cut: Cut | None = None
    error_after: int | None = None  # an error frame after so many content frames

    # Another answer altogether.
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # sent as it is, with a content-length
    turns: tuple["Reply", ...] = ()  # the calls of this model in turn, the last for all that follow
    act: Callable[["Exchange"], Awaitable[None]] | None = None  # writes whatever bytes it likes


def in_turn(reply: Reply, earlier_calls: int) -> Reply:
    """What the next call of a model gets that was called so often before."""
    return reply.turns[min(earlier_calls, len(reply.turns) - 1)] if reply.turns else reply


def tokens_for(reply: Reply, call: Call, choices: int) -> Tokens:
    """What the whole answer to this call costs."""
    asked = _asked_output(call.body)
    if reply.overrun is not None:
        return Tokens(PROMPT_TOKENS, (asked or FRAMES) + reply.overrun)
    if reply.usage_seed is not None:
        random = Random(f"{reply.usage_seed}:{call.call_id or call.body}")
        prompt_limit = max(1, len(str(call.body)) // 4)
        return Tokens(random.randint(1, prompt_limit), random.randint(1, asked or 1_000))
    return reply.usage or Tokens(PROMPT_TOKENS, reply.frames * choices)


def _asked_output(body: Any) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if isinstance(asked := body.get(name), int):
            return asked
    return None


type Option = Callable[[Reply, str], Reply]


def _cut(reply: Reply, **changes: Any) -> Reply:
    return replace(reply, cut=replace(reply.cut or Cut(), **changes))


def _usage(reply: Reply, value: str) -> Reply:
    prompt, _, completion = value.partition("+")
    return replace(reply, usage=Tokens(int(prompt), int(completion)))


OPTIONS: dict[str, Option] = {
    "frames": lambda reply, value: replace(reply, frames=int(value)),
    "words": lambda reply, value: replace(reply, words_per_frame=int(value)),
    "role": lambda reply, _: replace(reply, role_alone=True),
    "usage": _usage,
    "seed": lambda reply, value: replace(reply, usage_seed=int(value)),
    "overrun": lambda reply, value: replace(reply, overrun=int(value)),
    "report": lambda reply, value: replace(reply, report=value),
    "nostop": lambda reply, _: replace(reply, bills_when_left=True),
    "wait": lambda reply, value: replace(reply, before_head_s=float(value)),
    "first": lambda reply, value: replace(reply, before_content_s=float(value)),
    "gap": lambda reply, value: replace(reply, between_frames_s=float(value)),
    "spaced": lambda reply, _: replace(reply, spaced=True),
    "crlf": lambda reply, _: replace(reply, line_end="\r\n"),
    "cr": lambda reply, _: replace(reply, line_end="\r"),
    "comments": lambda reply, _: replace(reply, comments=True),
    "nodone": lambda reply, _: replace(reply, done=False),
    "rechunk": lambda reply, value: replace(reply, pieces=(int(value),)),
    "split": lambda reply, value: replace(reply, split_seed=int(value)),
    "cut": lambda reply, value: _cut(reply, frames=int(value)),
    "cutin": lambda reply, value: _cut(reply, inside=int(value)),
    "cutbyte": lambda reply, value: _cut(reply, body_bytes=int(value)),
    "cuthead": lambda reply, _: _cut(reply, before_head=True),
    "reset": lambda reply, _: _cut(reply, how="reset"),
    "end": lambda reply, _: _cut(reply, how="end"),
    "error": lambda reply, value: replace(reply, error_after=int(value)),
    "status": lambda reply, value: replace(reply, status=int(value)),
    "down": lambda reply, value: Reply(turns=(*[Reply(status=503)] * int(value), reply)),
    "retry": lambda reply, value: replace(reply, headers={**reply.headers, "Retry-After": value}),
}


def read_script(name: str, scripts: dict[str, Reply]) -> Reply | None:
    """The reply that a model name asks for; None where the name or an option is unknown."""
    if name in scripts:
        return scripts[name]
    preset, *options = name.split(",")
    reply = scripts.get(preset)
    for option in options:
        key, _, value = option.partition("=")
        if reply is None or key not in OPTIONS:
            return None
        reply = OPTIONS[key](reply, value)
    return reply
