"""Meetings in a real browser: sent, cut and resumed, watched, listened to, searched, renamed, saved, deleted."""

import json
import re
import wave
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import srt
from playwright.sync_api import Page, Route, expect

from tests.e2e.browser import SCHEMES, WIDTHS, Browser, Person, Visit, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation
from tests.e2e.steps import end_meeting, owner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIST = "/dashboard/voice/meetings"
RATE = 16_000
PART = 8 * 2**20
NOBODY = "http://127.0.0.1:9/v1"
_numbers = count(1)


@pytest.fixture(scope="module")
def site(shared_install: Install, add_static_files: AddStaticFiles) -> Installation:
    installation = shared_install("sqlite")
    add_static_files(installation)
    installation.add_provider("acme", NOBODY)  # no worker runs, so nothing is asked
    ear = ("--kind", "transcription", "--second-price", "0.0001")
    installation.manage("model", "add", "acme/ear", "--provider", "acme", *ear)
    installation.add_model("acme/writer", "acme", "writer")
    installation.start()
    return installation


@pytest.fixture(scope="module")
def people(site: Installation) -> Iterator[Browser]:
    with browser(site.url, arguments=("--autoplay-policy=no-user-gesture-required",)) as running:
        yield running


@pytest.fixture
def alice(site: Installation, people: Browser) -> Iterator[Person]:
    """Another owner for each test."""
    with people.person(cookies=owner(site, f"alice-{next(_numbers)}@example.com")) as person:
        yield person


def recording(folder: Path, seconds: int, name: str = "stand-up.wav") -> Path:
    """A silent WAV."""
    path = folder / name
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * RATE * seconds))
    return path


def uploads(site: Installation) -> set[Path]:
    """Where the recordings lie that were sent so far, of whomever."""
    return set((site.folder / "data" / "uploads").glob("aud_*"))


def send(page: Page, file: Path) -> None:
    page.get_by_label("Recording", exact=True).set_input_files(file)
    page.get_by_role("button", name="Transcribe", exact=True).click()


def check_everywhere(visit: Visit) -> None:
    for scheme in SCHEMES:
        for width in WIDTHS:
            visit.look(width, scheme)
            visit.check()
    visit.look(WIDTHS[-1], "light")


def transcribed(site: Installation, person: Person, folder: Path) -> Visit:
    """A meeting of nine seconds, from its file to its page."""
    visit = person.visit(LIST)
    send(visit.page, recording(folder, 9))
    visit.page.wait_for_url(re.compile(f"{LIST}/job-"))
    end_meeting(site)
    expect(visit.page.get_by_role("heading", name="Transcript")).to_be_visible()
    return visit


