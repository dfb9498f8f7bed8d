"""Every chat parameter: what passes, what is refused and how the field is named, what leaves and what does not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common.errors import BadRequest
from routing.gateway.parameters import TABLE, Extras, parse_chat
from routing.providers.base import ChatRequest
from tests.routing.parsing import HELLO, TOOL, dropped, parse, refused_param


def test_the_usual_request() -> None:
    request = parse(max_tokens=500, temperature=0.7, stream=True)

    assert request == ChatRequest("up/ok", HELLO, {"temperature": 0.7}, stream=True, max_output_tokens=500)


def test_nulls_and_empty_lists_are_not_given() -> None:
    assert parse(**dict.fromkeys(set(TABLE) - {"model", "messages"})) == parse()
    assert parse(tools=[], stop=[], functions=[], modalities=[], models=[], odd=[], other=None) == parse()


FORWARDED = {
    "temperature": [0, 2, 0.5],
    "top_p": [0, 1, 0.5],
    "frequency_penalty": [-2, 2],
    "presence_penalty": [-2.0, 1.5],
    "logit_bias": [{"50256": -100, "7": 3.5}, {}],
    "logprobs": [True, False],
    "top_logprobs": [0, 20],
    "seed": [-(2**63), 2**63 - 1],
    "stop": ["x", "", ["a", "b", "c", "d"]],
    "response_format": [{"type": "text"}, {"type": "json_object"}],
    "reasoning_effort": ["none", "xhigh"],
    "verbosity": ["low"],
    "user": ["alice", "é" * 512],
    "safety_identifier": ["abc"],
    "prompt_cache_key": ["k"],
    "prompt_cache_retention": ["24h"],
    "prompt_cache_options": [{"mode": "explicit"}],
    "prediction": [
        {"type": "content", "content": "x"},
        {"type": "content", "content": [{"type": "text", "text": "x"}]},
    ],
}
REFUSED_VALUES: dict[str, list[tuple[Any, str]]] = {
    "model": [
        ("", "model"),
        ("a" * 201, "model"),
        ("a\x00b", "model"),
        (7, "model"),
        ("a\x85", "model"),
        ([], "model"),
    ],
    "messages": [("x", "messages"), ({}, "messages"), ([], "messages"), (None, "messages")],
    "temperature": [(-0.1, "temperature"), (2.1, "temperature"), (True, "temperature"), ("1", "temperature")],
    "top_p": [(1.5, "top_p")],
    "frequency_penalty": [(3, "frequency_penalty")],
    "presence_penalty": [(-2.5, "presence_penalty")],
    "n": [(0, "n"), (9, "n"), (True, "n"), (1.0, "n")],
    "max_tokens": [(0, "max_tokens"), (-1, "max_tokens"), (1.5, "max_tokens"), (2**31, "max_tokens")],
    "max_completion_tokens": [(-1, "max_completion_tokens"), ("5", "max_completion_tokens")],
    "stream": [(1, "stream"), ("true", "stream")],
    "stream_options": [
        ({"include_usage": True}, "stream_options"),
        ({"x": 1}, "stream_options"),
        ({"include_usage": 1}, "stream_options.include_usage"),
        (True, "stream_options"),
    ],
    "logit_bias": [
        ([1], "logit_bias"),
        ({"a": 1}, "logit_bias"),
        ({"1": 101}, "logit_bias.1"),
        ({str(i): 1 for i in range(1_025)}, "logit_bias"),
    ],
    "logprobs": [(1, "logprobs")],
    "top_logprobs": [(21, "top_logprobs")],
    "seed": [(2**63, "seed"), (1.0, "seed")],
    "stop": [(["a"] * 5, "stop"), (["a", 1], "stop[1]"), (5, "stop")],
    "response_format": [
        ("json", "response_format"),
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": 1}}, "response_format.json_schema.schema"),
    ],
    "reasoning_effort": [("huge", "reasoning_effort"), (1, "reasoning_effort")],
    "verbosity": [("loud", "verbosity")],
    "tools": [
        ({}, "tools"),
        ([TOOL] * 129, "tools"),
        (["x"], "tools[0]"),
        ([TOOL, {"type": "web"}], "tools[1].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"type": "function", "function": {"name": "a b"}}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": "a" * 65}}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": "a", "strict": 1}}], "tools[0].function.strict"),
        ([{"type": "custom", "custom": {}}], "tools[0].custom.name"),
    ],
    "tool_choice": [
        ("any", "tool_choice"),
        (5, "tool_choice"),
        ({"type": "x"}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function", "function": {}}, "tool_choice.function.name"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "x"}}, "tool_choice.allowed_tools.mode"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}, "tool_choice.allowed_tools.tools"),
        ("required", "tool_choice"),
        ({"type": "function", "function": {"name": "x"}}, "tool_choice"),
    ],
    "parallel_tool_calls": [("yes", "parallel_tool_calls")],
    "functions": [({}, "functions"), ([{}], "functions[0].name"), ([{"name": "a"}] * 129, "functions")],
    "function_call": [
        ("all", "function_call"),
        ({"name": ""}, "function_call.name"),
        ({"name": "x"}, "function_call"),
        (1, "function_call"),
    ],
    "user": [("x" * 513, "user"), ("a\x00", "user"), (5, "user"), ("", "user")],
    "metadata": [
        ("x", "metadata"),
        ({"a": 1}, "metadata.a"),
        ({"a": "x" * 513}, "metadata.a"),
        ({"x" * 65: "a"}, "metadata"),
        ({str(i): "a" for i in range(17)}, "metadata"),
        ({"tags": {"a": 1}}, "metadata.tags"),
        ({"tags": ["a", 1]}, "metadata.tags"),
        ({"tags": ["x" * 129]}, "metadata.tags"),
        ({"tags": ",".join(map(str, range(33)))}, "metadata.tags"),
    ],
    "tags": [("a", "tags"), ([""], "tags")],
    "service_tier": [("flex", "service_tier"), (1, "service_tier")],
    "web_search_options": [({}, "web_search_options")],
    "audio": [({"voice": "x"}, "audio")],
    "moderation": [({"model": "x"}, "moderation")],
    "plugins": [([{"id": "web"}], "plugins")],
    "modalities": [(["text", "audio"], "modalities"), ("text", "modalities"), ([1], "modalities")],
    "prediction": [
        ("x", "prediction"),
        ({}, "prediction.type"),
        ({"type": "content"}, "prediction.content"),
        ({"type": "content", "content": [{"type": "text"}]}, "prediction.content[0].text"),
    ],
    "store": [(True, "store")],
    "previous_response_id": [("resp_1", "previous_response_id")],
    "conversation": [("conv_1", "conversation")],
    "provider": [
        ({"data_collection": "deny"}, "provider.data_collection"),
        ({"zdr": True}, "provider.zdr"),
        ({"only": ["x"]}, "provider.only"),
        ("x", "provider"),
    ],
    "top_k": [(-1, "top_k")],
    "min_p": [(2, "min_p")],
    "repetition_penalty": [("1", "repetition_penalty")],
    "models": [
        ("a/b", "models"),
        (["a/b", 5], "models[1]"),
        (["a/b", ""], "models[1]"),
        (["a" * 201], "models[0]"),
        (["a/b"] * 9, "models"),
    ],
    "fallbacks": [
        ("a/b", "fallbacks"),
        ([5], "fallbacks[0]"),
        (["a/b"] * 9, "fallbacks"),
        ([{}], "fallbacks[0]"),
        ([{"model": "a/b", "temperature": 1}], "fallbacks[0]"),
        ([{"model": 5}], "fallbacks[0].model"),
        ([{"a/b": "c/d"}], "fallbacks[0].a/b"),
        ([{"a/b": [5]}], "fallbacks[0].a/b[0]"),
    ],
    "policy": [(1, "policy"), ("cheap", "policy"), ("neo-mode/frugal", "policy")],
    "taskHint": [(1, "taskHint"), ("juggling", "taskHint"), ("", "taskHint"), ("x" * 65, "taskHint")],
    "task_hint": [("juggling", "task_hint")],
    "session_id": [(7, "session_id"), ("x" * 257, "session_id"), ("a\x00", "session_id")],
    "x_komilion": [("x", "x_komilion"), ({"explain": 1}, "x_komilion.explain")],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in FORWARDED.items() for v in values], ids=repr)
def test_neutral_parameters_are_forwarded_as_they_came(name: str, value: Any) -> None:
    request = parse(**{name: value})

    assert request.parameters == {name: value}
    assert request.adjusted == ()


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [(n, v, p) for n, values in REFUSED_VALUES.items() for v, p in values],
    ids=lambda value: repr(value)[:40],
)
def test_wrong_values_are_refused_by_the_name_of_the_field(name: str, value: Any, param: str) -> None:
    assert refused_param(**{name: value}) == param


def test_every_parameter_has_a_test() -> None:
    ignored = {name for name, row in TABLE.items() if row.then == "drop"}
    tested = (
        FORWARDED.keys()
        | REFUSED_VALUES.keys()
        | ignored
        | {"top_a", "reasoning", "include_reasoning", "usage", "route"}
    )

    assert tested == TABLE.keys()


def test_a_model_and_messages_are_required() -> None:
    for body, param in (({"messages": HELLO}, "model"), ({"model": "x"}, "messages"), ({}, "model")):
        with pytest.raises(BadRequest) as refused:
            parse_chat(body)
        assert refused.value.param == param


def test_the_output_bound_has_two_names() -> None:
    assert parse(max_completion_tokens=5).max_output_tokens == 5
    assert parse(max_completion_tokens=5, max_tokens=5).max_output_tokens == 5
    assert parse(max_tokens=5).parameters == {}
    assert parse().max_output_tokens is None
    assert refused_param(max_completion_tokens=5, max_tokens=6) == "max_completion_tokens"


def test_what_is_ours_or_says_nothing_new_does_not_leave() -> None:
    request = parse(
        n=2,
        service_tier="auto",
        modalities=["text"],
        store=False,
        usage={"include": True},
        metadata={"tags": "a"},
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": None},
    )

    assert request.parameters == {}
    assert request.adjusted == ()
    assert request.choices == 2
    assert request.include_usage


def test_other_stream_options_travel_on() -> None:
    request = parse(stream=True, stream_options={"include_obfuscation": False})

    assert request.parameters == {"stream_options": {"include_obfuscation": False}}
    assert not request.include_usage


def test_what_this_gateway_does_not_do_is_dropped_and_named() -> None:
    given = {
        "route": "sort",
        "provider": {"order": ["x"], "sort": "price", "allow_fallbacks": True, "only": [], "zdr": False},
        "policy": "frugal",
        "api_key": "sk-secret",
        "metadata": {"trace": "x"},
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "function_call": "none",
    }

    request = parse(**given)

    assert sorted(dropped(request)) == sorted(given)
    assert (request.parameters, request.unknown) == ({}, {})
    assert "sk-secret" not in repr(request)


@pytest.mark.parametrize(
    ("given", "model", "fallbacks"),
    [
        ({"model": "a/b", "models": ["c/d", "e/f"], "route": "fallback"}, "a/b", ("c/d", "e/f")),
        ({"models": ["a/b", "c/d"]}, "a/b", ("c/d",)),
        ({"model": "a/b", "models": ["a/b", "c/d", "c/d"]}, "a/b", ("c/d",)),
        ({"models": ["a/b"]}, "a/b", ()),
        ({"model": "a/b", "models": []}, "a/b", ()),
        ({"model": "a/b", "fallbacks": ["c/d", {"model": "e/f"}]}, "a/b", ("c/d", "e/f")),
        ({"model": "a/b", "fallbacks": [{"a/b": ["c/d"]}, {"x/y": ["e/f"]}, {"*": ["g/h"]}]}, "a/b", ("c/d", "g/h")),
        ({"model": "a/b", "fallbacks": [{"*": list("cdefgh")}, {"a/b": list("ijklmn")}]}, "a/b", tuple("cdefghij")),
    ],
    ids=str,
)
def test_fallbacks_in_every_form(given: dict[str, Any], model: str, fallbacks: tuple[str, ...]) -> None:
    request = parse_chat({"messages": HELLO, **given})

    assert (request.model, request.fallbacks) == (model, fallbacks)
    assert request.adjusted == ()
    assert request.parameters == {}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"model": "a/b", "models": ["c/d"], "fallbacks": ["e/f"]}, "fallbacks"),
        ({"fallbacks": ["e/f"]}, "model"),
        ({"models": []}, "model"),
    ],
)
def test_fallbacks_that_contradict_or_belong_to_nothing(given: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_chat({"messages": HELLO, **given})
    assert caught.value.param == param


def test_unknown_parameters_and_extensions_are_kept_apart_and_named() -> None:
    given = {"top_k": 5, "reasoning": {"effort": "low"}, "include_reasoning": True, "chat_template_kwargs": {"a": 1}}

    request = parse(**given)

    assert request.unknown == given
    assert request.parameters == {}
    assert dropped(request) == list(given)


def test_names_of_unknown_parameters_are_fit_to_be_shown_and_a_flood_is_cut() -> None:
    assert dropped(parse(**{"a\x00": 1, "x" * 99: 2})) == ["a\\x00", "x" * 64]
    assert len(dropped(parse(**{f"p{i}": 1 for i in range(500)}))) == 64


# Whom it is for.


def test_tags_come_from_header_metadata_and_body_each_once() -> None:
    request = parse(Extras(tags="x, y,,x"), metadata={"tags": ["y", "z"], "other": None}, tags=["w"])

    assert request.tags == ("x", "y", "z", "w")
    assert dropped(request) == ["metadata"]
    assert parse(metadata={"tags": "a, b"}).tags == ("a", "b")
    assert parse(Extras(tags="a")).tags == ("a",)


def test_the_end_user_is_the_headers_before_the_bodys() -> None:
    assert parse(Extras(end_user="h"), user="u").end_user == "h"
    assert parse(user="u", safety_identifier="s").end_user == "u"
    assert parse(safety_identifier="s").end_user == "s"
    with pytest.raises(BadRequest) as refused:
        parse(Extras(end_user="x" * 513))
    assert refused.value.param == "x-litellm-customer-id"
    with pytest.raises(BadRequest):
        parse(Extras(tags="a\x00"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "function", "name", "url", "image_url", "tool_calls", "id", "text"]
            )
            | st.sampled_from(["function", "json_schema", "tags", "file"]),
            inner
            | st.sampled_from(["user", "assistant", "tool", "function", "image_url", "file", "json_schema", "custom"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(TABLE)) | st.text(max_size=5), values, max_size=5), values)
def test_any_json_is_a_request_or_a_bad_request(body: dict[str, Any], message: Any) -> None:
    for candidate in (body, {"model": "m", "messages": [message, *HELLO]}, {"model": "m", "messages": HELLO, **body}):
        try:
            request = parse_chat(candidate)
        except BadRequest as refused:
            assert refused.param is not None  # noqa: PT017 - either outcome is right
        else:
            kinds = {TABLE[name].kind for name in request.parameters if name != "stream_options"}
            assert kinds <= {"neutral", "priced"}
