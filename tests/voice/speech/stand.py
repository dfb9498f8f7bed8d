"""A live gateway with the scripted Deepgram and the scripted OpenAI behind it, and models of theirs."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.fakes import deepgram, openai_audio
from tests.fakes.client import Answer, call
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.speech_server import SpeechReply, SpeechServer
from tests.stand import Gateway, Tenant

SECOND_PRICE = "0.0001"  # US dollars for a second that is heard
MS_PRICE_NANO = 100  # the same, nano-USD for a millisecond
CHARACTER_PRICE = "30"  # US dollars for a million characters
CHARACTER_PRICE_NANO = 30_000
TOKEN_PRICES = {"audio_input_price": "2.50", "input_price": "2.50", "output_price": "10", "prices": "given"}
_names = count(1)


@dataclass
class SpeechStand:
    """The gateway, the two providers, and what an operator adds to the catalogue."""

    gateway: Gateway
    deepgram: FakeDeepgram
    openai: FakeOpenAIAudio

    def add_model(
        self, upstream: str, *, kind: str = "transcription", name: str = "", prices: str = "", **options: str
    ) -> str:
        """A model at the provider whose fake knows `upstream`; returns its id, by default a new one.

        `options` are those of `manage.py model add`; with `prices="given"` the prices are among them.
        """
        name = name or f"acme/{kind}-{next(_names)}"
        provider = "fake-deepgram" if upstream.startswith(("nova", "aura")) else "fake-openai"
        usual = {"second_price": SECOND_PRICE} if kind == "transcription" else {"character_price": CHARACTER_PRICE}
        chosen = {"provider": provider, **({} if prices else usual), **options}
        words = [word for key, value in chosen.items() for word in (f"--{key.replace('_', '-')}", value)]
        self.gateway.manage("model", "add", name, "--upstream-id", upstream, "--kind", kind, *words)
        self.gateway._upstream_ids[name] = upstream  # so that it is forgotten with the others
        return name

    def own_provider(self, server: SpeechServer) -> str:
        """The same provider under another name and key: what becomes of its breaker is nobody else's trouble."""
        number = next(_names)
        is_deepgram = server is self.deepgram
        key, dialect = (deepgram.KEY, "deepgram") if is_deepgram else (openai_audio.KEY, "openai")
        where = ["--base-url", server.url, "--api-key", f"{key}-{number}", "--dialect", dialect]
        self.gateway.manage("provider", "add", f"own-{number}", *where)
        return f"own-{number}"

    def script(self, server: SpeechServer, base: str, reply: SpeechReply) -> str:
        """A new upstream model that answers like this; its name begins with `base`."""
        return server.script(f"{base}.{next(_names)}", reply)

    def post(
        self, path: str, who: Tenant | None, body: Any, content_type: str = "application/json", **headers: str
    ) -> Answer:
        """One request with this body."""
        sent = {"Content-Type": content_type, **headers}
        return call(self.gateway.url, path, who.key if who else None, body, sent)

    def transcribe(
        self, who: Tenant | None, audio: bytes, path: str = "/v1/audio/transcriptions", **fields: Any
    ) -> Answer:
        """One transcription by the plain client; a list is a field that is given several times."""
        body, content_type = form(fields, {"file": ("talk.wav", audio)})
        return self.post(path, who, body, content_type)


def charge_of(cost_nano: int) -> int:
    """The charge for what a provider takes: with our fee."""
    return cost_nano + -(-cost_nano // 4)


def nano_of(usd: str) -> int:
    """An amount of a header."""
    whole, _, fraction = usd.partition(".")
    return int(whole) * 10**9 + int(f"{fraction:0<9}")


def form(fields: dict[str, Any], files: dict[str, tuple[str, bytes]], boundary: str = "b0undary") -> tuple[bytes, str]:
    """A multipart body and its Content-Type."""
    parts = []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        parts += [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{each}'.encode() for each in values]
    for name, (filename, data) in files.items():
        head = (
            f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: audio/wav\r\n\r\n'
        )
        parts.append(head.encode() + data)
    marked = [b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts]
    body = b"".join(marked) + b"--" + boundary.encode() + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary}"


def at_both(gateway: Gateway, at_deepgram: FakeDeepgram, at_openai: FakeOpenAIAudio) -> SpeechStand:
    """Both are providers of the gateway."""
    there = ["--base-url", at_deepgram.url, "--api-key", deepgram.KEY, "--dialect", "deepgram"]
    gateway.manage("provider", "add", "fake-deepgram", *there)
    gateway.manage("provider", "add", "fake-openai", "--base-url", at_openai.url, "--api-key", openai_audio.KEY)
    return SpeechStand(gateway, at_deepgram, at_openai)
