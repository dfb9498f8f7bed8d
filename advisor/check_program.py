"""A program: one check of one answer, as JSON on standard input and output. advisor.checks runs it, with limits.

Expressions and schemas are written by strangers and may take forever or all memory; here that is a process that is
killed. It imports nothing of ours.
"""

import json
import re
import resource
import sys

CPU_S = 1
MEMORY_BYTES = 1 << 29
SAID_CHARACTERS = 300


def check(kind: str, expected: str, answer: str) -> tuple[bool, str]:
    """Whether the answer passes, and what is wrong with it. Raises what a broken expression or schema raises."""
    if kind == "regex":
        return re.compile(expected).search(answer) is not None, "the expression matches nowhere in it"
    from jsonschema.validators import validator_for  # noqa: PLC0415 - only for this kind: it takes long to import
    from referencing import Registry  # noqa: PLC0415

    schema = json.loads(expected)
    validator = validator_for(schema)
    validator.check_schema(schema)
    try:
        value = json.loads(answer)
    except ValueError:
        return False, "it is no JSON"
    found = next(validator(schema, registry=Registry()).iter_errors(value), None)  # an empty registry fetches nothing
    return found is None, "" if found is None else found.message


def main() -> None:
    """Read, check, write."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    given = json.load(sys.stdin)
    try:
        passed, why = check(given["kind"], given["expected"], given["answer"])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the check's
        json.dump({"broken": f"{type(error).__name__}: {error}"[:SAID_CHARACTERS]}, sys.stdout)
        return
    json.dump({"passed": passed, "why": "" if passed else why[:SAID_CHARACTERS]}, sys.stdout)


if __name__ == "__main__":
    main()
