"""The scripts that exist by name alone; `replies.py` lists the options that refine them."""

import json
from typing import Any

from tests.fakes import mischief
from tests.fakes.journal import Tokens
from tests.fakes.replies import Cut, Reply, ToolCall

HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


def _error(status: int, body: Any, **headers: str) -> Reply:
    if isinstance(body, str):
        return Reply(status=status, body=body.encode(), headers={**HTML, **headers})
    return Reply(status=status, body=json.dumps(body).encode(), headers={**JSON, **headers})


def _openai(status: int, message: str, kind: str, code: str | None = None, **headers: str) -> Reply:
    return _error(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, **headers)


def _declares(**changes: Any) -> Reply:
    """Tells the truth about usage but for these fields."""

    def declared(whole: Tokens) -> dict[str, Any]:
        return {**honest_usage(whole), **changes}

    return Reply(declared=declared, report_always=True)


def honest_usage(whole: Tokens) -> dict[str, Any]:
    """Usage in OpenAI's shape."""
    return {
        "prompt_tokens": whole.prompt,
        "completion_tokens": whole.completion,
        "total_tokens": whole.prompt + whole.completion,
    }


PERSON = json.dumps({"name": "Ada", "age": 36})

GOOD = {
    "ok": Reply(),
    "slow": Reply(before_head_s=1.0),
    "drip": Reply(frames=40, between_frames_s=0.05),
    "json": Reply(content=PERSON, frames=4),
    "tool": Reply(tool_calls=(ToolCall("", '{"location": "Lund"}'),), frames=4),
    "tools": Reply(
        tool_calls=(
            ToolCall("", '{"location": "Lund"}', "call_first1"),
            ToolCall("", '{"location": "Umeå"}', "call_second"),
        ),
        frames=8,
    ),
    "reasoning": Reply(reasoning="First think, then write.", frames=6),
    "refusal": Reply(refusal="I cannot help with that.", frames=5),
    "length": Reply(finish="length"),
    "filter": Reply(finish="content_filter", frames=3),
}

CUT = {
    "cut": Reply(cut=Cut(frames=5)),
    "cut0": Reply(cut=Cut(before_head=True)),
    "reset": Reply(cut=Cut(frames=5, how="reset")),
    "half": Reply(cut=Cut(frames=5, how="end")),
}

ERRORS = {
    "400": _openai(400, "Invalid value for 'temperature'.", "invalid_request_error", "invalid_value"),
    "401": _openai(401, "Incorrect API key provided: sk-ups***.", "authentication_error", "invalid_api_key"),
    "402": _error(402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": 402}}),
    "403": _openai(403, "Country not supported.", "permission_error", "unsupported_country"),
    "404": _openai(404, "The model does not exist.", "invalid_request_error", "model_not_found"),
    "429": _openai(429, "Rate limit reached.", "requests", "rate_limit_exceeded", **{"Retry-After": "7"}),
    "quota": _openai(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "500": _openai(500, "The server had an error.", "server_error"),
    "502": _error(502, "<html><h1>502 Bad Gateway</h1><hr>nginx/1.25.3</html>"),
    "503": _error(503, "<html><body>Service Unavailable</body></html>", **{"Retry-After": "3"}),
    "529": _error(529, {"error": {"message": "Overloaded", "type": "overloaded_error"}}),
    "html": _error(200, "<!doctype html><title>Welcome</title>"),
    "empty": Reply(body=b"", headers=JSON),
    "not-json": Reply(body=b'{"id": "chatcmpl-1", "choices": [', headers=JSON),
    "not-an-answer": Reply(body=b'{"hello": "world"}', headers=JSON),
    "minimax": Reply(body=b'{"base_resp": {"status_code": 1008, "status_msg": "no balance"}}', headers=JSON),
}

CONTEXT_LENGTH = {
    "context-openai": _openai(
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
    "context-anthropic": _error(
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 9001 tokens > 8192 maximum",
            },
        },
    ),
    "context-gemini": _error(
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count exceeds the maximum number of tokens allowed (8192).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    "context-mistral": _error(
        400,
        {
            "object": "error",
            "message": "Prompt contains 9001 tokens, model's maximum context length is 8192.",
            "type": "invalid_request_error",
            "param": None,
            "code": "3051",
        },
    ),
    "context-xai": _error(
        400,
        {
            "code": "invalid-argument",
            "error": "This model's maximum context length is 8192 but the request has 9001 tokens.",
        },
    ),
    "context-together": _error(
        422,
        {
            "error": {
                "message": "inputs tokens + max_new_tokens must be <= 8193. Given: 9001 inputs tokens",
                "type": "invalid_request_error",
            }
        },
    ),
    "context-cerebras": _error(
        400,
        {
            "message": "Current length is 9001 while limit is 8192",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        },
    ),
}

LIES = {
    "usage-negative": _declares(completion_tokens=-5),
    "usage-huge": _declares(completion_tokens=10**30),
    "usage-impossible": _declares(prompt_tokens=2**30),
    "usage-float": _declares(completion_tokens=12.5),
    "usage-string": _declares(completion_tokens="12"),
    "usage-true": _declares(completion_tokens=True),
    "usage-null": _declares(completion_tokens=None),
    "usage-zero": _declares(prompt_tokens=0, completion_tokens=0, total_tokens=0),
    "usage-list": Reply(declared=lambda _: [1, 2, 3], report_always=True),
    "usage-changing": Reply(report="every", declared=mischief.changing, report_always=True),
    "overrun": Reply(overrun=1_000),
}

MISCHIEF = {name: Reply(act=act) for name, act in mischief.ACTS.items()}

PRESETS: dict[str, Reply] = GOOD | CUT | ERRORS | CONTEXT_LENGTH | LIES | MISCHIEF
