"""Speech into text over HTTP: shapes, streams, bills, the choice of a model. The providers are scripted."""

from typing import Any

import orjson
import pytest
import srt as srt_reader
import webvtt

from tests.fakes import openai_audio, sounds
from tests.fakes.client import Answer, RawCall
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, TOKEN_PRICES, SpeechStand, charge_of, form, nano_of
from tests.waiting import wait_until

TALK = sounds.wav(sounds.tone(2.0))
MINUTE = sounds.wav(sounds.tone(60.0))
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

    @pytest.mark.parametrize("server", ["deepgram", "openai"])
    def test_a_provider_that_counts_more_seconds_than_there_are_is_not_believed(
        self, stand: SpeechStand, server: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        bob = stand.gateway.tenant(credit="0.0003")
        base = {"deepgram": "nova-3", "openai": "whisper-1"}[server]
        upstream = stand.script(getattr(stand, server), base, SpeechReply(seconds=89_478.4))
        answer = stand.transcribe(bob, TALK, model=stand.add_model(upstream))
        assert (answer.status, answer.json["usage"]["cost_nano_usd"]) == (200, TALK_NANO)
        row = only_row(bob)
        assert (row.usage, row.usage_source, row.charge_nano) == ({"audio_ms": 2_000}, "estimated", TALK_NANO)
        (alarm,) = [each for each in caplog.records if getattr(each, "alarm", "") == "impossible_usage"]
        assert getattr(alarm, "request_id", "") == row.request_id

    def test_a_provider_that_counts_more_tokens_than_can_be_is_not_believed(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "gpt-x", SpeechReply(usage="tokens", seconds=89_478.4))
        stand.transcribe(bob, TALK, model=stand.add_model(upstream, **TOKEN_PRICES))
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"input_audio": 20, "output": 10}, "estimated")

    def test_extras_are_charged_by_a_length_that_can_be(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(seconds=89_478.4))
        model = stand.add_model(upstream, capabilities="word_timestamps", add_on_price="0.00004")
        stereo = sounds.wav(sounds.tone(4.0), channels=2)  # two seconds of each
        answer = stand.post(f"{STT}?model={model}&multichannel=true&redact=pci", bob, stereo, "audio/wav")
        assert answer.status == 200, answer.body
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"audio_ms": 4_000, "add_on_ms": 4_000}, "estimated")

    def test_a_wav_of_unknown_length_goes_out_with_its_true_one(self, stand: SpeechStand) -> None:
        upstream = stand.script(stand.deepgram, "nova-3", SpeechReply(seconds=2.0))
        unknown = b"\xff" * 4
        streamed = TALK[:4] + unknown + TALK[8:40] + unknown + TALK[44:]
        stand.transcribe(stand.gateway.tenant(), streamed, model=stand.add_model(upstream))
        assert stand.deepgram.calls_of(upstream)[-1].audio == TALK

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
        body, content_type = form({"model": model, "stream": "true"}, {"file": ("a.wav", MINUTE)})
        with RawCall(stand.gateway.url, bob.key, path=URL) as raw:
            head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bob.key}\r\n"
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.send(head.encode() + body)
            raw.read_until(b"transcript.text.delta")
            raw.leave(reset=True)
        row = only_row(bob)
        assert (row.outcome, row.usage["output"]) == ("completed", 600)
