"""Load by wrk, and what it cost the server: requests a second, CPU a request, latency."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

WARM_UP_S = 2
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
wrk.body = '{"model":"' .. os.getenv("MODEL") .. '","messages":['
  .. '{"role":"system","content":"You are a helpful assistant."},'
  .. '{"role":"user","content":"What is quantum computing? Explain it in simple terms please."}],'
  .. '"max_tokens":500,"temperature":0.7}'
"""
UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Target:
    """A server under test."""

    name: str
    url: str
    pid: int
    key: str
    model: str = "up/ok"


@dataclass(frozen=True)
class Measured:
    """What one round of load showed."""

    requests: int
    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    bad: int

    def __str__(self) -> str:
        bad = f"  {self.bad} BAD ANSWERS" if self.bad else ""
        return (
            f"{self.rate:8.0f} requests/s {self.cpu_us:6.0f} us CPU a request"
            f"   p50 {self.p50_ms:6.2f} ms  p99 {self.p99_ms:6.2f} ms{bad}"
        )


def cpu_s(pid: int) -> float:
    """Processor time of a process with all its threads, in user and kernel."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def put_load(target: Target, connections: int, seconds: int, folder: Path) -> Measured:
    """Warm up, then measure."""
    run_wrk(target, connections, WARM_UP_S, folder)
    before_s = cpu_s(target.pid)
    output = run_wrk(target, connections, seconds, folder)
    spent_s = cpu_s(target.pid) - before_s
    requests = int(_found(r"(\d+) requests in", output))
    return Measured(
        requests=requests,
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", output)),
        cpu_us=spent_s * 1e6 / max(requests, 1),
        p50_ms=_milliseconds(_found(r"\s50%\s+(\S+)", output)),
        p99_ms=_milliseconds(_found(r"\s99%\s+(\S+)", output)),
        bad=int(_found(r"Non-2xx[^\d]*(\d+)", output, "0")) + _socket_errors(output),
    )


def run_wrk(target: Target, connections: int, seconds: int, folder: Path) -> str:
    """One run of wrk; what it printed."""
    script = folder / "post.lua"
    script.write_text(SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), target.url]
    done = subprocess.run(
        command,
        env={**os.environ, "KEY": target.key, "MODEL": target.model},
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    return done.stdout


def _found(pattern: str, text: str, default: str | None = None) -> str:
    match = re.search(pattern, text)
    if match is None and default is not None:
        return default
    assert match is not None, f"wrk did not say {pattern}:\n{text}"
    return match[1]


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    assert match is not None, text
    return float(match[1]) * UNIT_MS[match[2]]


def _socket_errors(text: str) -> int:
    match = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return sum(map(int, match.groups())) if match else 0
