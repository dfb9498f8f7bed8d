"""Checks of answers: what passes, what does not, and what strangers write to keep us busy."""

import json
import socket

import pytest

from advisor.checks import WITHIN_S, check, problem_with
from komilion.common.clock import monotonic_s

SCHEMA = json.dumps({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}})


@pytest.mark.parametrize(
    ("kind", "expected", "answer", "passed"),
    [
        ("contains", "Paris", "It is Paris.", True),
        ("contains", "Paris", "It is paris.", False),
        ("regex", r"^\d{4}$", "2026", True),
        ("regex", r"^\d{4}$", "20266", False),
        ("regex", r"(?i)yes", "Oh YES", True),
        ("json_schema", SCHEMA, '{"city": "Rome"}', True),
        ("json_schema", SCHEMA, '{"city": 1}', False),
        ("json_schema", SCHEMA, "Rome", False),
        ("json_schema", "true", "{}", True),
        ("code", "len(answer) < 10 and answer.isdigit()", "2026", True),
        ("code", "len(answer) < 10", "a long answer", False),
        ("code", "import json\nfound = json.loads(answer)\nfound['sum'] == 3", '{"sum": 3}', True),
        ("code", "import json\njson.loads(answer)", "no JSON", False),
        ("code", "1", "", False),
        ("code", "open('/etc/passwd').read() != ''", "", False),
        ("code", "import os\nos.system('true') == 0", "", False),
    ],
)
def test_an_answer_passes_or_not(kind: str, expected: str, answer: str, passed: bool):
    checked = check(kind, expected, answer)
    assert (checked.passed, checked.is_broken) == (passed, False)
    assert bool(checked.why) is not passed


def test_why_not_is_said():
    assert check("json_schema", SCHEMA, "{}").why == "'city' is a required property"
    assert check("json_schema", SCHEMA, "Rome").why == "it is no JSON"
    assert check("code", "len(answer)", "abc").why == "the code gives 3, not True"
    assert "JSONDecodeError" in check("code", "import json\njson.loads(answer)", "no JSON").why
    assert check("regex", "x", "y").why == "the expression matches nowhere in it"


@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        ("contains", "", "Say what is expected."),
        ("contains", "a", ""),
        ("regex", "(", "unterminated"),
        ("regex", "a", ""),
        ("json_schema", "{", "JSONDecodeError"),
        ("json_schema", '{"type": "juggler"}', "SchemaError"),
        ("json_schema", SCHEMA, ""),
        ("code", "answer ==", "Expected an expression"),
        ("code", "answer[0] == 'a'", ""),
        ("dance", "a", "cannot be carried out here"),
    ],
)
def test_a_check_that_cannot_be_carried_out_is_told_beforehand(kind: str, expected: str, words: str):
    told = problem_with(kind, expected)
    assert words in told
    assert bool(told) is bool(words)


def test_a_schema_fetches_nothing():
    """Somebody listens at the address that it names, and hears nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        schema = json.dumps({"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema"})
        assert check("json_schema", schema, "{}").is_broken
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("kind", "expected"), [("regex", r"(a+)+$"), ("json_schema", json.dumps({"type": "string", "pattern": "(a+)+$"}))]
)
def test_an_expression_that_takes_forever_is_killed(kind: str, expected: str):
    answer = "a" * 60 + "!"
    began = monotonic_s()
    checked = check(kind, expected, json.dumps(answer) if kind == "json_schema" else answer)
    assert (checked.passed, checked.is_broken) == (False, True)
    assert monotonic_s() - began < WITHIN_S + 2


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "x = 'a'\nwhile True:\n    x = x + x",
        "import re\nre.search('(a+)+$', 'a' * 60 + '!') is not None",
        "def f():\n    return f()\nf()",
    ],
)
def test_code_that_takes_forever_or_all_memory_passes_nobody(code: str):
    began = monotonic_s()
    assert not check("code", code, "").passed
    assert monotonic_s() - began < WITHIN_S + 2
