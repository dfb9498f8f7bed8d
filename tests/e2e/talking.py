"""A conversation on `/dashboard/voice` whose microphone plays a file and whose server is scripted."""

import json
import math
import random
import re
import struct
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.e2e.browser import SCHEMES, WIDTHS, Person, Visit
from tests.fakes.spoken_socket import CONFIG, Spoken, SpokenSocket

FILE_RATE = 48_000
SILENCE_S, SPEECH_S = 1.5, 1.5
SHORT = Spoken("A ledger is a book.", seconds=1.0)


def speak_into(path: Path) -> Path:
    """A WAV of silence, then something as loud and as unsteady as speech, then silence."""
    chance = random.Random(5)
    silent = [0] * int(SILENCE_S * FILE_RATE)
    spoken = []
    for at in range(int(SPEECH_S * FILE_RATE)):
        syllable = max(0.0, math.sin(math.tau * 4 * at / FILE_RATE))
        pitch = 140 + 30 * math.sin(math.tau * 0.7 * at / FILE_RATE)
        voice = sum(math.sin(math.tau * pitch * n * at / FILE_RATE) / n for n in range(1, 12))
        spoken.append(int(9_000 * syllable * (voice + 0.3 * chance.uniform(-1, 1)) / 2))
    samples = [*silent, *spoken, *silent]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, FILE_RATE, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *(max(-32_768, min(32_767, one)) for one in samples)))
    return path


def with_microphone(file: Path) -> tuple[str, ...]:
    """Arguments of a Chromium that hears this file, again and again."""
    return (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}",
    )


@dataclass
class Stage:
    """The page with a scripted server behind it."""

    visit: Visit
    answers: list[Spoken]
    options: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of POST /api/voice/realtime
    sockets: list[SpokenSocket] = field(default_factory=list)
    routes: list[WebSocketRoute] = field(default_factory=list)
    refusal: tuple[int, dict[str, Any]] | None = None
    max_seconds: int = 3_600
    writes: bool = True  # a model writes down what is heard
    session: dict[str, Any] = field(default_factory=dict)  # of the last ticket

    @property
    def page(self) -> Page:
        return self.visit.page

    @property
    def socket(self) -> SpokenSocket:
        return self.sockets[-1]

    def ticket(self, route: Route) -> None:
        """Answers POST /api/voice/realtime."""
        assert route.request.headers["authorization"].startswith("Bearer cs_")
        self.asked.append(route.request.post_data_json)
        if self.refusal is not None:
            status, body = self.refusal
            route.fulfill(status=status, json=body)
            return
        self.session = json.loads(json.dumps(CONFIG))
        self.session["audio"]["output"]["voice"] = self.asked[-1]["voice"]
        if self.writes:
            self.session["audio"]["input"]["transcription"] = {"model": "openai/gpt-4o-mini-transcribe"}
        body = {
            "url": f"{self.page.url.replace('http', 'ws', 1).split('/dashboard')[0]}/ws/voice/realtime?token=ek_once",
            "token": "ek_once",
            "expiresAt": "2026-11-30T12:00:00Z",
            "sessionConfig": self.session,
            "model": f"openai/{self.asked[-1]['policy']}",
            "audioFormat": {"encoding": "pcm16", "sampleRate": 24_000, "channels": 1},
            "estimatedCostPerMinute": 0.03067238,
            "maxSeconds": self.max_seconds,
        }
        route.fulfill(json=body)

    def connect(self, route: WebSocketRoute) -> None:
        """Answers the WebSocket."""
        socket = SpokenSocket(route.send, self.answers, config=self.session, **self.options)
        self.sockets.append(socket)
        self.routes.append(route)
        route.on_message(lambda message: socket.take(str(message)))

    def start(self, button: str = "Start talking") -> None:
        self.page.get_by_role("button", name=button).click()

    def check_everywhere(self) -> None:
        for scheme in SCHEMES:
            for width in WIDTHS:
                self.visit.look(width, scheme)
                self.visit.check()
        self.visit.look(WIDTHS[-1], "light")


def open_stage(person: Person, *answers: Spoken, refusal: tuple[int, dict[str, Any]] | None = None) -> Stage:
    """The page of somebody who is logged in."""
    return on_stage(person.visit("/dashboard/usage"), *answers, refusal=refusal)


def on_stage(visit: Visit, *answers: Spoken, refusal: tuple[int, dict[str, Any]] | None = None) -> Stage:
    """From another page of the dashboard to this one, whose sockets the script answers."""
    stage = Stage(visit, list(answers) or [SHORT], refusal=refusal)
    visit.page.route("**/api/voice/realtime", stage.ticket)
    visit.page.route_web_socket(re.compile("/ws/voice/realtime"), stage.connect)
    visit.page.get_by_role("link", name="Voice", exact=True).first.click()
    expect(visit.page.get_by_role("heading", level=1, name="Voice")).to_be_visible()
    return stage
