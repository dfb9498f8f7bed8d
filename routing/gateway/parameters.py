"""Every parameter of a chat request, in one table; `parse_chat` reads a request by it.

    neutral   goes to the provider as it came; it does not change what a token costs
    priced    changes price or amount: part of estimate and settlement, or refused until it has a price
    ours      for this gateway; never forwarded
    refused   would reach another tenant's objects, or what the gateway cannot give

A parameter that is in no row is unknown: dropped and named in `adjusted`, unless the operator lets a provider
take unknown ones. An `extension` is a neutral one outside OpenAI's own API: checked, then treated like an
unknown one, because OpenAI refuses what it does not know. Null and an empty list mean "not given", as clients
send them. Protocol: OpenAI's API reference, POST /chat/completions; OpenRouter's and LiteLLM's additions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from komilion.common.errors import BadRequest
from routing.gateway.checks import (
    Check,
    anything,
    array,
    boolean,
    integer,
    mapping,
    number,
    one_of,
    refusal,
    text,
    wrong,
)
from routing.gateway.choice.wishes import check_task_hint, check_x_komilion, read_wishes
from routing.gateway.fallbacks import check_fallbacks, check_model, check_models, models_of
from routing.gateway.messages import check_messages
from routing.gateway.structures import (
    check_function_call,
    check_functions,
    check_logit_bias,
    check_metadata,
    check_modalities,
    check_prediction,
    check_provider_preferences,
    check_response_format,
    check_service_tier,
    check_stop,
    check_stream_options,
    check_tool_choice,
    check_tools,
)
from routing.providers.base import ChatRequest
from routing.selection.words import POLICIES, virtual_named

END_USER_CHARACTERS = 512
TAG_CHARACTERS = 128
TAGS_MOST = 32
SESSION_ID_CHARACTERS = 256
CHOICES_MOST = 8
OUTPUT_TOKENS_MOST = 2**31 - 1
ROUTE = "fallback"
NAMES_SHOWN_MOST = 64
NAME_CHARACTERS = 64
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")  # each more than the one before


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row: what kind it is, how a value is checked, and what then happens to it.

    `then`: "forward" to the provider; "extend", as an extension; "read" here, to be a part of `ChatRequest`;
    "drop" and name it in `adjusted`. `need`: the capability that it asks of a model. `unless_lacking`: the
    capability without which an offer gets the request without this parameter. `unless`: that with which it does.
    """

    kind: Literal["neutral", "priced", "ours", "refused"]
    check: Check
    then: Literal["forward", "extend", "read", "drop"]
    need: str = ""
    unless_lacking: str = ""
    unless: str = ""


def _neutral(check: Check, *, need: str = "", unless_lacking: str = "") -> Parameter:
    return Parameter("neutral", check, "forward", need, unless_lacking)


def _sampling(check: Check) -> Parameter:
    return Parameter("neutral", check, "forward", unless="no_sampling")


def _extension(check: Check) -> Parameter:
    return Parameter("neutral", check, "extend")


def _ours(check: Check) -> Parameter:
    return Parameter("ours", check, "read")


def _ignored(check: Check = anything) -> Parameter:
    return Parameter("ours", check, "drop")


def _refused(why: str, *, unless: Any = None) -> Parameter:
    return Parameter("refused", refusal(why, unless=unless), "read")


def _unpriced(what: str) -> Parameter:
    return Parameter("priced", refusal(f"{what} has no price here yet"), "read")


_output_tokens = integer(1, OUTPUT_TOKENS_MOST)
_penalty = number(-2, 2)
_share = number(0, 1)
_end_user = text(END_USER_CHARACTERS)
_tag = text(TAG_CHARACTERS)
_KEPT_THERE = "it names an object kept at a provider"

