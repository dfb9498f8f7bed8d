"""What tests of the cascade share: the gateway with models that hear, think and speak, a conversation with them whose
costs are compared with the wallet, and what is said in it.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from komilion.common.audio import pcm
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.replies import Reply
from tests.fakes.speech_server import SpeechReply
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, talking
from tests.voice.spoken import spoken

NAME = "neo-mode/frugal"
MANUAL = {"audio": {"input": {"turn_detection": None}}}
names = count(1)


@dataclass
class Cascade:
    """The gateway and its parts. Each test has models of its own, and none of others'."""

    stand: Stand
    speech: FakeOpenAIAudio

    @property
    def gateway(self) -> Gateway:
        return self.stand.gateway

    def parts(
        self, says: str | Reply = "It is sunny. Take a hat!", hears: SpeechReply | None = None, **options: Any
    ) -> str:
        """Models for a conversation; returns the id of the one that thinks."""
        self.gateway.forget_models()
        heard = self.speech.script(f"whisper-1.{next(names)}", hears or SpeechReply(text="How is the weather?"))
        spoken_by = self.speech.script(f"tts-1.{next(names)}", options.pop("speaks", SpeechReply()))
        self._voice(heard, "transcription", "--second-price", "0.0001")
        self._voice(spoken_by, "speech", *options.pop("speech_price", ("--character-price", "30")))
        reply = says if isinstance(says, Reply) else Reply(content=says, frames=4)
        model = self.gateway.add_model(reply, capabilities="tools", **options)
        self.gateway.wait_for_catalog()
        return model

    def _voice(self, upstream: str, kind: str, *price: str) -> None:
        name = f"acme/{kind}-{next(names)}"
        at = ("--provider", "speech-of-cascade", "--upstream-id", upstream)
        self.gateway.manage("model", "add", name, *at, "--kind", kind, *price)
        self.gateway._upstream_ids[name] = upstream

    def talk(self, tenant: Tenant, converse: Callable[[Talker], Any], name: str = NAME, **session: Any) -> Talker:
        """Hold a conversation; afterwards the wallet has lost what the events say, and nothing is held."""
        before = self.stand.balance_nano(tenant)
        held: list[Talker] = []

        async def run() -> None:
            async with talking(self.stand, tenant.key, name) as talker:
                held.append(talker)
                if session:
                    await talker.send("session.update", session={"type": "realtime", **session})
                    await talker.until("session.updated")
                await converse(talker)
            await eventually_equal(partial(self.stand.held_nano, tenant), 0)

        asyncio.run(run())
        assert before - self.stand.balance_nano(tenant) == held[0].cost_nano()
        return held[0]


async def append(talker: Talker, samples: pcm.Samples, step: int = 480) -> None:
    for start in range(0, len(samples), step):
        data = base64.b64encode(pcm.to_bytes(samples[start : start + step])).decode()
        await talker.send("input_audio_buffer.append", audio=data)


async def ask_in_text(talker: Talker, text: str = "How is the weather?") -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await talker.send("conversation.item.create", item=item)
    await talker.until("conversation.item.done")


def sound_of(talker: Talker) -> bytes:
    return b"".join(base64.b64decode(event["delta"]) for event in talker.of("response.output_audio.delta"))


def turn(pause_ms: int = 1_000) -> pcm.Samples:
    """A spoken question and the silence after it."""
    speech = spoken("How is the weather in Paris today?", "en-us+m3", 24_000)
    return np.concatenate([pcm.silence(300, 24_000), speech, pcm.silence(pause_ms, 24_000)])
