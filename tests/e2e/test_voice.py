"""`/dashboard/voice` in a real browser, whose microphone plays a file: captions, sound, cost, interruption, trouble."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Browser, Person, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation
from tests.e2e.steps import owner
from tests.e2e.talking import SHORT, Stage, open_stage, speak_into, with_microphone
from tests.fakes.spoken_socket import Spoken

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LONG = Spoken("A ledger is a book in which every amount is written once.", seconds=20.0)
_numbers = count(1)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak_into(tmp_path_factory.mktemp("speech") / "speech.wav")


@pytest.fixture(scope="module")
def site(shared_install: Install, add_static_files: AddStaticFiles) -> Installation:
    installation = shared_install("sqlite")
    add_static_files(installation)
    installation.start()
    return installation


@pytest.fixture(scope="module")
def people(site: Installation, speech: Path) -> Iterator[Browser]:
    with browser(site.url, arguments=with_microphone(speech)) as running:
        yield running


@pytest.fixture
def alice(site: Installation, people: Browser) -> Iterator[Person]:
    """Another owner for each test, with money."""
    with people.person(cookies=owner(site, f"alice-{next(_numbers)}@example.com")) as person:
        yield person


WATCH = """() => {
  const state = document.getElementById("state");
  window.states = [state.textContent];
  const note = () => window.states.at(-1) !== state.textContent && window.states.push(state.textContent);
  new MutationObserver(note).observe(state, { childList: true });
}"""


def state(stage: Stage) -> Any:
    return stage.page.locator("#state")


class TestConversation:
    def test_what_is_said_is_heard_written_answered_and_charged(self, alice: Person):
        stage = open_stage(alice)
        page = stage.page
        expect(page.locator("#estimate")).to_have_text("about $0.031 a minute")
        stage.check_everywhere()
        page.get_by_label("Voice", exact=True).select_option("sage")
        page.get_by_label("Premium").check()
        page.get_by_label("Instructions").fill("Be brief.")
        stage.start()
        captions = page.get_by_role("log", name="Captions")
        expect(captions).to_contain_text("What is a ledger?")
        expect(captions).to_contain_text("A ledger is a book.")
        expect(page.locator("#spent")).to_have_text("$0.0012")
        expect(page.locator("#balance")).to_have_text("$8.99")
        expect(page.locator("#model")).to_have_text("openai/premium")
        assert stage.asked[-1] == {"policy": "premium", "voice": "sage", "instructions": "Be brief."}
        assert stage.socket.kinds()[0] == "session.update"
        expect(state(stage)).to_have_text("Listening")
        stage.check_everywhere()
        page.get_by_role("button", name="End", exact=True).click()
        expect(state(stage)).to_have_text("Ready")
        expect(page.get_by_text("The conversation has ended", exact=True)).to_be_visible()
        assert stage.socket.faults == []
        assert stage.socket.peak > 1_500

    def test_where_nobody_writes_down_what_is_heard_it_is_answered_all_the_same(self, alice: Person):
        stage = open_stage(alice)
        stage.writes = False
        stage.start()
        captions = stage.page.get_by_role("log")
        expect(captions).to_contain_text("A ledger is a book.")
        expect(captions).not_to_contain_text("What is a ledger?")
        expect(captions.locator(".caption--user").first).to_contain_text("(spoken, not written down)")
        turns = {"input": {"turn_detection": {"type": "server_vad"}}}
        assert stage.socket.seen[0]["session"] == {"type": "realtime", "audio": turns}, "the ticket says all else"
        assert stage.socket.faults == []

    def test_who_speaks_during_an_answer_interrupts_it(self, alice: Person):
        stage = open_stage(alice, LONG)
        stage.start()
        expect(state(stage)).to_have_text("Speaking")
        expect(stage.page.get_by_text("interrupted after").first).to_be_visible()
        cut = next(event for event in stage.socket.seen if event["type"] == "conversation.item.truncate")
        assert 200 < cut["audio_end_ms"] < 10_000, "what was heard, not what was sent"
        assert stage.socket.faults == []

    def test_a_muted_microphone_is_silent_and_is_heard_again(self, alice: Person):
        stage = open_stage(alice, Spoken("Yes.", seconds=0.2))
        stage.start()
        expect(state(stage)).to_have_text("Listening")
        stage.page.get_by_role("button", name="Mute", exact=True).click()
        expect(state(stage)).to_have_text("Muted")
        stage.visit.check()
        turns, stage.socket.peak = stage.socket.turns, 0.0
        before_s = stage.socket.appended_s
        stage.page.wait_for_function("() => new Promise(done => setTimeout(() => done(true), 4500))")  # a whole round
        assert stage.socket.appended_s > before_s + 3, "silence goes on, so that a sentence ends"
        assert stage.socket.peak < 100
        assert stage.socket.turns <= turns + 1, "at most the sentence that was begun before"
        stage.page.get_by_role("button", name="Unmute").click()
        expect(stage.page.get_by_role("status")).to_have_text("You are heard again.")

    def test_push_to_talk_hears_only_while_the_button_is_held(self, alice: Person):
        stage = open_stage(alice)
        page = stage.page
        page.get_by_label("Push to talk").check()
        stage.start()
        expect(state(stage)).to_have_text("Hold to talk")
        assert stage.socket.seen[0]["session"]["audio"]["input"]["turn_detection"] is None
        hold = page.locator("#hold")
        expect(hold).to_be_focused()
        page.wait_for_timeout(300)
        assert stage.socket.appended_s == 0
        page.evaluate(WATCH)
        page.keyboard.down("Space")
        expect(hold).to_have_text("You are heard")
        expect(hold).to_have_attribute("aria-pressed", "true")
        page.wait_for_timeout(600)
        page.keyboard.up("Space")
        expect(page.get_by_role("log")).to_contain_text("A ledger is a book.")
        expect(state(stage)).to_have_text("Hold to talk")
        assert page.evaluate("window.states") == ["Hold to talk", "Listening", "Thinking", "Speaking", "Hold to talk"]
        heard_s = stage.socket.appended_s
        hold.click()  # as short as this holds no word
        expect(hold).to_have_attribute("aria-pressed", "false")
        said = ["session.update", "input_audio_buffer.commit", "response.create", "input_audio_buffer.clear"]
        assert stage.socket.kinds() == said, "nothing was cut of what was heard to its end"
        assert 0.2 < heard_s < 3
        stage.visit.check()
        page.get_by_label("Push to talk").uncheck()
        expect(page.locator("#mute")).to_be_visible()
        expect(page.get_by_role("log")).to_contain_text("What is a ledger?")
        assert stage.socket.seen[-1]["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"
        assert stage.socket.faults == []

    def test_one_can_write_instead_and_without_a_microphone(self, alice: Person):
        stage = open_stage(alice, Spoken("A ledger is a book.", seconds=6.0, stays_open=True), SHORT)
        page = stage.page
        stage.start("Start without a microphone")
        text = page.get_by_label("Type instead of speaking")
        expect(text).to_be_focused()
        text.fill("What is a ledger?")
        text.press("Enter")
        captions = page.get_by_role("log")
        expect(captions).to_contain_text("What is a ledger?")
        expect(state(stage)).to_have_text("Speaking")
        text.fill("<b>Shorter</b>, please.")
        page.get_by_role("button", name="Send").click()  # while it speaks: it is interrupted
        expect(captions).to_contain_text("<b>Shorter</b>, please.")
        expect(captions).to_contain_text("interrupted after")
        expect(state(stage)).to_have_text("Listening")
        kinds = stage.socket.kinds()
        expected = ["conversation.item.create", "response.create", "response.cancel", "conversation.item.truncate"]
        assert kinds[1:] == [*expected, "conversation.item.create", "response.create"]
        assert (stage.socket.faults, stage.socket.appended_s) == ([], 0)
        stage.check_everywhere()

    def test_an_answer_can_be_stopped_and_the_end_waits_for_its_cost(self, alice: Person):
        stage = open_stage(alice, Spoken("On and on.", seconds=20.0, stays_open=True))
        page = stage.page
        stage.start("Start without a microphone")
        for _ in range(2):
            page.get_by_label("Type instead of speaking").fill("Go on.")
            page.get_by_role("button", name="Send").click()
            expect(state(stage)).to_have_text("Speaking")
            if stage.socket.turns == 1:
                page.get_by_role("button", name="Stop the answer").click()
                expect(state(stage)).to_have_text("Listening")
                expect(page.locator("#spent")).to_have_text("$0.0012")
        page.get_by_role("button", name="End", exact=True).click()
        expect(state(stage)).to_have_text("Ready")
        expect(page.locator("#spent")).to_have_text("$0.0024")
        assert stage.socket.faults == []


class TestTrouble:
    def test_why_a_microphone_is_silent_is_said(self, alice: Person):
        stage = open_stage(alice)
        said = {
            "NotAllowedError": "The microphone is blocked",
            "NotFoundError": "No microphone found",
            "NotReadableError": "The microphone is busy",
        }
        for name, words in said.items():
            script = (
                "name => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }"
            )
            stage.page.evaluate(script, name)
            stage.start()
            expect(stage.page.get_by_role("alert")).to_contain_text(words)
            expect(stage.page.get_by_role("button", name="Start talking")).to_be_enabled()
            stage.visit.check()
        stage.page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
        stage.start()
        expect(stage.page.get_by_role("alert")).to_contain_text("The page is not secure")
        assert stage.sockets == [], "nothing was opened, so nothing costs"

    def test_too_little_money_is_said_before_and_during_a_conversation(self, alice: Person):
        poor = {"error": {"message": "The balance of $0.00 does not cover it.", "reason": "insufficient_balance"}}
        stage = open_stage(alice, refusal=(402, poor))
        stage.visit.expected |= {"status of 402"}
        page = stage.page
        expect(page.get_by_role("alert")).to_contain_text("The balance of $0.00 does not cover it.")
        expect(page.get_by_role("alert").get_by_role("link", name="Open the wallet")).to_be_visible()
        stage.check_everywhere()
        stage.refusal = None
        stage.options["warn"] = True
        stage.start()
        expect(page.get_by_text("The wallet is nearly empty")).to_be_visible()
        stage.visit.check()
        stage.routes[-1].close(code=4402, reason="insufficient_balance")
        expect(page.get_by_role("alert")).to_contain_text("The wallet is empty")
        expect(state(stage)).to_have_text("Ready")
        stage.visit.check()

    def test_how_a_conversation_ended_is_said(self, alice: Person):
        stage = open_stage(alice)
        ways = [
            (1001, "session_expired", "The conversation reached its longest"),
            (1001, "session_idle", "Nobody spoke"),
            (1012, "server_stopped", "The server is being restarted"),
            (4401, "invalid_api_key", "This session is over"),
            (1011, "upstream_failed", "The conversation has ended"),
            (1006, "", "The connection broke"),
        ]
        for code, reason, words in ways:
            stage.start("Start without a microphone")
            expect(state(stage)).to_have_text("Listening")
            stage.routes[-1].close(code=code, reason=reason)
            expect(stage.page.locator("#notices")).to_contain_text(words)
            expect(stage.page.get_by_role("button", name="Start talking")).to_be_focused()
        stage.visit.check()

    def test_the_last_minute_is_told_and_a_failed_answer_ends_nothing(self, alice: Person):
        stage = open_stage(alice, Spoken("", error="The model is overloaded."), SHORT)
        stage.max_seconds = 30
        stage.start("Start without a microphone")
        expect(stage.page.get_by_text("The last minute")).to_be_visible()
        text = stage.page.get_by_label("Type instead of speaking")
        text.fill("Hello")
        text.press("Enter")
        expect(stage.page.locator("#notices")).to_contain_text("The model is overloaded.")
        text.fill("Again")
        text.press("Enter")
        expect(stage.page.get_by_role("log")).to_contain_text("A ledger is a book.")
        stage.visit.check()
