"""Checks of answers: what passes, what does not, and what strangers write to keep us busy."""

import json
import resource
import socket
from pathlib import Path

import pytest

from advisor.checks import TRIED_AT_ONCE, Checked, check, problem_with
from tests.waiting import wait_until

PATIENT_S = 30.0  # for what is ended by other limits, on a machine that is busy
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
    assert check("json_schema", SCHEMA, "{}").why == 'it breaks the rule required of the schema: ["city"]'
    told = check("json_schema", SCHEMA, '{"city": 1}').why
    assert told == 'it breaks the rule properties/city/type of the schema: "string"'
    assert check("json_schema", SCHEMA, "Rome").why == "it is no JSON"
    assert check("json_schema", SCHEMA, "[" * 100_000).why == "it is no JSON"
    assert check("code", "len(answer)", "abc").why == "the code gives something of the type int, not True"
    assert check("code", "answer == 'abd'", "abc").why == "the code gives False, not True"
    assert check("code", "import json\njson.loads(answer)", "no JSON").why == "the code raises JSONDecodeError"
    assert check("regex", "x", "y").why == "the expression matches nowhere in it"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("regex", "x"),
        ("json_schema", '{"const": 1}'),
        ("json_schema", '{"additionalProperties": false}'),
        ("json_schema", '{"additionalProperties": {"type": "null"}}'),
        ("json_schema", '{"propertyNames": {"maxLength": 3}}'),
        ("code", "answer"),
        ("code", "raise ValueError(answer)\n1"),
        ("code", "assert answer == ''\n1"),
        ("code", "int(answer)"),
        ("code", "eval(answer[2:7])"),
        ("code", "eval(answer[2:7] + ' ' + answer[2:7])"),
        ("code", "{}[answer]"),
    ],
)
def test_what_an_answer_said_is_in_no_reason(kind: str, expected: str):
    checked = check(kind, expected, '{"secret": "secret"}')
    assert (checked.passed, checked.is_broken) == (False, False)
    assert checked.why
    assert "secret" not in checked.why


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
        ("code", "answer ==", "SyntaxError"),
        ("code", "answer[0] == 'a'", ""),
        ("code", "good = 'a' in answer", "has to be an expression"),
        ("code", "# nothing", "has to be an expression"),
        ("dance", "a", "cannot be carried out here"),
    ],
)
def test_a_check_that_cannot_be_carried_out_is_told_beforehand(kind: str, expected: str, words: str):
    told = problem_with(kind, expected, 1)
    assert words in told
    assert bool(told) is bool(words)


@pytest.mark.parametrize(("of_each", "most"), [(1, TRIED_AT_ONCE), (0, 1)], ids=["strangers", "one organization"])
def test_few_checks_are_tried_at_once(monkeypatch: pytest.MonkeyPatch, of_each: int, most: int):
    """While as many as may be are under way, the next is told to come again; what needs no program is not."""
    told, asked = [], [1]

    def check_meanwhile(_kind: str, _expected: str, _answer: str) -> Checked:
        assert problem_with("contains", "a", 1) == ""
        asked.append(asked[-1] + of_each)
        told.append(problem_with("regex", "a", asked[-1]))
        return Checked(passed=False)

    monkeypatch.setattr("advisor.checks.check", check_meanwhile)
    assert problem_with("regex", "a", 1) == ""
    assert len(told) == most
    assert "Too many checks" in told[0]
    monkeypatch.setattr("advisor.checks.check", lambda *_: Checked(passed=False))
    assert problem_with("regex", "a", 1) == "", "afterwards there is room again"


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
def test_an_expression_that_takes_forever_is_killed(kind: str, expected: str, monkeypatch: pytest.MonkeyPatch):
    """By the processor that it used, long before the clock."""
    monkeypatch.setattr("advisor.checks.WITHIN_S", PATIENT_S)
    answer = "a" * 60 + "!"
    checked = check(kind, expected, json.dumps(answer) if kind == "json_schema" else answer)
    assert (checked.passed, checked.is_broken) == (False, True)


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "x = 'a'\nwhile True:\n    x = x + x",
        "import re\nre.search('(a+)+$', 'a' * 60 + '!') is not None",
        "def f():\n    return f()\nf()",
        "import time\nwhile True:\n    time.sleep(1)\n1",
        "['x' * 10_000_000] * 100",
        "x = [1]\nfor i in range(60):\n    x = [x, x]\nx",
        "['x' * 1_000_000 + str(i) for i in range(60)]",
        "2**100_000",
        "(" * 2_400 + "1" + ")" * 2_400,
        "-" * 4_999 + "1",
    ],
)
def test_code_that_takes_forever_or_all_memory_passes_nobody(code: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("advisor.checks.WITHIN_S", PATIENT_S)
    before = peak_kib()
    assert not check("code", code, "").passed
    assert peak_kib() - before < 20_000, "nothing of it comes here"


def test_what_code_prints_reaches_nobody(capfd: pytest.CaptureFixture[str]):
    assert check("code", "print('forged')\nimport sys\nprint('x' * 100_000, file=sys.stderr)\nTrue", "").passed
    assert capfd.readouterr() == ("", "")


def test_the_program_learns_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Nothing of our environment is handed on."""
    told = tmp_path / "told"
    program = tmp_path / "program.py"
    program.write_text(f"import json, os\nopen({str(told)!r}, 'w').write(json.dumps(dict(os.environ)))")
    monkeypatch.setenv("SECRET_KEY", "secret")
    monkeypatch.setattr("advisor.checks.PROGRAM", program)
    assert check("regex", "a", "a").is_broken, "this program says nothing"
    assert json.loads(told.read_text()).keys() <= {"MALLOC_ARENA_MAX", "LC_CTYPE"}


def test_nothing_of_a_check_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It is killed with what it started, and nobody is said to have failed it."""
    told = tmp_path / "told"
    program = tmp_path / "program.py"
    program.write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(told)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    monkeypatch.setattr("advisor.checks.PROGRAM", program)
    monkeypatch.setattr("advisor.checks.WITHIN_S", 1.0)
    with pytest.raises(TimeoutError):
        check("regex", "a", "a")
    child = Path("/proc", told.read_text(), "stat")
    wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z")
    assert "send it again" in problem_with("regex", "a", 1)


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
