"""What a request asks of a model, and what is changed in it for an offer that takes less."""

from typing import Any

import pytest

from routing.gateway.adapt import adapt
from routing.providers.base import Quirks, Target
from tests.routing.parsing import CALL, HELLO, IMAGE, TOOL, dropped, parse


def target(*capabilities: str, pass_unknown: bool = False, quirks: Quirks = Quirks()) -> Target:  # noqa: B008 - frozen
    """An offer that can what is named."""
    return Target("https://api.example.com", "", "model", frozenset(capabilities), pass_unknown, quirks)


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

    adapted = adapt(request, target("tools"))

    assert adapted.parameters == {"temperature": 1}
    assert dropped(adapted) == ["reasoning_effort"]
    assert request.parameters == {"temperature": 1, "reasoning_effort": "high"}


def test_an_offer_that_takes_everything_gets_the_same_request() -> None:
    request = parse(reasoning_effort="high", odd=1)

    assert adapt(request, target("reasoning")) is request
    assert adapt(parse(), target(pass_unknown=True)).adjusted == ()


def test_what_a_provider_takes_after_all_is_not_named_as_dropped() -> None:
    request = parse(odd=1, policy="frugal", reasoning_effort="low")

    assert dropped(request) == ["odd", "policy"]
    assert dropped(adapt(request, target("reasoning", pass_unknown=True))) == ["policy"]
    assert dropped(adapt(request, target(pass_unknown=True))) == ["policy", "reasoning_effort"]


def test_an_offer_without_sampling_gets_none_of_its_parameters() -> None:
    sampling: dict[str, Any] = {
        "temperature": 1,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "presence_penalty": 1,
        "logprobs": True,
    }
    request = parse(**sampling, logit_bias={"1": 1}, top_logprobs=2, seed=1, stop="x")

    adapted = adapt(request, target("no_sampling"))

    assert adapted.parameters == {"seed": 1, "stop": "x"}
    assert set(dropped(adapted)) == {*sampling, "logit_bias", "top_logprobs"}
    assert adapt(request, target()) is request


def test_a_provider_gets_its_own_words_and_nothing_that_it_refuses() -> None:
    request = parse(seed=7, verbosity="low", temperature=1)
    quirks = Quirks(refuses=frozenset({"verbosity", "seed"}), renames={"seed": "random_seed"})

    adapted = adapt(request, target(quirks=quirks))

    assert adapted.parameters == {"random_seed": 7, "temperature": 1}
    assert dropped(adapted) == ["verbosity"]
    plain = parse(temperature=1)
    assert adapt(plain, target(quirks=quirks)) is plain


@pytest.mark.parametrize(
    ("asked", "known", "sent"),
    [
        ("xhigh", ("low", "medium", "high"), "high"),
        ("minimal", ("low", "medium", "high"), "low"),
        ("minimal", ("none", "low", "high"), "none"),
        ("medium", ("none", "high"), "none"),
        ("max", ("none", "high"), "high"),
    ],
)
def test_an_effort_that_a_model_does_not_know_becomes_the_next_that_costs_no_more(
    asked: str, known: tuple[str, ...], sent: str
) -> None:
    adapted = adapt(parse(reasoning_effort=asked), target("reasoning", quirks=Quirks(efforts=known)))

    assert adapted.parameters == {"reasoning_effort": sent}
    assert adapted.adjusted == ({"param": "reasoning_effort", "action": "changed", "from": asked, "to": sent},)


def test_an_effort_that_a_model_knows_stays() -> None:
    request = parse(reasoning_effort="high")

    assert adapt(request, target("reasoning", quirks=Quirks(efforts=("none", "high")))) is request
