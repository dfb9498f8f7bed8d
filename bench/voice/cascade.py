"""How long after the end of speech the cascade is heard, with the models of the machine itself.

`BENCH_TURNS` (20) of one conversation. A question is spoken in real time; what is measured begins with its last sample
and ends with the first sound of the answer, so the silence that tells the end of a turn is part of it.
"""

import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from bench.stand import CannotMeasure
from komilion.common.audio import pcm
from komilion.env import free_port
from tests.e2e.server import REAL_TIMES, Installation, Process
from tests.services.valkey import ValkeyServer, free_url
from tests.voice.spoken import MAN, spoken
from tests.waiting import wait_until

RATE_HZ = 24_000
FRAME = RATE_HZ // 50
SILENCE_MS = 500
QUESTIONS = ("What is the weather like today?", "Tell me a short story.", "How do you make a cup of tea?")
VOICES = (
    ("hears", "whisper-tiny.en", ("--kind", "transcription", "--second-price", "0.00001")),
    ("speaks", "espeak", ("--kind", "speech", "--character-price", "0.50")),
    ("thinks", "smollm2-135m-instruct", ("--input-price", "0.02", "--output-price", "0.06")),
)
# What is told on the way, and what has passed by then.
STEPS = {
    "input_audio_buffer.committed": "the turn is over",
    "conversation.item.input_audio_transcription.completed": "written down",
    "response.output_audio_transcript.delta": "the first sentence is there",
    "response.output_audio.delta": "the first sound",
}


def main() -> bool:
    """Always good: what it takes depends on the models."""
    if shutil.which("espeak-ng") is None:
        raise CannotMeasure("espeak-ng is missing: apt install espeak-ng")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="komilion-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        valkey = ValkeyServer(folder, free_url())
        valkey.start()
        stack.callback(valkey.kill)
        (folder / "data").mkdir(mode=0o700)
        database = f"sqlite:///{folder}/data/komilion.sqlite3"
        installation = Installation(folder, database_url=database, valkey_url=valkey.url, settings=REAL_TIMES)
        stack.callback(installation.close)
        key = _prepare(installation, stack, folder)
        return asyncio.run(_measure(installation, key, int(os.environ.get("BENCH_TURNS", "20"))))


def _prepare(installation: Installation, stack: ExitStack, folder: Path) -> str:
    """Models, a caller and the servers; the caller's key."""
    installation.migrate()
    port = free_port()
    command = (sys.executable, "manage.py", "local_models", "--port", str(port))
    models = Process(command, folder / "models.log", {**os.environ, "DATA_DIR": str(folder / "data")})
    models.start()
    stack.callback(models.kill)
    installation.add_provider("here", f"http://127.0.0.1:{port}/v1")
    for name, upstream, words in VOICES:
        at = ("--provider", "here", "--upstream-id", upstream)
        installation.manage("model", "add", f"here/{name}", *at, *words)
    key = installation.tenant("bench@example.com", "1000.00")
    installation.start()
    wait_until(lambda: _is_ready(port), 30, "the local models")
    return key


def _is_ready(port: int) -> bool:
    command = ["curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{port}/health"]
    return subprocess.run(command, check=False).returncode == 0


async def _measure(installation: Installation, key: str, turns: int) -> bool:
    url = f"ws://127.0.0.1:{installation.port}/v1/realtime?model=neo-mode/frugal"
    headers = {"Authorization": f"Bearer {key}"}
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    async with connect(url, additional_headers=headers, max_size=None, ping_interval=None) as socket:
        detection = {"type": "server_vad", "silence_duration_ms": SILENCE_MS}
        session: dict[str, Any] = {"type": "realtime", "max_output_tokens": 60}
        session |= {"instructions": "Answer in one short sentence.", "audio": {"input": {"turn_detection": detection}}}
        await socket.send(json.dumps({"type": "session.update", "session": session}))
        for turn in range(turns + 1):
            seen = await _turn(socket, QUESTIONS[turn % len(QUESTIONS)])
            for step, took_s in seen.items() if turn else ():  # the first one loads the models
                times[step].append(took_s * 1000)
    print(f"{turns} turns, {SILENCE_MS} ms of silence among them; from the end of speech, ms")
    for step, name in STEPS.items():
        if len(times[step]) > 1:
            cuts = statistics.quantiles(times[step], n=20, method="inclusive")
            print(f"  {name:28} p50 {cuts[9]:6.0f}   p95 {cuts[18]:6.0f}   of {len(times[step])}")
    return True


async def _turn(socket: ClientConnection, question: str) -> dict[str, float]:
    """Speak a question in real time; when each step was first told, in seconds after the end of speech."""
    loop = asyncio.get_running_loop()
    speech = spoken(question, MAN, RATE_HZ)
    last = int(np.flatnonzero(np.abs(speech) > 100)[-1])
    samples = np.concatenate([speech[:last], pcm.silence(SILENCE_MS + 400, RATE_HZ)])
    began_s = loop.time()
    ended_s = began_s + last / RATE_HZ

    async def speak() -> None:
        for number, start in enumerate(range(0, len(samples), FRAME), start=1):
            await asyncio.sleep(began_s + number * FRAME / RATE_HZ - loop.time())
            data = base64.b64encode(pcm.to_bytes(samples[start : start + FRAME])).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": data}))

    speaking = asyncio.create_task(speak())
    seen: dict[str, float] = {}
    while True:
        event = json.loads(await socket.recv())
        if event["type"] in STEPS:
            seen.setdefault(event["type"], loop.time() - ended_s)
        if event["type"] == "x_komilion.cost":
            await speaking
            return seen
