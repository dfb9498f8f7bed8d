"""Checks of answers without anybody's opinion: what an evaluation case expects of a model."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from advisor.models import EvaluationCase

Check = EvaluationCase.Check
PROGRAM = Path(__file__).with_name("check_program.py")
# All that the program learns of ours. More arenas than one are address space, of which it has little.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
WITHIN_S = 5.0  # of the clock; of the processor the program has less
ANSWER_CHARACTERS = 100_000  # that are looked at
TRIED_AT_ONCE = 2  # checks that people enter, in each process; one of each organization
BUSY = "Too many checks are being tried at this moment; send it again in a few seconds."

_trying: set[int] = set()  # organizations
_looking = Lock()


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether an answer passes, and why not, without a word of the answer.

    `is_broken` where the check itself cannot be carried out.
    """

    passed: bool
    why: str = ""
    is_broken: bool = False


TOO_MUCH = Checked(passed=False, why="the check took too long, or too much memory", is_broken=True)


def check(kind: str, expected: str, answer: str) -> Checked:
    """One answer by one check; blocks, for `WITHIN_S` at most.

    Raises `TimeoutError` where that was too short: a check that takes long uses up its share of the processor before,
    so it is this machine that is too busy, which says nothing of the answer.
    """
    answer = answer[:ANSWER_CHARACTERS]
    if kind == Check.CONTAINS:
        passed = expected in answer
        return Checked(passed, "" if passed else "the text is not in it")
    if kind in {Check.REGEX, Check.JSON_SCHEMA, Check.CODE}:
        return _in_program(kind, expected, answer)
    return Checked(passed=False, why=f"checks of kind {kind!r} cannot be carried out here", is_broken=True)


def problem_with(kind: str, expected: str, organization_id: int) -> str:
    """What is wrong with a check, whatever the answer; empty for one that can be carried out.

    A few at a time in each process, as each may keep a processor busy for a second, and one of an organization, so that
    it does not keep others out; who comes too many hears so. What needs no program waits for none.
    """
    if not expected:
        return "Say what is expected."
    if kind == Check.CONTAINS:
        return ""
    with _looking:
        if organization_id in _trying or len(_trying) >= TRIED_AT_ONCE:
            return BUSY
        _trying.add(organization_id)
    try:
        checked = check(kind, expected, "")
    except TimeoutError:
        return BUSY
    finally:
        with _looking:
            _trying.discard(organization_id)
    return checked.why if checked.is_broken else ""


def _in_program(kind: str, expected: str, answer: str) -> Checked:
    given = json.dumps({"kind": kind, "expected": expected, "answer": answer})
    with subprocess.Popen(
        [sys.executable, "-I", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,  # so that Monty's process can be killed with it
    ) as process:
        try:
            said, _ = process.communicate(given, timeout=WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"a check did not end within {WITHIN_S} s") from error
        finally:
            with suppress(ProcessLookupError):  # nobody is left of it, as after every check that ends by itself
                os.killpg(process.pid, signal.SIGKILL)
    try:
        told = json.loads(said)
    except ValueError:  # it was killed before it could say anything
        return TOO_MUCH
    if "broken" in told:
        return Checked(passed=False, why=told["broken"], is_broken=True)
    return Checked(passed=not told["why"], why=told["why"])
