"""How a request would best be worked on: `direct`, with `tools`, or by a `harness` for long tasks of many steps.

Only the first exists so far. What was wanted is said in the receipt, so that nobody believes an answer had searched the
web or run code. The rules are phrases, not a model: a wrong one costs a word in a receipt.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

type Workflow = Literal["direct", "tools", "harness"]

WORKED: Workflow = "direct"  # how every request is answered at present

SEARCH_PHRASES = (
    *("search the web", "search online", "web search", "browse the", "look up online", "google for", "on the internet"),
    *("latest news", "today's news", "current price", "as of today", "up-to-date information", "right now in the news"),
)
RUN_PHRASES = (
    *("run this code", "run the code", "execute this", "execute the code", "run this script", "run the script"),
    *("and run it", "run the tests", "show me the output of running"),
)
HARNESS_PHRASES = (
    *("step by step until", "work through the whole", "the entire codebase", "the whole repository", "multi-step"),
    *("research report", "deep research", "in-depth report", "literature review", "end to end", "end-to-end"),
    *("keep going until", "autonomously"),
)
NUMBERED_STEPS = ("\n1.", "\n2.", "\n3.", "\n4.")
HARNESS_TASK_CHARACTERS = 600  # a phrase alone does not make a short question a long task
SERVER_TOOLS = ("web_search", "code_interpreter", "code_execution", "computer", "file_search")


class Wanted(msgspec.Struct, frozen=True):
    """The workflow that fits, and the stable word for why."""

    workflow: Workflow
    reason: Literal["plain", "caller_tools", "server_tools", "web_search", "code_execution", "long_task"]


def asks_for_server_tools(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for tools that a server runs: `web_search_options`, or a tool of such a type."""
    tools = body.get("tools")
    types = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    named = any(isinstance(name, str) and name.startswith(SERVER_TOOLS) for name in types)
    return named or body.get("web_search_options") is not None


def wanted(text: str, tools: int, *, server_tools: bool) -> Wanted:
    """Classify a request: its glance, how many tools it brings, and whether it asks for tools of the server's own.

    `caller_tools` are the caller's functions: the model may call them, and the caller runs them, in a direct answer.
    """
    if server_tools:
        return Wanted("tools", "server_tools")
    lower = text.lower()
    if len(text) >= HARNESS_TASK_CHARACTERS and _is_long_task(lower):
        return Wanted("harness", "long_task")
    if any(map(lower.__contains__, SEARCH_PHRASES)):
        return Wanted("tools", "web_search")
    if any(map(lower.__contains__, RUN_PHRASES)):
        return Wanted("tools", "code_execution")
    return Wanted("direct", "caller_tools" if tools else "plain")


def _is_long_task(lower: str) -> bool:
    return any(phrase in lower for phrase in HARNESS_PHRASES) or all(step in f"\n{lower}" for step in NUMBERED_STEPS)
