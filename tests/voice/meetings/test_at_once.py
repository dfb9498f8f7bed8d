"""Short meetings, answered at once: shapes, speakers, summaries, bills, and what is refused."""

import json
from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.replies import Reply
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.voice.meetings.conftest import MEETING, MINUTES, Meetings, talk
from tests.voice.meetings.jobs import uploaded, work
from tests.voice.speech.stand import MS_PRICE_NANO
from tests.voice.uploads.sending import send, ticket

TEXT = SpeechReply().text


def charge_of(cost_nano: int) -> int:
    return cost_nano + -(-cost_nano // 4)


CHARGE = charge_of(2_000 * MS_PRICE_NANO)


def test_anonymous(meetings: Meetings):
    assert meetings.send(None, talk()).status == 401
    assert meetings.ask(None, audioUrl="https://files.example/").status == 401


def test_utterances_with_speakers_words_and_the_bill(meetings: Meetings, nova: str):
    stand = meetings.stand
    two = stand.add_model(stand.script(stand.deepgram, "nova", SpeechReply(speakers=2)), capabilities="diarization")
    bob = meetings.gateway.tenant()
    answer = meetings.send(bob, talk(), model=two)
    assert answer.status == 200, answer.body
    body = answer.json
    assert body["duration"] == 2.0
    assert body["text"] == TEXT
    assert body["speakerSource"] == "provider"
    assert [speaker["name"] for speaker in body["speakers"]] == ["Speaker 0", "Speaker 1"]
    assert [said["speaker"] for said in body["utterances"]] == [0, 1]
    said = body["utterances"][0]
    assert set(said) == {"speaker", "start", "end", "confidence", "text", "words"}
    assert said["words"][0] == {"word": "Good", "start": 0.0, "end": 0.3, "confidence": 0.98}
    assert "summary" not in body
    assert body["cost_nano_usd"] == CHARGE
    assert body["cost_usd"] == CHARGE / 10**9
    assert body["x_komilion"]["models"] == [two]
    row = only_row(bob)
    assert (row.endpoint, row.charge_nano, row.usage) == ("meetings", CHARGE, {"audio_ms": 2_000})
    assert body["x_komilion"]["request_ids"] == [row.request_id] == [answer.headers["x-request-id"]]


def test_without_a_model_the_cheapest_that_tells_speakers_is_taken(meetings: Meetings, alice: Tenant, nova, whisper):
    body = meetings.send(alice, talk()).json
    capable = {nova, *(model for model in meetings.gateway._upstream_ids if model.startswith("acme/transcription"))}
    assert body["x_komilion"]["models"][0] in capable
    assert body["speakerSource"] == "provider"


def test_speakers_are_guessed_where_the_provider_hears_none(meetings: Meetings, alice: Tenant, whisper: str):
    body = meetings.send(alice, talk(3), model=whisper).json
    assert body["speakerSource"] == "heuristic"
    assert [speaker["id"] for speaker in body["speakers"]] == [0]


@pytest.mark.parametrize("speakers", [1, 2, 3])
def test_there_are_as_many_speakers_as_is_said(meetings: Meetings, alice: Tenant, whisper: str, speakers: int):
    voices = (sounds.tone(3, hertz, rate_hz=8_000) for hertz in (440, 660, 880))
    talk_of_three = sounds.wav(b"".join(voices), rate_hz=8_000)
    body = meetings.send(alice, talk_of_three, model=whisper, speakers=str(speakers)).json
    assert (body["speakerSource"], len(body["speakers"])) == ("heuristic", speakers)
    assert body["x_komilion"]["adjusted"] == []


def test_how_many_speak_is_the_provider_s_business_where_it_hears_who_does(
    meetings: Meetings, alice: Tenant, nova: str
):
    body = meetings.send(alice, talk(), model=nova, speakers="3").json
    assert body["speakerSource"] == "provider"
    assert body["x_komilion"]["adjusted"] == [{"param": "speakers", "action": "dropped"}]


def test_nobody_is_named_where_nobody_asked(meetings: Meetings, alice: Tenant, nova: str):
    body = meetings.send(alice, talk(), model=nova, diarize="false").json
    assert (body["speakerSource"], body["speakers"]) == ("none", [])
    assert {said["speaker"] for said in body["utterances"]} == {None}
    assert "diarize" not in meetings.stand.deepgram.calls[-1].parameters


def test_the_language_is_found_out_or_named(meetings: Meetings, alice: Tenant, nova: str):
    assert meetings.send(alice, talk(), model=nova).json["language"] == "en"
    meetings.send(alice, talk(), model=nova, language="de")
    assert meetings.stand.deepgram.calls[-1].parameters["language"] == ["de"]


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_other_formats(meetings: Meetings, alice: Tenant, nova: str, form: str):
    import srt
    import webvtt

    answer = meetings.send(alice, talk(), model=nova, format=form)
    text = answer.body.decode()
    assert answer.status == 200
    assert float(answer.headers["x-komilion-cost"]) == CHARGE / 10**9
    if form == "srt":
        assert "Good morning, everybody." in " ".join(cue.content for cue in srt.parse(text))
    elif form == "vtt":
        assert webvtt.from_string(text).captions[0].voice == "Speaker 0"
    else:
        assert text == f"[00:00:00] Speaker 0: {TEXT}\n"
    assert answer.headers["content-type"].endswith("charset=utf-8")


def test_a_summary_by_neo_mode_is_billed_beside(meetings: Meetings, nova: str, writer: str):
    bob = meetings.gateway.tenant()
    body = meetings.send(bob, talk(), model=nova, summarize="true").json
    assert body["summary"] == MINUTES
    rows = {row.endpoint: row for row in usage_rows(bob)}
    assert set(rows) == {"meetings", "chat.completions"}
    assert rows["chat.completions"].requested_model == "neo-mode"
    assert body["cost_nano_usd"] == sum(row.charge_nano for row in rows.values())
    assert body["x_komilion"]["summary_cost_nano_usd"] == rows["chat.completions"].charge_nano
    text = meetings.send(bob, talk(), model=nova, summarize="true", format="text").body.decode()
    assert "Decisions\n- Raise the budget.\n" in text
    assert "- Write it down (Anna)" in text


def test_a_summary_that_fails_leaves_the_transcript(meetings: Meetings, nova: str, writer: str):
    bob = meetings.gateway.tenant(credit="0.00025")
    body = meetings.send(bob, talk(), model=nova, summarize="true").json
    assert body["text"] == TEXT
    assert body["summary"] is None
    assert body["summaryError"]["reason"] == "insufficient_balance"


def test_a_summary_without_a_shape_says_so(meetings: Meetings, nova: str, writer: str):
    meetings.gateway.upstream.script(meetings.gateway._upstream_ids[writer], Reply(content="They talked."))
    try:
        body = meetings.send(meetings.gateway.tenant(), talk(), model=nova, summarize="true").json
    finally:
        meetings.gateway.upstream.script(meetings.gateway._upstream_ids[writer], Reply(content=json.dumps(MINUTES)))
    assert body["summary"]["summary"] == "They talked."
    assert body["summaryError"]["reason"] == "not_structured"


def test_the_chats_of_a_summary_find_a_place_where_the_caller_has_only_one(meetings: Meetings, nova: str, writer: str):
    from accounts.models import ApiKey

    bob = meetings.gateway.tenant()
    ApiKey.objects.filter(organization_id=organization_id(bob)).update(limits={"parallel": 1})
    assert meetings.send(bob, talk(), model=nova, summarize="true").json["summary"] == MINUTES


def test_a_caller_has_limits(meetings: Meetings, nova: str):
    from accounts.models import ApiKey

    bob = meetings.gateway.tenant()
    ApiKey.objects.filter(organization_id=organization_id(bob)).update(limits={"requests_per_minute": 1})
    assert meetings.send(bob, talk(), model=nova).status == 200
    assert meetings.send(bob, talk(), model=nova).status == 429


def test_a_model_that_is_not_there_is_told_before_there_is_a_job(meetings: Meetings, alice: Tenant):
    answer = meetings.send(alice, talk(), model="acme/nobody", **{"async": "true"})
    assert (answer.status, answer.json["error"]["param"]) == (400, "model")


def test_an_upload_by_its_key(meetings: Meetings, alice: Tenant, charlie: Tenant, nova: str):
    where = ticket(meetings.gateway, alice)
    early = meetings.ask(alice, audioKey=where["audioKey"])
    assert (early.status, early.json["error"]["param"]) == (400, "audioKey")
    send(meetings.gateway, where, talk())
    assert meetings.ask(alice, audioKey=where["audioKey"], model=nova).json["text"] == TEXT
    for key in (where["audioKey"], "aud_" + "x" * 32):
        refused = meetings.ask(charlie, audioKey=key)
        assert refused.status == 404
        assert TEXT not in refused.body.decode()
    assert meetings.ask(alice, audioKey="../../etc/passwd").status == 400


def test_a_url_is_fetched_through_the_egress(meetings: Meetings, alice: Tenant, nova: str, settings, served: str):
    refused = meetings.ask(alice, audioUrl=served, model=nova)
    assert (refused.status, refused.json["error"]["reason"]) == (400, "url_refused")
    settings.EGRESS_ALLOW = ("127.0.0.1",)
    assert meetings.ask(alice, audioUrl=served, model=nova).json["text"] == TEXT
    missing = meetings.ask(alice, audioUrl=served + "x", model=nova)
    assert (missing.status, missing.json["error"]["reason"]) == (400, "url_unreachable")
    assert missing.json["error"]["param"] == "audioUrl"


@pytest.mark.parametrize("what", ["FETCH_MOST_BYTES", "FETCH_TIMEOUT_S"])
def test_a_url_that_takes_long_becomes_a_job(
    meetings: Meetings, alice: Tenant, nova: str, settings, served: str, monkeypatch, what: str
):
    from voice.meetings import serve

    settings.EGRESS_ALLOW = ("127.0.0.1",)
    with monkeypatch.context() as patched:
        patched.setattr(serve, what, 0)
        answer = meetings.ask(alice, audioUrl=served, model=nova)
    assert (answer.status, answer.json["status"]) == (202, "queued")
    assert work(answer.json["id"])
    assert meetings.job(alice, answer.json["id"]).json["result"]["text"] == TEXT


def test_an_upload_that_takes_long_becomes_a_job(meetings: Meetings, alice: Tenant, nova: str, monkeypatch):
    from voice.meetings import serve

    monkeypatch.setattr(serve, "FETCH_MOST_BYTES", 100)
    answer = meetings.ask(alice, audioKey=uploaded(meetings, alice, talk()), model=nova)
    assert answer.status == 202


@pytest.fixture
def served():
    """The address of a talk, on this machine."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            body = talk() if self.path == "/talk.wav" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/talk.wav"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "audio"),
        ({"audioKey": "aud_" + "x" * 32, "audioUrl": "https://files.example/"}, "audio"),
        ({"audio": "text"}, "audio"),
        ({"audioKey": 5}, "audioKey"),
        ({"audioUrl": "http://files.example/"}, "audioUrl"),
        ({"audioUrl": "https://files.example/", "format": "pdf"}, "format"),
        ({"audioUrl": "https://files.example/", "diarize": "maybe"}, "diarize"),
        ({"audioUrl": "https://files.example/", "speakers": 0}, "speakers"),
        ({"audioUrl": "https://files.example/", "speakers": 11}, "speakers"),
        ({"audioUrl": "https://files.example/", "speakers": True}, "speakers"),
        ({"audioUrl": "https://files.example/", "speakers": "two"}, "speakers"),
        ({"audioUrl": "https://files.example/", "speakers": "2" * 5_000}, "speakers"),
        ({"audioUrl": "https://files.example/", "speakers": 2, "diarize": False}, "speakers"),
        ({"audioUrl": "https://files.example/", "summarize": 1}, "summarize"),
        ({"audioUrl": "https://files.example/", "language": "e n"}, "language"),
        ({"audioUrl": "https://files.example/", "model": "a\nb"}, "model"),
        ({"audioUrl": "https://files.example/", "model": "acme/nobody"}, "model"),
        ({"audioUrl": "https://files.example/", "webhookUrl": "http://10.0.0.1/"}, "webhookUrl"),
        ({"audioUrl": "https://files.example/", "webhookUrl": "https://hooks.example/"}, "webhookUrl"),
    ],
)
def test_fields_are_checked_by_name(meetings: Meetings, alice: Tenant, fields: dict[str, Any], param: str):
    if fields.get("model") == "acme/nobody":
        answer = meetings.send(alice, talk(), model="acme/nobody")
    else:
        answer = meetings.ask(alice, **fields)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["param"] == param


def test_unknown_fields_are_ignored_and_named(meetings: Meetings, alice: Tenant, nova: str):
    body = meetings.send(alice, talk(), model=nova, speakers="2").json
    assert body["x_komilion"]["adjusted"] == [{"param": "speakers", "action": "dropped"}]


def test_another_body_than_form_and_json(meetings: Meetings, alice: Tenant):
    assert meetings.stand.post(MEETING, alice, b"RIFF", "audio/wav").status == 415


def test_more_than_4_mb_belongs_into_an_upload(meetings: Meetings, alice: Tenant):
    answer = meetings.send(alice, b"x" * (4 * 2**20 + 1))
    assert (answer.status, answer.json["error"]["param"]) == (413, "audio")
    assert meetings.send(alice, b"x" * (5 * 2**20)).status == 413


@pytest.mark.parametrize("audio", [b"", b"not audio at all", talk()[:44]])
def test_what_is_no_audio_is_refused_and_costs_nothing(meetings: Meetings, audio: bytes, nova: str):
    bob = meetings.gateway.tenant()
    answer = meetings.send(bob, audio, model=nova)
    assert answer.status in {400, 415}, answer.body
    assert usage_rows(bob) == []


def test_a_provider_that_fails_costs_nothing(meetings: Meetings):
    stand = meetings.stand
    broken = stand.script(stand.deepgram, "nova", SpeechReply(error=(500, {"err_msg": "no"})))
    model = stand.add_model(broken, capabilities="diarization")
    bob = meetings.gateway.tenant()
    assert meetings.send(bob, talk(), model=model).status in {502, 503}
    assert only_row(bob).charge_nano == 0
    assert meetings.gateway.wallet(bob.email)["held"] == "0.00"


def test_an_empty_wallet(meetings: Meetings, gateway: Gateway, nova: str):
    assert meetings.send(gateway.tenant(credit="0"), talk(), model=nova).status == 402
