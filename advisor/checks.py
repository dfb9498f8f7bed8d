"""Checks of answers without anybody's opinion: what an evaluation case expects of a model."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from advisor.models import EvaluationCase

Check = EvaluationCase.Check
PROGRAM = Path(__file__).with_name("check_program.py")
WITHIN_S = 5.0  # of the clock; of the processor the program has less
CODE_S = 1.0
CODE_MEMORY_BYTES = 1 << 26
SAID_CHARACTERS = 300
ANSWER_CHARACTERS = 100_000  # that are looked at


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether an answer passes, and why not. `is_broken` where the check itself cannot be carried out."""

    passed: bool
    why: str = ""
    is_broken: bool = False


TOO_MUCH = Checked(passed=False, why="the check took too long, or too much memory", is_broken=True)


def check(kind: str, expected: str, answer: str) -> Checked:
    """One answer by one check; blocks, for `WITHIN_S` at most."""
    answer = answer[:ANSWER_CHARACTERS]
    if kind == Check.CONTAINS:
        passed = expected in answer
        return Checked(passed, "" if passed else "the text is not in it")
    if kind in {Check.REGEX, Check.JSON_SCHEMA}:
        return _in_program(kind, expected, answer)
    if kind == Check.CODE:
        return _in_sandbox(expected, answer)
    return Checked(passed=False, why=f"checks of kind {kind!r} cannot be carried out here", is_broken=True)


def problem_with(kind: str, expected: str) -> str:
    """What is wrong with a check, whatever the answer; empty for one that can be carried out."""
    if not expected:
        return "Say what is expected."
    checked = check(kind, expected, "")
    return checked.why if checked.is_broken else ""


def _in_sandbox(code: str, answer: str) -> Checked:
    """By code whose last expression is True for an answer that passes; one that raises does not pass it.

    Monty is an interpreter without files, network and processes, in a process of its own that is killed when it
    crashes or does not answer.
    """
    from pydantic_monty import Monty, MontyCrashedError, MontyRuntimeError, MontySyntaxError  # noqa: PLC0415

    pool = Monty(min_processes=1, max_processes=1, request_timeout=WITHIN_S)
    try:
        with pool, pool.checkout(limits={"max_feed_duration_secs": CODE_S, "max_memory": CODE_MEMORY_BYTES}) as session:
            value = session.feed_run(code, inputs={"answer": answer})
    except MontyRuntimeError as error:
        return Checked(passed=False, why=str(error)[:SAID_CHARACTERS])
    except MontySyntaxError as error:
        return Checked(passed=False, why=str(error)[:SAID_CHARACTERS], is_broken=True)
    except (MontyCrashedError, TimeoutError):
        return TOO_MUCH
    passed = value is True
    return Checked(passed, "" if passed else f"the code gives {value!r}, not True"[:SAID_CHARACTERS])


def _in_program(kind: str, expected: str, answer: str) -> Checked:
    given = json.dumps({"kind": kind, "expected": expected, "answer": answer})
    command = [sys.executable, "-I", str(PROGRAM)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return TOO_MUCH
    if "broken" in told:
        return Checked(passed=False, why=told["broken"], is_broken=True)
    return Checked(told["passed"], told["why"])
