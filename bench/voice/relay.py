"""What the relay adds to each frame of a spoken conversation and to the wait for its answers, and what a frame costs
the server, on one core.

`BENCH_SESSIONS` (1,100), `BENCH_SECONDS` (10) of each. Every conversation sends and gets a frame of 20 ms every 20 ms.
Before them, `BENCH_TURNS` (50) of one conversation: from the end of speech to the first sound of the answer.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import psutil
import uvloop

from bench.stand import OTHER_CORE, SERVER_CORE
from bench.voice.talk import Provider, Talks, Timed, timed
from bench.voice.turns import Answerer, first_sounds_ms
from tests.e2e.server import REAL_TIMES, Installation
from tests.services.valkey import ValkeyServer, free_url

MARKS_MS = {1: 5.0, 100: 15.0}  # added to a frame, p99
FIRST_SOUND_MARK_MS = 20.0  # added to the first sound of an answer, p95
PRICES = {"kind": "realtime", "audio_input_price": "0.0001", "audio_output_price": "0.0001"}


def main() -> bool:
    """Whether every mark was met."""
    os.sched_setaffinity(0, {OTHER_CORE})
    seconds = float(os.environ.get("BENCH_SECONDS", "10"))
    counts = [int(word) for word in os.environ.get("BENCH_SESSIONS", "1,100").split(",")]
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="komilion-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        valkey = ValkeyServer(folder, free_url())
        valkey.start()
        stack.callback(valkey.kill)
        (folder / "data").mkdir(mode=0o700)
        installation = Installation(
            folder,
            database_url=f"sqlite:///{folder}/data/komilion.sqlite3",
            valkey_url=valkey.url,
            settings=REAL_TIMES,
            web_core=SERVER_CORE,
        )
        stack.callback(installation.close)
        return uvloop.run(_measure(installation, counts, seconds))


async def _measure(installation: Installation, counts: list[int], seconds: float) -> bool:
    talks = Talks()

    def accept() -> Provider:
        return talks.accept()  # of the talks that are under way

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    installation.migrate()
    installation.add_provider("talk", f"http://127.0.0.1:{port}/v1")
    installation.add_model("talk/on", "talk", "on", **PRICES)
    answering = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", 0)
    turns_port = answering.sockets[0].getsockname()[1]
    installation.add_provider("turn", f"http://127.0.0.1:{turns_port}/v1")
    installation.add_model("turn/on", "turn", "on", **PRICES)
    key = installation.tenant("bench@example.com", "1000.00")
    installation.start()
    process = psutil.Process(installation.web.pid)
    is_good = await _measure_turns(turns_port, installation.port, key)
    for count in counts:
        talks = Talks()
        await _talk(talks, count, port, "/v1/realtime?model=on", "none", seconds)
        direct = [timed(talks.ups), timed(talks.downs)]
        talks.close()
        talks = Talks()
        before = process.memory_info().rss
        cpu = process.cpu_times()
        began_s = asyncio.get_running_loop().time()
        half = asyncio.get_running_loop().create_task(_memory_at(process, seconds / 2))
        await _talk(talks, count, installation.port, "/v1/realtime?model=talk/on", key, seconds)
        used = process.cpu_times()
        took_s = asyncio.get_running_loop().time() - began_s
        relayed = [timed(talks.ups), timed(talks.downs)]
        cpu_s = used.user + used.system - cpu.user - cpu.system
        end = process.memory_info().rss
        grown = (await half - before, end - await half)
        talks.close()
        is_good &= _show(count, direct, relayed, cpu_s / took_s, cpu_s, grown)
    server.close()
    answering.close()
    return is_good


async def _measure_turns(direct_port: int, port: int, key: str) -> bool:
    turns = int(os.environ.get("BENCH_TURNS", "50"))
    direct = await first_sounds_ms(direct_port, "/v1/realtime?model=on", "none", turns)
    relayed = await first_sounds_ms(port, "/v1/realtime?model=turn/on", key, turns)
    (bare50, bare95), (through50, through95) = (
        (took[len(took) // 2], took[len(took) * 95 // 100]) for took in (direct, relayed)
    )
    print(
        f"end of speech to first sound, {turns} turns: direct p50 {bare50:.2f} p95 {bare95:.2f} ms, relayed p50"
        f" {through50:.2f} p95 {through95:.2f} ms: added p95 {through95 - bare95:.2f} ms"
    )
    sys.stdout.flush()
    return through95 - bare95 <= FIRST_SOUND_MARK_MS


async def _memory_at(process: psutil.Process, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return int(process.memory_info().rss)


async def _talk(talks: Talks, count: int, port: int, path: str, key: str, seconds: float) -> None:
    for _ in range(count):
        await talks.open(port, path, key)
    await talks.run(seconds)


def _show(
    count: int, direct: list[Timed], relayed: list[Timed], load: float, cpu_s: float, grown: tuple[int, int]
) -> bool:
    frames = sum(way.sent for way in relayed)
    lost, misplaced = (sum(getattr(way, name) for way in relayed) for name in ("lost", "misplaced"))
    print(f"{count} sessions, {frames} frames: lost {lost}, out of order {misplaced}")
    worst = 0.0
    for name, bare, through in zip(("up", "down"), direct, relayed, strict=True):
        added = through.p99 - bare.p99
        worst = max(worst, added)
        print(
            f"  {name:4}  direct p50 {bare.p50:.2f} p99 {bare.p99:.2f} ms, relayed p50 {through.p50:.2f}"
            f" p99 {through.p99:.2f} most {through.most:.1f} ms: added p99 {added:.2f} ms"
        )
    print(f"  CPU   {cpu_s / frames * 1e6:.1f} us a frame, {load:.0%} of the core")
    print(f"  memory grew by {grown[0] / 1e6:.1f} MB in the first half of the time, {grown[1] / 1e6:.1f} in the second")
    sys.stdout.flush()
    return lost == misplaced == 0 and worst <= MARKS_MS.get(count, 15.0)