class TestSending:
    def test_a_small_recording_becomes_a_transcript_while_one_watches(
        self, site: Installation, alice: Person, tmp_path: Path
    ):
        visit = alice.visit(LIST)
        page = visit.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(f"{request.method} {request.url.removeprefix(site.url)}"))
        page.get_by_label("Language").select_option("English")
        page.get_by_label("Summarize").uncheck()
        how_many = page.get_by_label("How many speak")
        how_many.select_option("3")
        page.get_by_label("Tell speakers apart").uncheck()
        expect(how_many).to_be_disabled()
        page.get_by_label("Tell speakers apart").check()
        check_everywhere(visit)
        send(page, recording(tmp_path, 9))
        page.wait_for_url(re.compile(f"{LIST}/job-"))
        look = "import tests.komilion.web.voice.meetings as m; m.demand_options(speakers=3, summarize=False)"
        site.manage("shell", "--no-imports", "-c", look)
        expect(page.get_by_role("heading", level=1)).to_contain_text("stand-up")
        expect(page.get_by_text("Waiting for its turn")).to_be_visible()
        check_everywhere(visit)
        end_meeting(site)
        expect(page.get_by_role("heading", name="Transcript")).to_be_visible()
        expect(page.locator("#job")).to_contain_text("done")
        assert "POST /api/voice/transcribe-meeting" in asked
        assert "POST /api/voice/upload" not in asked
        page.get_by_role("link", name="All meetings").click()
        expect(page.get_by_role("row", name="done")).to_be_visible()
        check_everywhere(visit)

    def test_a_large_one_goes_on_where_it_was_cut(self, site: Installation, alice: Person, tmp_path: Path):
        file = recording(tmp_path, 620, "assembly.wav")
        size = file.stat().st_size
        assert 2 * PART < size < 3 * PART
        before = uploads(site)
        visit = alice.visit(LIST)
        visit.expected |= {"Failed to load resource", "request failed"}
        page, cuts, seen = visit.page, [2], list[str]()

        def cut(route: Route) -> None:
            sent = route.request.headers.get("content-range", route.request.method)
            seen.append(sent)
            if sent.startswith(f"bytes {PART}-") and cuts[0]:
                cuts[0] -= 1
                route.abort("connectionreset")
            else:
                route.continue_()

        page.route("**/api/voice/audio/*", cut)
        send(page, file)
        page.wait_for_url(re.compile(f"{LIST}/job-"), timeout=30_000)
        expect(page.get_by_role("heading", level=1)).to_have_text("assembly.wav")
        first, second = f"bytes 0-{PART - 1}/{size}", f"bytes {PART}-{2 * PART - 1}/{size}"
        assert seen == [first, second, "HEAD", second, "HEAD", second, f"bytes {2 * PART}-{size - 1}/{size}"]
        assert [path.stat().st_size for path in uploads(site) - before] == [size]

    def test_what_stays_cut_waits_for_a_word_and_is_not_sent_twice(self, alice: Person, tmp_path: Path):
        visit = alice.visit(LIST)
        visit.expected |= {"Failed to load resource", "request failed"}
        page, is_cut = visit.page, [True]
        page.route("**/api/voice/audio/*", lambda route: route.abort() if is_cut[0] else route.continue_())
        page.evaluate(
            "() => setInterval(() => dispatchEvent(new Event('online')), 20)"
        )  # so that no pause is waited for
        send(page, recording(tmp_path, 200))
        expect(page.get_by_role("alert")).to_contain_text("The connection broke")
        check_everywhere(visit)
        is_cut[0] = False
        page.get_by_role("button", name="Go on sending").click()
        page.wait_for_url(re.compile(f"{LIST}/job-"))

    def test_a_file_that_is_dropped_is_taken_and_what_is_no_sound_is_refused(self, alice: Person, tmp_path: Path):
        visit = alice.visit(LIST)
        page = visit.page
        page.get_by_role("button", name="Transcribe", exact=True).click()
        expect(page.get_by_text("Choose a recording first.")).to_be_visible()
        drop = """name => {
            const data = new DataTransfer();
            data.items.add(new File(["x"], name, {type: ""}));
            for (const kind of ["dragover", "drop"]) {
                document.getElementById("drop").dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true}));
            }
        }"""
        page.evaluate(drop, "notes.docx")
        expect(page.locator("#file-error")).to_have_text("notes.docx is no sound and no video.")
        expect(page.get_by_label("Recording", exact=True)).to_have_attribute("aria-invalid", "true")
        visit.check()
        page.evaluate(drop, "talk.opus")
        expect(page.locator("#file-error")).to_be_hidden()
        assert page.evaluate("() => document.getElementById('file').files[0].name") == "talk.opus"

    def test_sending_can_be_stopped(self, alice: Person, tmp_path: Path):
        visit = alice.visit(LIST)
        page = visit.page
        page.route("**/api/voice/audio/*", lambda route: None)  # never answered
        send(page, recording(tmp_path, 200))
        expect(page.get_by_text("Sending stand-up.wav")).to_be_visible()
        check_everywhere(visit)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_role("button", name="Transcribe", exact=True)).to_be_visible()
        expect(page.get_by_label("Recording", exact=True)).to_be_enabled()


