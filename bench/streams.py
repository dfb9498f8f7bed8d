"""A thousand streams at once on one core: memory for each, frames lost, errors, and whether the money is right."""

import os
import resource
import threading
from collections import Counter

import psutil

from bench.stand import Stand, stand
from tests.e2e.ledger_rows import LedgerRows
from tests.e2e.load import Kind, Received, call_at_once
from tests.e2e.oracle import Case, judge
from tests.e2e.server import UpstreamProcess
from tests.fakes.journal import Call

FRAMES, GAP_S = 40, 0.5
MOST_BYTES = 100_000
WARM_UP = 50
LOOK_EVERY_S = 0.1


def main() -> bool:
    """Whether nothing was lost and every mark was met."""
    streams = int(os.environ.get("BENCH_STREAMS", "1000"))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    with stand() as running:
        return _measure(running, streams)


def _measure(running: Stand, streams: int) -> bool:
    installation = running.installation
    upstream = UpstreamProcess(running.folder)
    try:
        installation.add_provider("drip", upstream.url)
        model = installation.add_model("drip/slow", "drip", f"drip,frames={FRAMES},gap={GAP_S}")
        quick = installation.add_model("drip/quick", "drip", "ok")
        key = running.komilion.key
        warm = call_at_once(installation.url, key, [Kind(quick, streamed=True)] * WARM_UP)
        before = _memory(running)
        peak = _Peak(running)
        received = call_at_once(installation.url, key, [Kind(model, streamed=True)] * streams)
        most = peak.stop()
        calls = upstream.calls()
    finally:
        upstream.stop()
    each = (most - before) / streams
    written = sum(call.frames_written for call in calls if call.model.startswith("drip"))
    lost = written - sum(call.frames for call in received)
    answered = sum(call.is_answer for call in received)
    print(f"streams            {answered} of {streams} answered, each in {FRAMES} frames over {FRAMES * GAP_S:.0f} s")
    print(f"memory             {each / 1000:.1f} kB a stream (mark: at most {MOST_BYTES / 1000:.0f})")
    print(f"frames lost        {lost} of {written}")
    _show_errors(received)
    _judge([*warm, *received], calls, installation.database_url)
    print(f"ledger             {installation.manage('ledger', 'verify')}")
    return answered == streams and lost == 0 and each <= MOST_BYTES


def _judge(received: list[Received], calls: list[Call], database_url: str) -> None:
    """The three journals agree; the stand's own first call has no id and no place in them."""
    rows = LedgerRows.read(database_url)
    checks = [row for row in rows.usage if not row.call_id]
    rows.usage = [row for row in rows.usage if row.call_id]
    rows.paid_in -= sum(row.charge for row in checks)
    for row in checks:
        del rows.holds[row.request_id]
    judge(Case(received, calls), rows)


def _show_errors(received: list[Received]) -> None:
    for (status, reason), count in Counter(
        (call.status, call.reason) for call in received if not call.is_answer
    ).items():
        print(f"error              {count} x {status} {reason}")


def _memory(running: Stand) -> int:
    return int(psutil.Process(running.komilion.pid).memory_info().rss)


class _Peak:
    """The most memory that the web process took, seen from a thread."""

    def __init__(self, running: Stand) -> None:
        self._running = running
        self._done = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self._most = max(self._most, _memory(self._running))

    def stop(self) -> int:
        """The figure in bytes."""
        self._done.set()
        self._thread.join()
        return self._most
