"""What a request asks of a model, and what is changed in it for an offer that takes less."""

from typing import Any

import pytest

from routing.gateway.parameters import adapt
from tests.routing.parsing import CALL, HELLO, IMAGE, TOOL, dropped, parse


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        ({}, set()),
        ({"tools": [TOOL, {"type": "custom", "custom": {"name": "x"}}]}, {"tools"}),
        ({"functions": [{"name": "x"}], "function_call": {"name": "x"}}, {"tools"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, {"json_schema"}),
        ({"reasoning_effort": "high"}, set()),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"vision"}),
        ({"messages": [*HELLO, {"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, {"tools"}),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]}, {"tools"}),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": ""},
                            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,x"}},
                        ],
                    }
                ]
            },
            {"audio", "files"},
        ),
    ],
    ids=range(11),
)
def test_needs_follow_from_the_request(more: dict[str, Any], needs: set[str]) -> None:
    assert parse(**more).needs == needs


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "required",
        {"type": "function", "function": {"name": "get_weather"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    ],
    ids=str,
)
def test_a_choice_among_tools_is_forwarded(choice: Any) -> None:
    assert parse(tools=[TOOL], tool_choice=choice).parameters == {"tools": [TOOL], "tool_choice": choice}


def test_an_offer_that_does_not_reason_gets_no_effort_and_that_is_named() -> None:
    request = parse(reasoning_effort="high", temperature=1)

    adapted = adapt(request, frozenset({"tools"}))

    assert adapted.parameters == {"temperature": 1}
    assert dropped(adapted) == ["reasoning_effort"]
    assert request.parameters == {"temperature": 1, "reasoning_effort": "high"}


def test_an_offer_that_takes_everything_gets_the_same_request() -> None:
    request = parse(reasoning_effort="high", odd=1)

    assert adapt(request, frozenset({"reasoning"})) is request
    assert adapt(parse(), frozenset(), pass_unknown=True).adjusted == ()


def test_what_a_provider_takes_after_all_is_not_named_as_dropped() -> None:
    request = parse(odd=1, policy="frugal", reasoning_effort="low")

    assert dropped(request) == ["odd", "policy"]
    assert dropped(adapt(request, frozenset({"reasoning"}), pass_unknown=True)) == ["policy"]
    assert dropped(adapt(request, frozenset(), pass_unknown=True)) == ["policy", "reasoning_effort"]
