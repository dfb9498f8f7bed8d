"""How a request would best be worked on."""

from typing import Any

import pytest

from routing.selection.workflow import Wanted, asks_for_server_tools, wanted


@pytest.mark.parametrize(
    ("text", "workflow", "reason"),
    [
        ("What is the capital of France?", "direct", "plain"),
        ("Please SEARCH THE WEB for the population of Lyon", "tools", "web_search"),
        ("What is the latest news about Mars?", "tools", "web_search"),
        ("Write a prime sieve and run it", "tools", "code_execution"),
        ("Can you execute this script: print(1)?", "tools", "code_execution"),
        ("deep research please", "direct", "plain"),
        ("Do deep research on heat pumps. " + "We need to know about costs and noise. " * 20, "harness", "long_task"),
        (
            "Plan:\n1. read\n2. think\n3. write\n4. check\n" + "Mind the details of every part. " * 20,
            "harness",
            "long_task",
        ),
        ("A long story without any plan. " * 30, "direct", "plain"),
        ("", "direct", "plain"),
    ],
)
def test_what_the_text_asks_for(text: str, workflow: str, reason: str) -> None:
    assert wanted(text, 0, server_tools=False) == Wanted(workflow, reason)  # type: ignore[arg-type]


def test_tools_that_a_request_brings_are_its_callers() -> None:
    assert wanted("What is the weather?", 2, server_tools=False) == Wanted("direct", "caller_tools")
    assert wanted("Search the web", 2, server_tools=False).reason == "web_search"
    assert wanted("Hello", 0, server_tools=True) == Wanted("tools", "server_tools")


@pytest.mark.parametrize(
    ("body", "is_asked"),
    [
        ({}, False),
        ({"tools": None}, False),
        ({"tools": ["web_search"]}, False),
        ({"tools": [{"type": "function", "function": {"name": "web_search"}}]}, False),
        ({"tools": [{"type": "web_search_preview"}]}, True),
        ({"tools": [{"type": "function"}, {"type": "code_interpreter"}]}, True),
        ({"tools": [{"type": 5}]}, False),
        ({"web_search_options": {}}, True),
    ],
)
def test_tools_of_the_server_are_known_by_their_type(body: dict[str, Any], is_asked: bool) -> None:
    assert asks_for_server_tools(body) is is_asked
