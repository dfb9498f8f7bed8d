"""A spoken conversation with nothing but what is on the machine: espeak-ng speaks, Whisper hears, SmolLM2 thinks."""

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect

from komilion.common.audio import pcm
from komilion.env import free_port
from tests.fakes.client import call
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, eventually_equal
from tests.voice.spoken import needs_espeak, spoken
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
QUESTION = "Good morning. Can you tell me a short story about a red boat?"
RATE_HZ = 24_000
_names = count(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), needs_espeak]


@pytest.fixture(scope="module")
def local_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The local model server; its base URL."""
    port = free_port()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    log = tmp_path_factory.mktemp("local-models") / "log"
    with log.open("wb") as output:
        command = [sys.executable, "manage.py", "local_models", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _status(url) == 200, 30, f"the local models, see {log}")
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _status(url: str) -> int:
    try:
        return call(url, "/health").status
    except OSError:
        return 0


@pytest.fixture
def alice(gateway: Gateway, local_models: str) -> Tenant:
    """Somebody at a gateway whose only models are the local ones."""
    name = f"on-this-machine-{next(_names)}"
    gateway.add_provider(name, base_url=local_models)
    at = ("--provider", name, "--upstream-id")
    for model, kind, prices in (
        ("whisper-tiny.en", "transcription", ("--second-price", "0.00001")),
        ("espeak", "speech", ("--character-price", "0.5")),
    ):
        gateway.manage("model", "add", f"here/{model}", *at, model, "--kind", kind, *prices)
        gateway._upstream_ids[f"here/{model}"] = model
    thinks = {"input_price": "0.02", "output_price": "0.06", "context": 4_096, "max_output": 1_024}
    gateway.add_model("smollm2-135m-instruct", "here/smollm2", provider=name, **thinks)
    gateway.wait_for_catalog()
    return gateway.tenant(credit="5.00")


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_a_question_is_heard_answered_and_spoken_and_paid_exactly(stand: Stand, alice: Tenant) -> None:
    wishes = {"policy": "frugal", "voice": "echo", "instructions": "Answer in one short sentence."}
    ticket = call(stand.gateway.url, "/api/voice/realtime", alice.key, wishes).json
    assert 0 < float(ticket["estimatedCostPerMinute"]) < 0.01
    before = stand.balance_nano(alice)
    question = np.concatenate([spoken(QUESTION, "en-us+m3", RATE_HZ), pcm.silence(1_000, RATE_HZ)])

    async def converse() -> Talker:
        url = stand.url(ticket["url"][ticket["url"].index("/ws/") :])
        async with connect(url, max_size=None) as socket, asyncio.timeout(120):
            talker = Talker(socket)
            await talker.until("session.created")
            config = {**ticket["sessionConfig"], "max_output_tokens": 40}
            await talker.send("session.update", session=config)
            for start in range(0, len(question), 480):
                piece = base64.b64encode(pcm.to_bytes(question[start : start + 480])).decode()
                await talker.send("input_audio_buffer.append", audio=piece)
            while not talker.of("x_komilion.cost"):
                await talker.next(60)
        await eventually_equal(partial(stand.held_nano, alice), 0)
        return talker

    talker = asyncio.run(converse())
    (transcript,) = talker.of("conversation.item.input_audio_transcription.completed")
    assert {"good", "morning", "short", "story"} <= words_of(transcript["transcript"])
    answer = talker.of("response.output_audio_transcript.done")[0]["transcript"]
    assert answer.strip()
    audio = b"".join(base64.b64decode(event["delta"]) for event in talker.of("response.output_audio.delta"))
    samples = pcm.from_bytes(audio)
    assert len(samples) / RATE_HZ > 0.5
    assert -30 < pcm.level_dbfs(samples) < -10
    assert pcm.clipped_share(samples) < 0.001
    paid = before - stand.balance_nano(alice)
    assert paid == talker.cost_nano() > 0
    parts = {part["model"] for event in talker.of("x_komilion.cost") for part in event["parts"]}
    assert parts == {"here/whisper-tiny.en", "here/smollm2", "here/espeak"}
