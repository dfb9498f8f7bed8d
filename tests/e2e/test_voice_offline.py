"""A whole conversation in the browser, and nothing pretended: its microphone plays a question, models of this machine
hear it, think and speak, and what they cost leaves the wallet.
"""

import re
import wave
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from komilion.common.audio import pcm
from tests.e2e.browser import Browser, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation
from tests.e2e.steps import sign_up, top_up
from tests.e2e.test_voice import with_microphone
from tests.voice.realtime.test_offline import local_models
from tests.voice.spoken import MAN, needs_espeak, spoken
from tests.waiting import wait_until

__all__ = ["local_models"]  # the fixture, of this file too

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs_espeak]

ALICE = "alice@example.com"
QUESTION = "Good morning. What is the capital of France?"
RATE_HZ = 48_000
PATIENCE_MS = 60_000
MODELS = (
    (
        "smollm2-135m-instruct",
        "chat",
        ("--input-price", "0.02", "--output-price", "0.06", "--context", "4096"),
    ),
    ("whisper-tiny.en", "transcription", ("--second-price", "0.00001")),
    ("espeak", "speech", ("--character-price", "0.5")),
)


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The question with silence around it; the browser plays it over and over."""
    path = tmp_path_factory.mktemp("question") / "question.wav"
    silence = pcm.silence(2_000, RATE_HZ)
    samples = np.concatenate([silence, spoken(QUESTION, MAN, RATE_HZ), *[silence] * 10])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm.to_bytes(samples))
    return path


@pytest.fixture
def site(install: Install, add_static_files: AddStaticFiles, local_models: str) -> Installation:
    """An installation that has nothing but this machine."""
    installation = install("sqlite")
    installation.environment |= {"TEST_PAYMENTS": "1", "TRIAL_CREDIT": "0"}
    add_static_files(installation)
    installation.add_provider("here", local_models)
    for name, kind, options in MODELS:
        more = ("--max-output", "1024") if kind == "chat" else ()
        where = ("--provider", "here", "--upstream-id", name, "--kind", kind)
        installation.manage("model", "add", f"here/{name}", *where, *options, *more)
    installation.start()
    return installation


@pytest.fixture
def people(site: Installation, question: Path) -> Iterator[Browser]:
    with browser(site.url, arguments=with_microphone(question)) as running:
        yield running


def test_a_question_is_spoken_heard_answered_aloud_and_paid(site: Installation, people: Browser):
    with people.person() as alice:
        top_up(site, sign_up(site, alice, ALICE))
        before = site.wallet(ALICE)["available"]
        visit = alice.visit("/dashboard/voice")
        page = visit.page
        page.get_by_label("Frugal").check()
        expect(page.locator("#estimate")).to_contain_text("a minute")
        page.get_by_label("Instructions").fill("Answer in one short sentence.")
        page.get_by_role("button", name="Start talking").click()
        captions = page.get_by_role("log", name="Captions")
        expect(captions).to_contain_text(re.compile("capital", re.IGNORECASE), timeout=PATIENCE_MS)
        expect(page.locator("#spent")).not_to_have_text("$0.00", timeout=PATIENCE_MS)
        page.get_by_role("button", name="End", exact=True).click()
        expect(page.locator("#state")).to_have_text("Ready")
        spent = Decimal(page.locator("#spent").inner_text().removeprefix("$"))
        visit.check()
    wait_until(lambda: site.wallet(ALICE)["held"] == 0, what="the hold to be free")
    paid = before - site.wallet(ALICE)["available"]
    assert abs(paid - spent) < Decimal("0.0001")
    assert paid > 0
    site.manage("ledger", "verify")