class TestTranscript:
    def test_is_heard_word_by_word_and_by_clicking(self, site: Installation, alice: Person, tmp_path: Path):
        visit = transcribed(site, alice, tmp_path)
        page = visit.page
        page.wait_for_function("() => document.getElementById('audio').readyState > 0")
        check_everywhere(visit)
        page.get_by_role("button", name="Play from 0:04").click()
        second = page.locator(".said").nth(1)
        expect(second).to_have_attribute("aria-current", "true")
        expect(second.locator(".is-now")).to_have_count(1)
        page.locator(".said").nth(2).get_by_text("do", exact=True).click()
        expect(page.locator(".is-now")).to_have_text(re.compile("do|<b>them</b>|tomorrow."))
        visit.check()
        assert page.evaluate("() => document.getElementById('audio').currentTime") > 6

    def test_names_are_kept_in_the_browser_and_saved(self, site: Installation, alice: Person, tmp_path: Path):
        visit = transcribed(site, alice, tmp_path)
        page = visit.page
        page.get_by_label("Speaker 1").fill("Bob <i>")
        expect(page.locator(".said").nth(0)).to_contain_text("Speaker 0")
        expect(page.locator(".said").nth(1)).to_contain_text("Bob <i>")
        page.reload()
        expect(page.locator(".said").nth(1)).to_contain_text("Bob <i>")
        saved = {}
        for name in ("TXT", "SRT", "VTT", "JSON"):
            with page.expect_download() as download:
                page.get_by_role("button", name=name).click()
            saved[name] = Path(download.value.path()).read_text()
            assert download.value.suggested_filename.endswith(f".{name.lower()}")
        assert "[00:00:04] Bob <i>: Who writes the notes?" in saved["TXT"]
        assert any("[Bob <i>]" in cue.content for cue in srt.parse(saved["SRT"]))
        assert "<v Bob &lt;i&gt;>Who writes the notes?" in saved["VTT"]
        assert json.loads(saved["JSON"])["speakers"][1]["name"] == "Bob <i>"
        page.get_by_label("Speaker 1").fill("")
        expect(page.locator(".said").nth(1)).to_contain_text("Speaker 1")

    def test_is_searched_over_the_borders_of_words(self, site: Installation, alice: Person, tmp_path: Path):
        visit = transcribed(site, alice, tmp_path)
        page = visit.page
        search = page.get_by_label("Search the transcript")
        search.fill("WRITES the N")
        expect(page.locator("#found")).to_have_text("1 found")
        expect(page.locator(".said:visible")).to_have_count(1)
        assert page.evaluate("() => CSS.highlights.get('found').size") == 1
        check_everywhere(visit)
        search.fill("nothing like it")
        expect(page.locator("#found")).to_have_text("0 found")
        search.fill("")
        expect(page.locator(".said:visible")).to_have_count(3)
        assert page.evaluate("() => CSS.highlights.has('found')") is False

    def test_a_recording_that_is_gone_is_replaced_by_a_file_of_ones_own(
        self, site: Installation, alice: Person, tmp_path: Path
    ):
        before = uploads(site)
        visit = transcribed(site, alice, tmp_path)
        page = visit.page
        for path in uploads(site) - before:
            path.write_bytes(b"no sound")
        visit.expected |= {"Failed to load resource", "status of 4"}
        page.reload()
        own = page.get_by_label("Listen along with the file on this device")
        expect(own).to_be_visible()
        own.set_input_files(recording(tmp_path, 9))
        page.wait_for_function("() => document.getElementById('audio').readyState > 0")
        page.get_by_role("button", name="Play from 0:06").click()
        expect(page.locator(".said").nth(2)).to_have_attribute("aria-current", "true")
        visit.check()

    def test_the_owner_deletes_it(self, site: Installation, alice: Person, tmp_path: Path):
        visit = transcribed(site, alice, tmp_path)
        path = visit.page.url.removeprefix(site.url)
        visit.page.locator("summary", has_text="Delete").click()
        visit.page.get_by_role("button", name="Delete it").click()
        visit.page.wait_for_url(f"**{LIST}")
        expect(visit.page.get_by_text("No meeting yet")).to_be_visible()
        alice.visit(path, status=404)

    def test_without_scripts_it_is_read_and_saved_all_the_same(
        self, site: Installation, people: Browser, alice: Person, tmp_path: Path
    ):
        path = transcribed(site, alice, tmp_path).page.url.removeprefix(site.url)
        with people.person(scripts=False, cookies=alice.cookies()) as plain:
            page = plain.visit(path).page
            expect(page.get_by_text("Who writes the notes?")).to_be_visible()
            with page.expect_download() as download:
                page.get_by_role("button", name="SRT").click()
            assert "[speaker 0]" in Path(download.value.path()).read_text()
            expect(plain.visit(LIST).page.get_by_text("Sending a recording needs JavaScript")).to_be_visible()
