"""What the scripted upstream saw and would bill: one entry a call, in memory and as lines of JSON in a
file.

A call writes a line when it arrives and another when it ends, so a reader also learns of calls that
never ended. The file is flushed to the system with every line: it survives the death of any process,
which is all that the crash tests do to it.
"""

import json
import re
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

CALL_MARK = re.compile(r"\bcall=([\w.:-]+)")

type Outcome = Literal["running", "completed", "cancelled", "cut", "failed", "refused"]


@dataclass(frozen=True)
class Tokens:
    """What a provider bills for."""

    prompt: int = 0
    completion: int = 0


@dataclass
class Call:
    """One request as the provider sees it.

    `whole` is what the answer costs when it is written to its end, `billed` what the provider bills in fact:
    `completed` all of it; `cancelled` (the gateway left) what was written, or all where the provider does not
    stop for that; `cut` and `failed` (the provider broke off) what was written; `refused` nothing.
    """

    number: int
    arrived_at: float
    path: str
    model: str
    call_id: str  # the body's `user`, else `call=<id>` in the first message of a user
    attempt: int  # 1 for the first call with this id
    headers: dict[str, str]
    body: Any
    outcome: Outcome = "running"
    ended_at: float = 0.0
    frames_written: int = 0
    whole: Tokens = field(default_factory=Tokens)
    billed: Tokens = field(default_factory=Tokens)
    declared_usage: Any = None  # as it was sent, sense or nonsense; None: none was sent
    overrun: bool = False  # the script declares that it bills more than was asked for


def call_id_of(body: Any) -> str:
    """The test's own name for a call: gateways may drop `user`, but not what the user says."""
    if not isinstance(body, dict):
        return ""
    for message in body.get("messages") or ():
        if isinstance(message, dict) and message.get("role") == "user":
            found = CALL_MARK.search(json.dumps(message.get("content"), ensure_ascii=False))
            if found:
                return found[1]
            break
    return str(body.get("user") or "")


class Journal:
    """All calls of one upstream; safe to read from other threads."""

    def __init__(self, path: Path | None = None) -> None:
        self.calls: list[Call] = []
        self._attempts: Counter[str] = Counter()
        self._calls_of: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8") if path else None

    def arrived(self, path: str, headers: dict[str, str], body: Any) -> Call:
        """A new entry, still running."""
        model = str(body.get("model", "")) if isinstance(body, dict) else ""
        with self._lock:
            call_id = call_id_of(body)
            self._attempts[call_id] += 1
            attempt = self._attempts[call_id] if call_id else 1
            call = Call(len(self.calls), time.time(), path, model, call_id, attempt, headers, body)
            self.calls.append(call)
            self._calls_of[model] += 1
            self._write(call)
        return call

    def ended(self, call: Call, outcome: Outcome, billed: Tokens) -> None:
        """Close an entry; only the first time counts."""
        with self._lock:
            if call.outcome == "running":
                call.ended_at = time.time()
                call.billed = billed
                call.outcome = outcome  # last: whoever sees it sees the rest
                self._write(call)

    def attempts(self, call_id: str) -> int:
        """How often the provider was asked for this call."""
        return self._attempts[call_id]

    def earlier(self, call: Call) -> int:
        """How often its model was called before this last call of it."""
        return self._calls_of[call.model] - 1

    def close(self) -> None:
        """Close the file; entries stay readable."""
        if self._file:
            self._file.close()
            self._file = None

    def _write(self, call: Call) -> None:
        if self._file:
            self._file.write(json.dumps(asdict(call)) + "\n")
            self._file.flush()


def read_journal(path: Path) -> list[Call]:
    """The calls in a journal file, each as its last line has it; a line cut off by a crash is left out."""
    calls: dict[int, Call] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        entry["whole"], entry["billed"] = Tokens(**entry["whole"]), Tokens(**entry["billed"])
        calls[entry["number"]] = Call(**entry)
    return list(calls.values())
