"""Speech into text over HTTP: shapes, bills, what is refused, what follows a failure. The providers are scripted."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import srt as srt_reader
import webvtt

from tests.fakes import openai_audio, sounds
from tests.fakes.client import Answer, RawCall
from tests.fakes.deepgram import error_body
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, TOKEN_PRICES, SpeechStand, charge_of, form, nano_of
from tests.waiting import wait_until

TALK = sounds.wav(sounds.tone(2.0))
TEXT = SpeechReply().text
URL = "/v1/audio/transcriptions"
STT = "/api/deepgram/stt"
PREFIXES = ("/v1", "/api", "/api/v1", "/api/gateway")
TALK_NANO = charge_of(2_000 * MS_PRICE_NANO)


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def whisper(stand: SpeechStand) -> str:
    return stand.add_model("whisper-1", capabilities="word_timestamps,translation")


@pytest.fixture(scope="module")
def by_tokens(stand: SpeechStand) -> str:
    return stand.add_model("gpt-4o-transcribe", capabilities="text_stream", **TOKEN_PRICES)


def events_of(answer: Answer) -> list[Any]:
    return [orjson.loads(event) for event in answer.events]


class TestShapes:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_json_has_the_text_and_the_bill(self, stand: SpeechStand, nova: str, prefix: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, f"{prefix}/audio/transcriptions", model=nova)
        assert answer.status == 200, answer.body
        assert answer.json["text"] == TEXT
        bill = {"cost": TALK_NANO / 10**9, "cost_nano_usd": TALK_NANO}
        assert answer.json["usage"] == {"type": "duration", "seconds": 2.0, **bill}
        note = answer.json["x_komilion"]
        assert (note["model"], note["provider"], note["settlement"]) == (nova, "fake-deepgram", "settled")
        assert note["requested_model"] == nova
        assert answer.headers["x-komilion-model"] == nova
        assert nano_of(answer.headers["x-komilion-cost"]) == TALK_NANO
        row = only_row(bob)
        assert (row.endpoint, row.model, row.charge_nano) == ("audio.transcriptions", nova, TALK_NANO)
        assert (row.usage, row.usage_source, row.outcome) == ({"audio_ms": 2_000}, "provider", "completed")
        assert row.detail["attempts"][0]["provider"] == "fake-deepgram"

    def test_text_is_the_text(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.transcribe(alice, TALK, model=nova, response_format="text")
        assert answer.body.decode() == f"{TEXT}\n"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert nano_of(answer.headers["x-komilion-cost"]) == TALK_NANO

    @pytest.mark.parametrize("model", ["nova", "whisper"])
    def test_captions_have_the_words_at_their_times(
        self, stand: SpeechStand, alice: Tenant, model: str, request: pytest.FixtureRequest
    ) -> None:
        name = request.getfixturevalue(model)
        in_srt = stand.transcribe(alice, TALK, model=name, response_format="srt")
        assert in_srt.headers["content-type"].startswith("application/x-subrip")
        cues = list(srt_reader.parse(in_srt.body.decode()))
        assert " ".join(cue.content for cue in cues) == TEXT
        assert cues[-1].end.total_seconds() <= 2.0
        in_vtt = stand.transcribe(alice, TALK, model=name, response_format="vtt")
        assert in_vtt.headers["content-type"].startswith("text/vtt")
        assert " ".join(cue.text for cue in webvtt.from_string(in_vtt.body.decode())) == TEXT

    @pytest.mark.parametrize("model", ["nova", "whisper"])
    def test_verbose_json_has_what_was_asked_for(
        self, stand: SpeechStand, alice: Tenant, model: str, request: pytest.FixtureRequest
    ) -> None:
        name = request.getfixturevalue(model)
        asked = {"model": name, "response_format": "verbose_json"}
        plain = stand.transcribe(alice, TALK, **asked).json
        assert plain["duration"] == 2.0
        assert " ".join(segment["text"] for segment in plain["segments"]) == TEXT
        assert "words" not in plain
        both = stand.transcribe(alice, TALK, **asked, **{"timestamp_granularities[]": ["word", "segment"]}).json
        assert [word["word"] for word in both["words"]] == TEXT.split()

    def test_diarized_json_tells_speakers_apart(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(speakers=2))
        model = stand.add_model(upstream, capabilities="word_timestamps,diarization")
        answer = stand.transcribe(alice, TALK, model=model, response_format="diarized_json")
        assert [segment["speaker"] for segment in answer.json["segments"]] == ["A", "B"]

    def test_speakers_of_openai(self, stand: SpeechStand, alice: Tenant) -> None:
        model = stand.add_model("gpt-4o-transcribe-diarize", capabilities="diarization", **TOKEN_PRICES)
        answer = stand.transcribe(alice, TALK, model=model, response_format="diarized_json")
        assert [segment["speaker"] for segment in answer.json["segments"]] == ["A", "B"]

    def test_a_translation_is_asked_for_as_one(self, stand: SpeechStand, whisper: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, "/v1/audio/translations", model=whisper)
        assert answer.json["text"] == TEXT
        assert stand.openai.calls_of("whisper-1")[-1].path == "/v1/audio/translations"
        assert only_row(bob).endpoint == "audio.translations"

    def test_options_reach_the_provider(self, stand: SpeechStand, alice: Tenant, whisper: str) -> None:
        stand.transcribe(alice, TALK, model=whisper, language="sv", prompt="Lund", temperature="0.5")
        parameters = stand.openai.calls_of("whisper-1")[-1].parameters
        assert (parameters["language"], parameters["prompt"], parameters["temperature"]) == (["sv"], ["Lund"], ["0.5"])

    def test_what_is_dropped_is_named(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.transcribe(alice, TALK, model=nova, prompt="Lund", best_of="5")
        dropped = [{"param": name, "action": "dropped"} for name in ("best_of", "prompt")]
        assert answer.json["x_komilion"]["adjusted"] == dropped
        assert answer.headers["x-komilion-dropped"] == "best_of, prompt"


class TestStreams:
    def test_text_comes_as_the_provider_hears_it(self, stand: SpeechStand, by_tokens: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, model=by_tokens, stream="true")
        assert answer.headers["content-type"].startswith("text/event-stream")
        *deltas, done = events_of(answer)
        assert "".join(event["delta"] for event in deltas).strip() == TEXT
        assert len(deltas) == len(TEXT.split())
        assert (done["type"], done["text"]) == ("transcript.text.done", TEXT)
        row = only_row(bob)
        assert done["usage"]["cost_nano_usd"] == done["x_komilion"]["cost_nano_usd"] == row.charge_nano > 0
        assert row.streamed

    def test_who_does_not_stream_is_one_delta(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        events = events_of(stand.transcribe(alice, TALK, model=nova, stream="true"))
        assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
        assert events[0]["delta"] == events[1]["text"] == TEXT

    def test_speakers_come_as_segments(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.transcribe(alice, TALK, model=nova, stream="true", response_format="diarized_json")
        assert [event["type"] for event in events_of(answer)] == [
            *("transcript.text.delta", "transcript.text.segment", "transcript.text.done")
        ]

    def test_one_that_breaks_off_ends_with_an_error_and_costs_nothing(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "gpt-4o-transcribe", SpeechReply(cut_after_bytes=120))
        model = stand.add_model(upstream, capabilities="text_stream", **TOKEN_PRICES)
        events = events_of(stand.transcribe(bob, TALK, model=model, stream="true"))
        assert events[0]["type"] == "transcript.text.delta"
        assert events[-1]["error"]["reason"] == "provider_error"
        row = only_row(bob)
        assert (row.outcome, row.charge_nano) == ("provider_cut", 0)

    def test_captions_cannot_be_streamed(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.transcribe(alice, TALK, model=nova, stream="true", response_format="srt")
        assert (answer.status, answer.json["error"]["param"]) == (400, "stream")


class TestBills:
    def test_tokens_are_charged_where_the_provider_counts_them(self, stand: SpeechStand, by_tokens: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, model=by_tokens)
        audio, said = 2 * openai_audio.TOKENS_A_SECOND, len(TEXT.split())
        row = only_row(bob)
        assert row.usage == {"input": 2, "input_audio": audio, "output": said}
        assert row.charge_nano == charge_of((2 + audio) * 2_500 + said * 10_000)
        assert answer.json["usage"]["output_tokens"] == said
        assert answer.json["usage"]["input_token_details"] == {"audio_tokens": audio, "text_tokens": 2}

    def test_of_a_price_in_both_units_what_the_provider_reports_is_charged(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model("gpt-4o-transcribe", **TOKEN_PRICES, second_price="0.0001")
        stand.transcribe(bob, TALK, model=model)
        assert "audio_ms" not in only_row(bob).usage

    @pytest.mark.parametrize("usage", ["none", "tokens"])
    def test_our_own_measure_is_charged_where_there_is_no_other(self, stand: SpeechStand, usage: Any) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model(stand.script(stand.openai, "gpt-x", SpeechReply(usage=usage)))
        stand.transcribe(bob, TALK, model=model)
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"audio_ms": 2_000}, "estimated")

    def test_tokens_that_nobody_counted_are_estimated(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model(stand.script(stand.openai, "gpt-x", SpeechReply(usage="none")), **TOKEN_PRICES)
        stand.transcribe(bob, TALK, model=model)
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"input_audio": 20, "output": 10}, "estimated")

    @pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "aac"])
    def test_a_file_of_any_kind_is_measured_before_it_goes_out(self, stand: SpeechStand, kind: str) -> None:
        data = sounds.encoded(sounds.tone(3.0), kind)
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(seconds=3.0))
        model = stand.add_model(upstream)
        poor = stand.gateway.tenant(credit="0.000300")
        refused = stand.transcribe(poor, data, model=model)
        assert refused.status == 402, refused.body
        assert stand.deepgram.calls_of(upstream) == []
        bob = stand.gateway.tenant(credit="0.0006")
        assert stand.transcribe(bob, data, model=model).status == 200
        assert only_row(bob).charge_nano == charge_of(3_000 * MS_PRICE_NANO)

    def test_each_channel_that_is_heard_apart_is_held_and_charged(self, stand: SpeechStand, nova: str) -> None:
        stereo = sounds.wav(sounds.tone(2.0), channels=2)  # a second of each
        poor = stand.gateway.tenant(credit="0.00020")
        path = f"{STT}?model={nova}&multichannel=true"
        assert stand.post(path, poor, stereo, "audio/wav").status == 402
        assert stand.post(f"{STT}?model={nova}", poor, stereo, "audio/wav").status == 200
        bob = stand.gateway.tenant()
        assert stand.post(path, bob, stereo, "audio/wav").status == 200
        assert only_row(bob).charge_nano == charge_of(2_000 * MS_PRICE_NANO)

    def test_more_than_was_held_is_charged_in_full(self, stand: SpeechStand) -> None:
        """The provider heard more than there is in the file: it is believed, and the wallet pays what it can."""
        bob = stand.gateway.tenant(credit="0.001")
        model = stand.add_model(stand.script(stand.deepgram, "nova-3", SpeechReply(seconds=60.0)))
        assert stand.transcribe(bob, TALK, model=model).status == 200
        assert only_row(bob).charge_nano == charge_of(60_000 * MS_PRICE_NANO)
        assert stand.transcribe(bob, TALK, model=model).status == 402


class TestWhoHears:
    def test_without_a_model_the_cheapest_that_can_is_named_in_a_header(self, stand: SpeechStand) -> None:
        cheap = stand.add_model("whisper-1", second_price="0.000001", prices="given")
        able = stand.add_model(
            "nova-3", second_price="0.000002", prices="given", capabilities="word_timestamps,diarization"
        )
        assert stand.transcribe(stand.gateway.tenant(), TALK).headers["x-komilion-model"] == cheap
        answer = stand.transcribe(stand.gateway.tenant(), TALK, response_format="srt")
        assert answer.headers["x-komilion-model"] == able

    def test_an_unknown_model_is_named_as_in_a_chat(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        answer = stand.transcribe(alice, TALK, model=f"{nova}x")
        assert (answer.status, answer.json["error"]["code"]) == (400, "model_not_found")
        assert nova in answer.json["error"]["message"]

    def test_a_model_of_another_kind_is_refused(self, stand: SpeechStand, alice: Tenant) -> None:
        model = stand.add_model("aura-2", kind="speech")
        answer = stand.transcribe(alice, TALK, model=model)
        assert (answer.status, answer.json["error"]["param"]) == (400, "model")

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            (URL, {"response_format": "srt"}),
            (URL, {"response_format": "diarized_json"}),
            (URL, {"response_format": "verbose_json", "timestamp_granularities[]": "word"}),
            ("/v1/audio/translations", {}),
        ],
    )
    def test_what_a_model_cannot_do_is_said(
        self, stand: SpeechStand, alice: Tenant, by_tokens: str, path: str, fields: dict[str, str]
    ) -> None:
        answer = stand.transcribe(alice, TALK, path, model=by_tokens, **fields)
        assert (answer.status, answer.json["error"]["param"]) == (400, "model")
        assert by_tokens in answer.json["error"]["message"]

    def test_a_key_may_be_kept_from_a_model(self, stand: SpeechStand, nova: str, whisper: str) -> None:
        from accounts.models import ApiKey
        from tests.routing.books import organization_id

        bob = stand.gateway.tenant()
        ApiKey.objects.filter(organization_id=organization_id(bob)).update(models_allowed=[whisper])
        answer = stand.transcribe(bob, TALK, model=nova)
        assert (answer.status, answer.json["error"]["reason"]) == (403, "model_not_allowed")
        assert stand.transcribe(bob, TALK).headers["x-komilion-model"] == whisper
        ApiKey.objects.filter(organization_id=organization_id(bob)).update(models_allowed=["acme/none"])


class TestFailures:
    def failing(self, stand: SpeechStand, reply: SpeechReply) -> str:
        upstream, provider = stand.script(stand.deepgram, "nova-3", reply), stand.own_provider(stand.deepgram)
        return stand.add_model(upstream, provider=provider)

    def check_free(self, stand: SpeechStand, tenant: Tenant) -> None:
        row = only_row(tenant)
        assert (row.outcome, row.charge_nano) == ("provider_failed", 0)
        wallet = stand.gateway.wallet(tenant.email)
        assert (wallet["available"], wallet["held"]) == ("10.00", "0.00")

    @pytest.mark.parametrize(
        ("error", "status", "reason"),
        [
            ((500, error_body("INTERNAL", "x")), 502, "provider_error"),
            ((503, "<html>"), 503, "provider_unavailable"),
            ((402, error_body("ASR_PAYMENT_REQUIRED", "Not enough credits.")), 503, "provider_unavailable"),
            ((401, error_body("INVALID_AUTH", "Invalid credentials.")), 502, "provider_rejected_credentials"),
            ((429, error_body("TOO_MANY_REQUESTS", "Later.")), 429, "rate_limited"),
            ((400, error_body("Bad Request", "corrupt or unsupported data")), 400, "invalid_request"),
            ((413, error_body("TOO_LARGE", "x")), 413, "payload_too_large"),
            ((415, error_body("TYPE", "x")), 415, "unsupported_media_type"),
        ],
    )
    def test_a_refusal_costs_nothing_and_says_what_it_means(
        self, stand: SpeechStand, error: Any, status: int, reason: str
    ) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, model=self.failing(stand, SpeechReply(error=error)))
        assert (answer.status, answer.json["error"]["reason"]) == (status, reason)
        assert ("retry-after" in answer.headers) == (status == 429)
        self.check_free(stand, bob)

    @pytest.mark.parametrize(
        "reply", [SpeechReply(cut_after_bytes=10), SpeechReply(body=b"<html>"), SpeechReply(body=b'{"results": {}}')]
    )
    def test_half_an_answer_or_none_costs_nothing(self, stand: SpeechStand, reply: SpeechReply) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, model=self.failing(stand, reply))
        assert (answer.status, answer.json["error"]["reason"]) == (502, "provider_error")
        self.check_free(stand, bob)

    @pytest.mark.parametrize(("path", "status"), [(URL, 408), ("/api/audio/transcriptions", 503)])
    def test_one_that_is_too_slow_is_given_up(
        self, stand: SpeechStand, monkeypatch: pytest.MonkeyPatch, path: str, status: int
    ) -> None:
        monkeypatch.setattr("voice.speech.listening.ANSWER_BASE_S", 0.05)
        monkeypatch.setattr("voice.speech.listening.HEARD_PER_S", 1_000.0)
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, path, model=self.failing(stand, SpeechReply(before_head_s=20)))
        assert answer.status == status
        self.check_free(stand, bob)

    def test_who_cannot_be_reached_leaves_no_row(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        stand.gateway.manage("provider", "add", "nowhere", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "x")
        model = stand.add_model("whisper-1", provider="nowhere")
        answer = stand.transcribe(bob, TALK, model=model)
        assert (answer.status, answer.json["error"]["reason"]) == (503, "provider_unavailable")
        assert usage_rows(bob) == []
        assert stand.gateway.wallet(bob.email)["held"] == "0.00"

    @pytest.mark.parametrize(
        "reply",
        [
            SpeechReply(error=(500, error_body("INTERNAL", "x"))),
            SpeechReply(error=(429, error_body("TOO_MANY_REQUESTS", "x"))),
            SpeechReply(error=(402, error_body("ASR_PAYMENT_REQUIRED", "x"))),
            SpeechReply(cut_after_bytes=10),
            SpeechReply(body=b"{}"),
        ],
    )
    def test_the_next_offer_of_the_model_answers(self, stand: SpeechStand, reply: SpeechReply) -> None:
        bob = stand.gateway.tenant()
        model = self.failing(stand, reply)
        stand.add_model("whisper-1", name=model)
        answer = stand.transcribe(bob, TALK, model=model)
        assert answer.status == 200, answer.body
        assert answer.headers["x-komilion-provider"] == "fake-openai"
        row = only_row(bob)
        assert (row.provider, row.charge_nano) == ("fake-openai", TALK_NANO)
        assert [each.get("error") is None for each in row.detail["attempts"]][-1]
        assert row.detail["attempts"][0]["provider"].startswith("own-")

    def test_what_the_caller_did_wrong_is_not_tried_elsewhere(self, stand: SpeechStand, alice: Tenant) -> None:
        model = self.failing(stand, SpeechReply(error=(400, error_body("Bad Request", "corrupt"))))
        stand.add_model(stand.script(stand.openai, "gpt-x", SpeechReply()), name=model)
        assert stand.transcribe(alice, TALK, model=model).status == 400

    def test_one_that_stumbles_is_asked_again(self, stand: SpeechStand, alice: Tenant) -> None:
        down = SpeechReply(error=(500, error_body("INTERNAL", "x")))
        model = self.failing(stand, SpeechReply(turns=(down, SpeechReply())))
        assert stand.transcribe(alice, TALK, model=model).status == 200

    def test_one_that_is_out_of_order_is_asked_last(self, stand: SpeechStand, alice: Tenant) -> None:
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(error=(402, error_body("PAYMENT", "x"))))
        model = stand.add_model(upstream, provider=stand.own_provider(stand.deepgram))
        stand.add_model("whisper-1", name=model)
        assert stand.transcribe(alice, TALK, model=model).status == 200
        before = len(stand.deepgram.calls_of(upstream))
        assert stand.transcribe(alice, TALK, model=model).status == 200
        assert len(stand.deepgram.calls_of(upstream)) == before

    def test_the_providers_key_is_never_shown(self, stand: SpeechStand, alice: Tenant) -> None:
        from tests.fakes import deepgram

        echo = {"err_code": "X", "err_msg": f"Bad Request: {deepgram.KEY} is wrong"}
        model = stand.add_model(stand.script(stand.deepgram, "nova-3", SpeechReply(error=(400, echo))))
        answer = stand.transcribe(alice, TALK, model=model)
        assert answer.status == 400
        assert deepgram.KEY not in answer.body.decode()


class TestLeaving:
    def test_who_leaves_is_charged_as_if_he_had_stayed(self, stand: SpeechStand) -> None:
        """The provider has the audio by then, and bills it."""
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(before_head_s=0.3))
        body, content_type = form({"model": stand.add_model(upstream)}, {"file": ("a.wav", TALK)})
        with RawCall(stand.gateway.url, bob.key, path=URL) as raw:
            head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bob.key}\r\n"
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.send(head.encode() + body)
            wait_until(lambda: bool(stand.deepgram.calls_of(upstream)), what="the provider to be asked")
            raw.leave(reset=True)
        row = only_row(bob)
        assert (row.outcome, row.charge_nano) == ("completed", TALK_NANO)

    def test_a_stream_is_heard_to_its_end_too(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        reply = SpeechReply(text="word " * 600, usage="tokens", between_pieces_s=0.05)
        upstream = stand.script(stand.openai, "gpt-4o-transcribe", reply)
        model = stand.add_model(upstream, capabilities="text_stream", **TOKEN_PRICES)
        body, content_type = form({"model": model, "stream": "true"}, {"file": ("a.wav", TALK)})
        with RawCall(stand.gateway.url, bob.key, path=URL) as raw:
            head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bob.key}\r\n"
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.send(head.encode() + body)
            raw.read_until(b"transcript.text.delta")
            raw.leave(reset=True)
        row = only_row(bob)
        assert (row.outcome, row.usage["output"]) == ("completed", 600)


class TestBodies:
    def check(self, answer: Answer, status: int, reason: str = "invalid_request", param: str | None = None) -> None:
        assert (answer.status, answer.json["error"]["reason"]) == (status, reason), answer.body
        if param is not None:
            assert answer.json["error"]["param"] == param

    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", "audio/wav"])
    def test_what_is_no_form_is_415(self, stand: SpeechStand, alice: Tenant, content_type: str) -> None:
        self.check(stand.post(URL, alice, b"{}", content_type), 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no form at all",
            form({"model": "x"}, {"file": ("a.wav", TALK)})[0][:-40],
            form({"model": "x"}, {"file": ("a.wav", TALK)})[0].replace(b"form-data; name", b"form-data; nome"),
            form({"model": "\x00"}, {"file": ("a.wav", TALK)})[0],
            form({f"f{number}": "x" for number in range(100)}, {"file": ("a.wav", TALK)})[0],
            form({"prompt": "x" * 70_000}, {"file": ("a.wav", TALK)})[0],
            form({"model": ["a", "b"]}, {"file": ("a.wav", TALK)})[0],
        ],
    )
    def test_a_malformed_form_is_400(self, stand: SpeechStand, alice: Tenant, body: bytes) -> None:
        self.check(stand.post(URL, alice, body, "multipart/form-data; boundary=b0undary"), 400)

    def test_a_form_without_a_boundary_is_400(self, stand: SpeechStand, alice: Tenant) -> None:
        self.check(stand.post(URL, alice, b"--x--", "multipart/form-data"), 400)

    def test_a_form_without_a_file_is_400(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        body, content_type = form({"model": nova}, {})
        self.check(stand.post(URL, alice, body, content_type), 400, param="file")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("response_format", "yaml"),
            ("timestamp_granularities[]", "letter"),
            ("stream", "perhaps"),
            ("temperature", "2"),
            ("temperature", "nan"),
            ("temperature", "warm"),
            ("model", "a\nb"),
            ("language", "x" * 300),
        ],
    )
    def test_a_field_that_makes_no_sense_is_named(
        self, stand: SpeechStand, alice: Tenant, nova: str, field: str, value: str
    ) -> None:
        self.check(stand.transcribe(alice, TALK, **{"model": nova, field: value}), 400, param=field)

    def test_more_than_25_mib_is_413(self, stand: SpeechStand, alice: Tenant, settings: Any) -> None:
        settings.SPEECH_BODY_LIMIT_BYTES = 2**20
        body, content_type = form({}, {"file": ("a.wav", b"x" * 2**20)})
        self.check(stand.post(URL, alice, body, content_type), 413, "payload_too_large")

    @pytest.mark.parametrize(
        ("data", "status", "reason"),
        [
            (b"", 400, "empty_audio"),
            (b"This is no audio at all." * 50, 415, "unsupported_audio"),
            (b"PK\x03\x04" + bytes(500), 415, "unsupported_audio"),
        ],
    )
    def test_what_is_no_audio_costs_nothing(
        self, stand: SpeechStand, nova: str, data: bytes, status: int, reason: str
    ) -> None:
        bob = stand.gateway.tenant()
        calls = len(stand.deepgram.calls)
        self.check(stand.transcribe(bob, data, model=nova), status, reason)
        assert len(stand.deepgram.calls) == calls
        assert usage_rows(bob) == []

    def test_the_name_of_a_file_is_nobodys_business(self, stand: SpeechStand, alice: Tenant, whisper: str) -> None:
        body, content_type = form({"model": whisper}, {"file": ("../../etc/passwd\x01.exe", TALK)})
        assert stand.post(URL, alice, body, content_type).status == 200

    def test_bad_requests_are_counted_like_any(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        left = [
            int(stand.post(URL, bob, b"", "text/plain").headers["x-ratelimit-remaining-requests"]) for _ in range(2)
        ]
        assert left[1] == left[0] - 1


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
