"""Checks of answers: what passes, what does not, and what strangers write to keep us busy."""

import json

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
    ],
)
def test_an_answer_passes_or_not(kind: str, expected: str, answer: str, passed: bool):
    checked = check(kind, expected, answer)
    assert (checked.passed, checked.is_broken) == (passed, False)
    assert bool(checked.why) is not passed


def test_why_not_is_said():
    assert check("json_schema", SCHEMA, "{}").why == "'city' is a required property"
    assert check("json_schema", SCHEMA, "Rome").why == "it is no JSON"
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
        ("json_schema", '{"$ref": "http://127.0.0.1:9/schema"}', "Unresolvable"),
        ("dance", "a", "cannot be carried out here"),
    ],
)
def test_a_check_that_cannot_be_carried_out_is_told_beforehand(kind: str, expected: str, words: str):
    answer = "{}" if "$ref" in expected else ""
    told = check(kind, expected, answer).why if answer else problem_with(kind, expected)
    assert words in told
    assert bool(told) is bool(words)


@pytest.mark.parametrize(
    ("kind", "expected"), [("regex", r"(a+)+$"), ("json_schema", json.dumps({"type": "string", "pattern": "(a+)+$"}))]
)
def test_an_expression_that_takes_forever_is_killed(kind: str, expected: str):
    answer = "a" * 60 + "!"
    began = monotonic_s()
    checked = check(kind, expected, json.dumps(answer) if kind == "json_schema" else answer)
    assert (checked.passed, checked.is_broken) == (False, True)
    assert monotonic_s() - began < WITHIN_S + 2
