"""Meetings: the list, one with its transcript, its recording in pieces, its files, and their end."""

import json
from typing import Any

import pytest
import srt
import webvtt

from tests.komilion.web.voice.meetings import new_meeting, new_recording, result
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

LIST = "/dashboard/voice/meetings"


@pytest.fixture(autouse=True)
def folder(tmp_path, settings):
    settings.DATA_DIR = tmp_path


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def viewer(alice: Person) -> Person:
    return new_member("vera@example.com", alice.organization_id, "viewer")


def html_of(person: Person, path: str, **headers: str) -> str:
    answer = person.browser.get(path, headers=headers)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


class TestList:
    def test_says_how_one_begins_where_there_is_none(self, alice: Person):
        html = html_of(alice, LIST)
        assert "No meeting yet" in html
        assert "Drop a recording here" in html
        assert "hx-trigger" not in html

    def test_shows_each_with_its_state_and_asks_again_while_one_is_open(self, alice: Person):
        recording = new_recording(alice, name="stand-up <1>.wav")
        new_meeting(alice, upload=recording)
        new_meeting(alice, state="running", progress=40)
        new_meeting(alice, state="failed", error_reason="invalid_audio", error_message="It is damaged.")
        html = html_of(alice, LIST)
        assert "stand-up &lt;1&gt;.wav" in html
        for words in ("being transcribed", "40 %", "done", "failed", "$0.001234", "0:09"):
            assert words in html
        assert 'hx-trigger="every 4s"' in html

    def test_who_may_only_look_sees_no_form(self, viewer: Person):
        html = html_of(viewer, LIST)
        assert "You can look, not send" in html
        assert 'id="send"' not in html


class TestOne:
    def test_shows_transcript_speakers_and_summary(self, alice: Person, viewer: Person):
        job = new_meeting(alice)
        for person in (alice, viewer):
            html = html_of(person, f"{LIST}/{job.pk}")
            assert 'data-start="0.5"' in html
            assert ">here:</span>" in html
            assert "&amp;</span>" in html
            assert "<b>" not in html.partition("<main")[2].replace("<br>", "")
            for words in ("Speaker 0", "Speaker 1", "guessed from the sound", "Ship on Friday", "Write the notes"):
                assert words in html
            for words in ("Book a room", "Who pays?", "local/whisper-tiny.en"):
                assert words in html
            assert ("Delete it" in html) is (person is alice)

    def test_an_open_one_is_asked_for_until_it_ended(self, alice: Person):
        job = new_meeting(alice, state="running", progress=40)
        answer = alice.browser.get(f"{LIST}/{job.pk}", headers={"HX-Request": "true"})
        assert "40 % is transcribed" in answer.content.decode()
        assert 'hx-trigger="every 3s"' in answer.content.decode()
        assert "HX-Refresh" not in answer
        new = new_meeting(alice)
        assert alice.browser.get(f"{LIST}/{new.pk}", headers={"HX-Request": "true"})["HX-Refresh"] == "true"
        assert "HX-Refresh" not in alice.browser.get(f"{LIST}/{new.pk}")

    def test_what_is_left_to_be_done_after_hearing_is_called_so(self, alice: Person):
        job = new_meeting(alice, state="running", progress=85)
        html = html_of(alice, f"{LIST}/{job.pk}")
        assert "The summary is being written" in html
        assert "is transcribed" not in html

    @pytest.mark.parametrize(
        ("reason", "words"),
        [("not_structured", "Do not rely on this summary"), ("insufficient_balance", "The summary is not whole")],
    )
    def test_a_summary_that_is_not_as_it_should_be_says_so(self, alice: Person, reason: str, words: str):
        job = new_meeting(alice, told=result(summaryError={"reason": reason, "message": "This is why."}))
        html = html_of(alice, f"{LIST}/{job.pk}")
        assert words in html
        assert "This is why." in html
        assert words not in html_of(alice, f"{LIST}/{new_meeting(alice).pk}")

    def test_what_went_wrong_is_told_with_what_was_paid_for(self, alice: Person):
        told = result(partial=True, summary=None, summaryError={"reason": "x", "message": "No model answered."})
        job = new_meeting(
            alice, state="failed", told=told, error_reason="invalid_audio", error_message="It is damaged."
        )
        html = html_of(alice, f"{LIST}/{job.pk}")
        for words in ("It is damaged.", "This is a part of it", "No model answered.", ">here:</span>"):
            assert words in html

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"utterances": [], "speakers": [], "text": ""}, "No words were heard"),
            ({"utterances": [], "speakers": [], "text": "No times here."}, "No times here."),
        ],
    )
    def test_a_transcript_without_times_or_words_is_shown_too(self, alice: Person, changes: Any, words: str):
        job = new_meeting(alice, told=result(**changes, summary=None))
        assert words in html_of(alice, f"{LIST}/{job.pk}")

    def test_a_canceled_one_has_nothing_to_show(self, alice: Person):
        job = new_meeting(alice, state="canceled")
        assert 'id="transcript"' not in html_of(alice, f"{LIST}/{job.pk}")

    def test_the_player_is_there_as_long_as_the_recording(self, alice: Person):
        with_audio = new_meeting(alice, upload=new_recording(alice))
        assert f'src="{LIST}/{with_audio.pk}/audio"' in html_of(alice, f"{LIST}/{with_audio.pk}")
        without = new_meeting(alice)
        assert "Our copy of the recording is gone" in html_of(alice, f"{LIST}/{without.pk}")


