"""`manage.py` as a process that stays: takes commands as lines of JSON, answers with lines of JSON.

Starting Django costs more than most commands; tests that run many of them start it once. The environment says
which installation the commands are for.
"""

import json
import os
import sys
from io import StringIO

import django
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections

from komilion.common.clock import monotonic_s


def run(arguments: list[str]) -> dict[str, object]:
    """One command; `ok` is what an exit code of 0 would be."""
    output = StringIO()
    try:
        call_command(*arguments, stdout=output)
    except CommandError as error:
        return {"ok": False, "output": f"{output.getvalue()}{error}"}
    finally:
        connections.close_all()
    return {"ok": True, "output": output.getvalue().strip()}


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what commands print past their stdout is no answer
    django.setup()
    for line in sys.stdin:
        started_s = monotonic_s()
        try:
            answer = run(json.loads(line))
        except Exception as error:  # noqa: BLE001 - the caller decides what it means
            answer = {"ok": False, "output": f"{type(error).__name__}: {error}"}
        answer["took_s"] = monotonic_s() - started_s
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
