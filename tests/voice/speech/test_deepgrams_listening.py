"""`/api/deepgram/stt`: audio in three ways, Deepgram's options in the query, and its shape whoever answers."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, SpeechStand, charge_of, form

TALK = sounds.wav(sounds.tone(2.0))
TEXT = SpeechReply().text
STT = "/api/deepgram/stt"
TALK_NANO = charge_of(2_000 * MS_PRICE_NANO)


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def whisper(stand: SpeechStand) -> str:
    return stand.add_model("whisper-1", capabilities="word_timestamps,translation")


@pytest.fixture
def files() -> Iterator[str]:
    """A server of files on this machine: `/talk.wav`, and 404 for everything else."""

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/talk.wav"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(TALK) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(TALK)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestDeepgramsWay:
    def test_audio_may_be_the_body(self, stand: SpeechStand, nova: str) -> None:
        bob = stand.gateway.tenant()
        path = f"{STT}?model={nova}&punctuate=true&utterances=true&diarize=true&search=Lund&search=Oslo"
        answer = stand.post(path, bob, TALK, "audio/wav")
        assert answer.status == 200, answer.body
        assert answer.json["results"]["channels"][0]["alternatives"][0]["transcript"] == TEXT
        assert answer.json["metadata"]["request_id"] == answer.headers["x-request-id"]
        assert answer.json["x_komilion"]["cost_nano_usd"] == TALK_NANO
        row = only_row(bob)
        assert (row.endpoint, row.charge_nano) == ("deepgram.stt", TALK_NANO)
        call = stand.deepgram.calls_of("nova-3")[-1]
        assert call.parameters["search"] == ["Lund", "Oslo"]
        assert call.content_type == "audio/wav"
        assert call.audio == TALK

    @pytest.mark.parametrize("name", ["audio", "file"])
    def test_audio_may_be_in_a_form(self, stand: SpeechStand, alice: Tenant, nova: str, name: str) -> None:
        body, content_type = form({"extra": "x"}, {name: ("a.wav", TALK)})
        answer = stand.post(f"{STT}?model={nova}", alice, body, content_type)
        assert answer.json["results"]["channels"][0]["alternatives"][0]["transcript"] == TEXT
        assert answer.json["x_komilion"]["adjusted"] == [{"param": "extra", "action": "dropped"}]

    def test_audio_may_be_behind_a_url_which_we_fetch(
        self, stand: SpeechStand, alice: Tenant, nova: str, files: str, settings: Any
    ) -> None:
        settings.EGRESS_ALLOW = ("127.0.0.1",)
        answer = stand.post(f"{STT}?model={nova}", alice, {"url": f"{files}/talk.wav"})
        assert answer.status == 200, answer.body
        assert stand.deepgram.calls_of("nova-3")[-1].audio == TALK
        missing = stand.post(f"{STT}?model={nova}", alice, {"url": f"{files}/none.wav"})
        assert (missing.status, missing.json["error"]["reason"]) == (400, "url_unreachable")

    def test_a_url_inside_is_refused(self, stand: SpeechStand, alice: Tenant, nova: str, files: str) -> None:
        answer = stand.post(f"{STT}?model={nova}", alice, {"url": f"{files}/talk.wav"})
        assert (answer.status, answer.json["error"]["reason"]) == (400, "url_refused")

    @pytest.mark.parametrize("body", [{}, {"url": ""}, {"url": 1}])
    def test_json_needs_a_url(self, stand: SpeechStand, alice: Tenant, body: Any) -> None:
        answer = stand.post(STT, alice, body)
        assert (answer.status, answer.json["error"]["param"]) == (400, "url")

    def test_a_form_needs_audio(self, stand: SpeechStand, alice: Tenant) -> None:
        answer = stand.post(STT, alice, *form({"a": "b"}, {}))
        assert (answer.status, answer.json["error"]["param"]) == (400, "audio")

    @pytest.mark.parametrize("query", ["callback=https://x.example", "callback_method=put"])
    def test_what_cannot_be_metered_is_refused(self, stand: SpeechStand, alice: Tenant, nova: str, query: str) -> None:
        answer = stand.post(f"{STT}?model={nova}&{query}", alice, TALK, "audio/wav")
        assert (answer.status, answer.json["error"]["param"]) == (400, query.partition("=")[0])

    def test_only_one_model_can_be_asked(self, stand: SpeechStand, alice: Tenant, nova: str, whisper: str) -> None:
        answer = stand.post(f"{STT}?model={nova}&model={whisper}", alice, TALK, "audio/wav")
        assert (answer.status, answer.json["error"]["param"]) == (400, "model")

    @pytest.mark.parametrize(
        "kind",
        [
            "text/html",
            "text/csv",
            "text/plain",
            "image/svg+xml",
            "audio/x+xml",
            "application/xml",
            "application/pdf",
        ],
    )
    def test_a_body_that_says_it_is_no_audio_is_415(self, stand: SpeechStand, nova: str, kind: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.post(f"{STT}?model={nova}", bob, TALK, f"{kind}; charset=utf-8")
        assert (answer.status, answer.json["error"]["reason"]) == (415, "unsupported_media_type")
        assert usage_rows(bob) == []

    @pytest.mark.parametrize(
        "kind", ["audio/wav; rate=24000", "Audio/X-WAV", "video/mp4", "application/octet-stream", ""]
    )
    def test_any_audio_and_what_says_nothing_is_looked_at(
        self, stand: SpeechStand, alice: Tenant, nova: str, kind: str
    ) -> None:
        assert stand.post(f"{STT}?model={nova}", alice, TALK, kind).status == 200

    def test_a_picture_that_is_called_audio_is_415(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        drawn = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        answer = stand.post(f"{STT}?model={nova}", alice, drawn, "audio/wav")
        assert (answer.status, answer.json["error"]["reason"]) == (415, "unsupported_audio")

    def test_a_parameter_that_nobody_knows_is_dropped_and_named(
        self, stand: SpeechStand, alice: Tenant, nova: str
    ) -> None:
        answer = stand.post(f"{STT}?model={nova}&tag=mine&ear=left", alice, TALK, "audio/wav")
        assert answer.headers["x-komilion-dropped"] == "tag, ear"

    def test_a_query_without_end_is_refused(self, stand: SpeechStand, alice: Tenant) -> None:
        path = f"{STT}?{'&'.join(['search=a'] * 100)}"
        assert stand.post(path, alice, TALK, "audio/wav").status == 400

    def test_somebody_else_answers_in_the_same_shape(self, stand: SpeechStand, alice: Tenant, whisper: str) -> None:
        answer = stand.post(f"{STT}?model={whisper}&diarize=true&redact=pci&keyterm=Lund", alice, TALK, "audio/wav")
        channel = answer.json["results"]["channels"][0]["alternatives"][0]
        assert channel["transcript"] == TEXT
        assert [word["punctuated_word"] for word in channel["words"]] == TEXT.split()
        assert answer.headers["x-komilion-dropped"] == "redact, diarize"
        assert stand.openai.calls_of("whisper-1")[-1].parameters["prompt"] == ["Lund"]

    def test_without_a_model_one_of_deepgrams_hears(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.post(STT, alice, TALK, "audio/wav")
        assert answer.headers["x-komilion-provider"] == "fake-deepgram"