class TestRecording:
    CONTENT = bytes(range(256)) * 6_000

    @pytest.fixture
    def address(self, alice: Person) -> str:
        return f"{LIST}/{new_meeting(alice, upload=new_recording(alice, self.CONTENT)).pk}/audio"

    @pytest.mark.parametrize(
        ("asked", "start", "end"),
        [("bytes=0-", 0, 2**20), ("bytes=5-9", 5, 10), ("bytes=1535990-", 1_535_990, 1_536_000)],
    )
    def test_comes_in_pieces_from_where_it_is_asked_for(
        self, alice: Person, address: str, asked: str, start: int, end: int
    ):
        answer = alice.browser.get(address, headers={"Range": asked})
        assert answer.status_code == 206
        assert answer.content == self.CONTENT[start:end]
        assert answer["Content-Range"] == f"bytes {start}-{end - 1}/1536000"
        assert answer["Content-Type"] == "audio/wav"

    @pytest.mark.parametrize(("asked", "status"), [("bytes=1536000-", 416), ("bytes=9-5", 416), ("", 400), ("x", 400)])
    def test_what_is_no_part_of_it_is_refused(self, alice: Person, address: str, asked: str, status: int):
        assert alice.browser.get(address, headers={"Range": asked}).status_code == status

    @pytest.mark.parametrize("kind", ["text/html", "audio/x+xml", "image/svg+xml"])
    def test_a_browser_is_given_no_document_of_a_stranger(self, alice: Person, kind: str):
        recording = new_recording(alice, b"<script>alert(1)</script>")
        type(recording).objects.update(content_type=kind)
        address = f"{LIST}/{new_meeting(alice, upload=recording).pk}/audio"
        answer = alice.browser.get(address, headers={"Range": "bytes=0-"})
        assert answer.status_code == 206
        assert answer["Content-Type"] == "application/octet-stream"
        assert (answer["X-Content-Type-Options"], answer["Content-Disposition"]) == ("nosniff", "attachment")

    def test_is_gone_with_its_file(self, alice: Person):
        job = new_meeting(alice)
        assert alice.browser.get(f"{LIST}/{job.pk}/audio", headers={"Range": "bytes=0-"}).status_code == 404


class TestExport:
    def saved(self, person: Person, form: str, names: str = "") -> Any:
        job = new_meeting(person)
        return person.browser.post(f"{LIST}/{job.pk}/export", {"format": form, "names": names})

    def test_captions_parse_and_carry_the_names(self, alice: Person):
        names = '{"1": "Bob"}'
        answer = self.saved(alice, "srt", names)
        assert answer["Content-Disposition"].endswith('.srt"')
        cues = list(srt.parse(answer.content.decode()))
        assert [cue.content.splitlines()[0] for cue in cues if cue.content.startswith("[")][:2] == [
            "[Speaker 0]",
            "[Bob]",
        ]
        voices = webvtt.from_string(self.saved(alice, "vtt", names).content.decode())
        assert [caption.voice for caption in voices][-2:] == ["Bob", "Speaker 0"]

    def test_text_has_the_summary_behind_it(self, alice: Person):
        text = self.saved(alice, "text", '{"0": "Ann", "1": ""}').content.decode()
        assert text.startswith("[00:00:00] Ann: Alice here")
        assert "[00:00:04] Speaker 1: Who writes" in text
        assert "Decisions\n- Ship on Friday\n" in text
        assert "- Write the notes (Alice)\n- Book a room\n" in text

    def test_json_is_that_of_the_api_with_the_names(self, alice: Person):
        answer = json.loads(self.saved(alice, "json", '{"0": "Ann"}').content)
        assert [speaker["name"] for speaker in answer["speakers"]] == ["Ann", "Speaker 1"]
        assert answer["utterances"] == json.loads(json.dumps(result()["answer"]["utterances"]))

    @pytest.mark.parametrize(
        ("form", "names"),
        [
            ("docx", ""),
            ("srt", "["),
            ("srt", "[" * 5_000),
            ("srt", '{"0": 5}'),
            ("srt", f'{{"0": "{"x" * 81}"}}'),
            ("srt", '{"0": "a\\u202eb"}'),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, alice: Person, form: str, names: str):
        assert self.saved(alice, form, names).status_code == 400

    def test_speakers_that_are_not_there_change_nothing(self, alice: Person):
        assert b"Nobody" not in self.saved(alice, "srt", '{"77": "Nobody", "x": "Nobody", "9999": "Nobody"}').content

    def test_a_transcript_without_speakers_is_saved_without_names(self, alice: Person):
        told = result()
        told["transcript"] = {"text": "No times here."}
        job = new_meeting(alice, told=told)
        answer = alice.browser.post(f"{LIST}/{job.pk}/export", {"format": "text", "names": '{"0": "Ann"}'})
        assert answer.content.decode().startswith("No times here.")

    def test_without_a_transcript_there_is_none_to_save(self, alice: Person):
        job = new_meeting(alice, state="canceled")
        assert alice.browser.post(f"{LIST}/{job.pk}/export", {"format": "srt"}).status_code == 409


class TestDelete:
    def test_an_open_one_is_canceled_and_one_that_ended_is_gone(self, alice: Person):
        job = new_meeting(alice, state="running")
        answer = alice.browser.post(f"{LIST}/{job.pk}/delete")
        assert (answer.status_code, answer["Location"]) == (302, f"{LIST}/{job.pk}")
        assert "canceled" in html_of(alice, f"{LIST}/{job.pk}")
        assert alice.browser.post(f"{LIST}/{job.pk}/delete")["Location"] == LIST
        assert alice.browser.get(f"{LIST}/{job.pk}").status_code == 404