TABLE: dict[str, Parameter] = {
    # The request itself.
    "model": _ours(check_model),
    "messages": _ours(array),  # checked turn by turn in `messages`
    "stream": _ours(boolean),
    "stream_options": _ours(check_stream_options),
    # Amounts and prices.
    "max_tokens": Parameter("priced", _output_tokens, "read"),
    "max_completion_tokens": Parameter("priced", _output_tokens, "read"),
    "n": Parameter("priced", integer(1, CHOICES_MOST), "read"),
    "service_tier": Parameter("priced", check_service_tier, "read"),  # what passes is what we do anyway
    "prediction": Parameter("priced", check_prediction, "forward"),  # rejected tokens are in the reported output
    "prompt_cache_options": Parameter("priced", mapping, "forward"),  # writes are in the reported usage
    "web_search_options": _unpriced("web search"),
    "audio": _unpriced("audio output"),
    "moderation": _unpriced("moderation"),
    "plugins": _unpriced("a plugin"),
    "modalities": Parameter("priced", check_modalities, "read"),  # text only, which needs no saying
    # Sampling.
    "temperature": _sampling(number(0, 2)),
    "top_p": _sampling(_share),
    "frequency_penalty": _sampling(_penalty),
    "presence_penalty": _sampling(_penalty),
    "logit_bias": _sampling(check_logit_bias),
    "logprobs": _sampling(boolean),
    "top_logprobs": _sampling(integer(0, 20)),
    "seed": _neutral(integer(-(2**63), 2**63 - 1)),
    "stop": _neutral(check_stop),
    # Output.
    "response_format": _neutral(check_response_format),  # its need depends on its type
    "reasoning_effort": _neutral(one_of(*EFFORTS), unless_lacking="reasoning"),
    "verbosity": _neutral(one_of("low", "medium", "high")),
    # Tools.
    "tools": _neutral(check_tools, need="tools"),
    "tool_choice": _neutral(check_tool_choice),
    "parallel_tool_calls": _neutral(boolean),
    "functions": _neutral(check_functions, need="tools"),
    "function_call": _neutral(check_function_call),
    # Whom and what for.
    "user": _neutral(_end_user),
    "safety_identifier": _neutral(_end_user),
    "prompt_cache_key": _neutral(text(1_024)),
    "prompt_cache_retention": _neutral(one_of("in_memory", "in-memory", "24h")),
    "metadata": _ours(check_metadata),  # OpenAI takes it with `store` only
    "tags": _ours(array),
    # Outside OpenAI's API, known to many who copied it.
    "top_k": _extension(integer(0, 1_000_000)),
    "min_p": _extension(_share),
    "top_a": _extension(_share),
    "repetition_penalty": _extension(number(0, 2)),
    "reasoning": _extension(mapping),
    "include_reasoning": _extension(boolean),
    # Objects at a provider.
    "store": _refused("answers are not stored at a provider", unless=False),
    "previous_response_id": _refused(_KEPT_THERE),
    "conversation": _refused(_KEPT_THERE),
    # The choice of a model.
    "policy": _ours(one_of(*POLICIES)),
    "taskHint": _ours(check_task_hint),
    "task_hint": _ours(check_task_hint),
    "session_id": _ours(text(SESSION_ID_CHARACTERS)),
    "x_komilion": _ours(check_x_komilion),
    # For a gateway; what this one does not do yet is dropped and named.
    "models": _ours(check_models),
    "fallbacks": _ours(check_fallbacks),
    "route": _ours(anything),  # "fallback" is what happens with `models`
    "provider": _ignored(check_provider_preferences),  # refused where ignoring it would break a promise
    "transforms": _ignored(),
    "usage": _ours(anything),  # OpenRouter's {"include": true}: always included
    "litellm_metadata": _ignored(),
    "litellm_session_id": _ignored(),
    "litellm_trace_id": _ignored(),
    "guardrails": _ignored(),
    "context_window_fallbacks": _ignored(),
    "num_retries": _ignored(),
    "timeout": _ignored(),
    "stream_timeout": _ignored(),
    "cache": _ignored(),
    "drop_params": _ignored(),
    "allowed_openai_params": _ignored(),
    "mock_response": _ignored(),
    "custom_llm_provider": _ignored(),
    "api_key": _ignored(),
    "api_base": _ignored(),
    "base_url": _ignored(),
    "api_version": _ignored(),
}


@dataclass(frozen=True, slots=True)
class Extras:
    """What headers add to a body, as they came: `x-litellm-customer-id`, and `x-litellm-tags` with commas."""

    end_user: str = ""
    tags: str = ""


NO_EXTRAS = Extras()


