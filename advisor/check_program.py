"""A program: one check of one answer, as JSON on standard input and output. advisor.checks runs it, with limits.

Expressions, schemas and code are written by strangers and may take forever or all memory; here that is a process that
is killed, and says nothing. It imports nothing of ours. What it says of an answer that does not pass quotes the check
at most, never the answer: it is kept.
"""

import ast
import json
import re
import resource
import sys
from collections.abc import Callable

CPU_S = 1  # of this process, and of Monty's
MEMORY_BYTES = 1 << 28  # of address space, likewise
CODE_MEMORY_BYTES = 1 << 26
SAID_CHARACTERS = 300
NO_VALUE = "The last line of the code has to be an expression that is True for a good answer."

type Judge = Callable[[str], str]
"""Why an answer does not pass; empty for one that does. Raises where the check cannot be carried out."""


def read(kind: str, expected: str) -> Judge:
    """Read a check. Raises what a broken expression, schema or code raises."""
    if kind == "regex":
        expression = re.compile(expected)
        return lambda answer: "" if expression.search(answer) else "the expression matches nowhere in it"
    return _schema(expected) if kind == "json_schema" else _code(expected)


def _schema(text: str) -> Judge:
    from jsonschema.validators import validator_for  # noqa: PLC0415 - only for this kind: it takes long to import
    from referencing import Registry  # noqa: PLC0415

    schema = json.loads(text)
    validator = validator_for(schema)
    validator.check_schema(schema)

    def judge(answer: str) -> str:
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return "it is no JSON"
        registry = Registry()  # an empty one fetches nothing
        found = next(validator(schema, registry=registry).iter_errors(value), None)
        if found is None:
            return ""
        rule = "/".join(str(part) for part in found.absolute_schema_path)
        return f"it breaks the rule {rule} of the schema: {json.dumps(found.validator_value)}"

    return judge


def _code(code: str) -> Judge:
    """By code whose last expression is True for an answer that passes; one that raises does not pass it.

    Monty is an interpreter without files, network and processes, in a process of its own.
    """
    lines = ast.parse(code, "the code").body
    if not lines or not isinstance(lines[-1], ast.Expr):
        raise ValueError(NO_VALUE)

    def judge(answer: str) -> str:
        from pydantic_monty import Monty, MontyCrashedError, MontyError, ResourceLimits  # noqa: PLC0415 - only for this kind

        limits: ResourceLimits = {"max_memory": CODE_MEMORY_BYTES}  # a limit of time would be one of the clock
        try:
            with (
                Monty(min_processes=1, max_processes=1) as pool,
                pool.checkout(limits=limits, os_policy={"sleep": "zero"}) as session,
            ):
                value = session.feed_run(code, inputs={"answer": answer}, print_callback=_drop)
        except MontyCrashedError as error:
            raise MemoryError from error
        except MontyError as error:
            return f"the code raises {type(error.exception()).__name__}"
        if value is True:
            return ""
        given = "False" if value is False else f"something of the type {type(value).__name__}"
        return f"the code gives {given}, not True"

    return judge


def _drop(_stream: str, _text: str) -> None:
    """What code prints reaches nobody."""


def main() -> None:
    """Read, check, write."""
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    given = json.load(sys.stdin)
    try:
        judge = read(given["kind"], given["expected"])
    except MemoryError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the check's
        text = str(error) if str(error) == NO_VALUE else f"{type(error).__name__}: {error}"
        json.dump({"broken": text[:SAID_CHARACTERS]}, sys.stdout)
        return
    try:
        why = judge(given["answer"])
    except MemoryError:
        return
    except Exception as error:  # noqa: BLE001 - its words may quote the answer
        json.dump({"broken": f"the check fails with {type(error).__name__}"}, sys.stdout)
        return
    json.dump({"why": why[:SAID_CHARACTERS]}, sys.stdout)


if __name__ == "__main__":
    main()
