"""Where the web process spends its time under the same load: by thread, by package, by function.

BENCH_TARGET names who is asked: `komilion` (a model that is named), `capped`, or `chosen` (a policy).
py-spy samples whoever holds the interpreter's lock; the processor time of the threads is the kernel's own figure.
py-spy is no dependency: `.venv/bin/python -m pip install py-spy`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

from bench.load import Measured, Target, put_load
from bench.stand import CannotMeasure, Stand, stand

RATE_HZ = 400
SHOWN = 45
MANY = 64
PLACE = re.compile(r" \((.*?)(?::\d+)?\)$")
STANDARD = re.compile(r"^(asyncio|concurrent|threading|contextlib|dataclasses|json|hmac|random|typing|enum|<)")

type Stacks = Counter[tuple[str, ...]]


def main() -> bool:
    """Prints the figures; always true, since nothing is judged."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        raise CannotMeasure("py-spy is not installed: .venv/bin/python -m pip install py-spy")
    seconds = int(os.environ.get("BENCH_S", "10"))
    with stand() as running:
        target = _target(running)
        pid = target.pid
        before = _thread_s(pid)
        measured = put_load(target, MANY, seconds, running.folder)
        after = _thread_s(pid)
        print(f"without the profiler: {measured}")
        _report_threads(before, after, _names(pid))
        stacks = _sample(program, target, running.folder, seconds)
    _report(stacks, measured)
    return True


def _thread_s(pid: int) -> dict[int, float]:
    return {thread.id: thread.user_time + thread.system_time for thread in psutil.Process(pid).threads()}


def _names(pid: int) -> dict[int, str]:
    return {int(path.name): (path / "comm").read_text().strip() for path in Path(f"/proc/{pid}/task").iterdir()}


def _report_threads(before: dict[int, float], after: dict[int, float], names: dict[int, str]) -> None:
    spent = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    total = sum(spent.values()) or 1.0
    print("--- processor time by thread")
    for thread, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{100 * seconds / total:6.2f} %  {seconds:7.2f} s  {names.get(thread, '?')} ({thread})")


def _target(running: Stand) -> Target:
    targets = {"komilion": running.komilion, "capped": running.capped, "chosen": running.chosen}
    name = os.environ.get("BENCH_TARGET", "komilion")
    if name not in targets:
        raise CannotMeasure(f"BENCH_TARGET is one of {', '.join(targets)}")
    return targets[name]


def _sample(program: str, target: Target, folder: Path, seconds: int) -> Stacks:
    """Stacks, outermost first and headed by the thread, and how often each was seen."""
    path = folder / "profile.txt"
    command = [program, "record", "--pid", str(target.pid), "--rate", str(RATE_HZ), "--threads", "--gil"]
    command += ["--duration", str(seconds), "--format", "raw", "--output", str(path), "--function"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sampler:
        put_load(target, MANY, seconds, folder)
        sampler.wait()
    stacks: Stacks = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] += int(count)
    return stacks


def _package(frame: str) -> str:
    """The package of a frame's file; ours with one level more."""
    match = PLACE.search(frame)
    if match is None or STANDARD.match(match[1]):
        return "standard library"
    parts = match[1].split("/")
    return "/".join(parts[:2]) if parts[0] in {"billing", "komilion", "routing", "accounts"} else parts[0]


def _report(stacks: Stacks, measured: Measured) -> None:
    total = sum(stacks.values()) or 1
    tables: dict[str, Counter[str]] = {
        "by thread": Counter(),
        "own time, by package": Counter(),
        "own time, by function": Counter(),
        "with callees, by function": Counter(),
    }
    threads, packages, own, whole = tables.values()
    for stack, count in stacks.items():
        threads[stack[0]] += count
        packages[_package(stack[-1])] += count
        own[stack[-1]] += count
        for frame in set(stack[1:]):
            whole[frame] += count
    print(f"{total} samples; us: share of the {measured.cpu_us:.0f} us that a request costs")
    for title, counter in tables.items():
        print(f"--- {title}")
        for name, count in counter.most_common(SHOWN):
            print(f"{100 * count / total:6.2f} %  {measured.cpu_us * count / total:6.1f} us  {name}")