def parse_chat(body: dict[str, Any], extras: Extras = NO_EXTRAS) -> ChatRequest:
    """The request that a JSON body makes. Raises `BadRequest`; its `param` is the path of the field at fault."""
    forwarded: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    read: dict[str, Any] = {}
    dropped: list[str] = []
    needs: set[str] = set()
    for name, value in body.items():
        if value is None or value == []:
            continue
        row = TABLE.get(name)
        if row is None:
            unknown[name] = value
            dropped.append(name)
            continue
        row.check(value, name)
        if row.then == "forward":
            forwarded[name] = value
            if row.need:
                needs.add(row.need)
        elif row.then == "read":
            read[name] = value
        else:
            if row.then == "extend":
                unknown[name] = value
            dropped.append(name)
    model, fallbacks = models_of(read)
    model = virtual_named(model) or model
    if read.get("route", ROUTE) != ROUTE:
        dropped.append("route")
    messages = read.get("messages")
    check_messages(messages if messages is not None else body.get("messages"), needs)
    include_usage = _include_usage(read, forwarded)
    all_needs = _needs(forwarded, needs, dropped)
    tags = _tags_of(read, extras, dropped)
    wishes = read_wishes(model, read, dropped)
    return ChatRequest(
        model=model,
        messages=read["messages"],
        parameters=forwarded,
        stream=read.get("stream", False),
        include_usage=include_usage,
        choices=read.get("n", 1),
        max_output_tokens=_max_output_tokens(read),
        needs=all_needs,
        unknown=unknown,
        adjusted=named(dropped),
        end_user=_end_user_of(forwarded, extras),
        tags=tags,
        wishes=wishes,
        fallbacks=fallbacks,
    )


def _include_usage(read: dict[str, Any], forwarded: dict[str, Any]) -> bool:
    """Whether the client wants the usage chunk; the other stream options travel on."""
    if "stream_options" not in read:
        return False
    if not read.get("stream"):
        raise BadRequest("`stream_options` is only allowed with `stream`.", param="stream_options")
    options = {name: value for name, value in read["stream_options"].items() if value is not None}
    wants_usage = options.pop("include_usage", False) is True
    if options:
        forwarded["stream_options"] = options
    return wants_usage


def _max_output_tokens(read: dict[str, Any]) -> int | None:
    """The bound under its old or its new name."""
    old: int | None = read.get("max_tokens")
    new: int | None = read.get("max_completion_tokens")
    if old is not None and new is not None and old != new:
        raise BadRequest(
            "`max_tokens` and `max_completion_tokens` are two names for one thing and differ.",
            param="max_completion_tokens",
        )
    return old if new is None else new


_CHOICES = (("tool_choice", "tools"), ("parallel_tool_calls", "tools"), ("function_call", "functions"))


def _needs(forwarded: dict[str, Any], needs: set[str], dropped: list[str]) -> frozenset[str]:
    """The capabilities asked for; a choice among no tools is dropped, or refused if it insists."""
    for choice, tools in _CHOICES:
        if choice in forwarded and tools not in forwarded:
            if forwarded[choice] not in ("auto", "none", True, False):
                raise BadRequest(f"`{choice}` is only allowed with `{tools}`.", param=choice)
            del forwarded[choice]
            dropped.append(choice)
    if "response_format" in forwarded and forwarded["response_format"]["type"] == "json_schema":
        needs.add("json_schema")
    return frozenset(needs)


def _end_user_of(forwarded: dict[str, Any], extras: Extras) -> str:
    """The caller's own user: the header's, made for gateways, before the body's."""
    if extras.end_user:
        _end_user(extras.end_user, "x-litellm-customer-id")
        return extras.end_user
    end_user: str = forwarded.get("user") or forwarded.get("safety_identifier") or ""
    return end_user


def _tags_of(read: dict[str, Any], extras: Extras, dropped: list[str]) -> tuple[str, ...]:
    """Tags of header, `metadata.tags` and `tags`, each once; the rest of `metadata` is not kept."""
    metadata = read.get("metadata")
    if not extras.tags and metadata is None and "tags" not in read:
        return ()
    tags: dict[str, None] = {}
    _collect(tags, extras.tags, "x-litellm-tags")
    if metadata is not None:
        _collect(tags, metadata.get("tags") or "", "metadata.tags")
        if len(metadata) > ("tags" in metadata):
            dropped.append("metadata")
    _collect(tags, read.get("tags", ""), "tags")
    return tuple(tags)


def _collect(tags: dict[str, None], given: str | list[Any], name: str) -> None:
    """Add the tags of a list or a comma-separated text."""
    found = (tag for tag in map(str.strip, given.split(",")) if tag) if type(given) is str else given
    for tag in found:
        _tag(tag, name)
        tags[tag] = None
    if len(tags) > TAGS_MOST:
        raise wrong(name, f"at most {TAGS_MOST} tags")


def shown(name: str) -> str:
    """A parameter's name fit for an answer and a log."""
    return name if len(name) <= NAME_CHARACTERS and name.isprintable() else ascii(name)[1:-1][:NAME_CHARACTERS]


def named(names: Iterable[str]) -> tuple[dict[str, Any], ...]:
    """Entries of `adjusted` for dropped parameters; a flood of them is cut."""
    return tuple({"param": shown(name), "action": "dropped"} for name in list(names)[:NAMES_SHOWN_MOST])
