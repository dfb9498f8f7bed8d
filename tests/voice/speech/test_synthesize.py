"""Text into speech over HTTP: formats, long texts, bills, failures, clients who leave. The providers are scripted."""

import base64
import http.client
from typing import Any

import numpy as np
import orjson
import pytest

from komilion.common.audio.decode import decode
from tests.fakes import sounds
from tests.fakes.client import Answer, RawCall
from tests.fakes.deepgram import SECONDS_A_CHARACTER
from tests.fakes.openai_audio import SPOKEN_TOKENS_A_SECOND
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import CHARACTER_PRICE_NANO, SpeechStand, charge_of
from tests.waiting import wait_until

SPEECH = "/v1/audio/speech"
TTS = "/api/deepgram/tts"
PREFIXES = ("/v1", "/api", "/api/v1", "/api/gateway")
TEXT = "Good morning, everybody."
SENTENCE = "This is one sentence of very many. "
TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "opus": "audio/opus",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
TOKENS = {"input_price": "0.60", "audio_output_price": "12", "prices": "given"}


@pytest.fixture(scope="module")
def aura(stand: SpeechStand) -> str:
    return stand.add_model("aura-2", kind="speech")


@pytest.fixture(scope="module")
def tts(stand: SpeechStand) -> str:
    return stand.add_model("tts-1", kind="speech")


def scripted(stand: SpeechStand, reply: SpeechReply) -> str:
    """A model that speaks like this."""
    provider = stand.own_provider(stand.openai)
    return stand.add_model(stand.script(stand.openai, "tts-1", reply), kind="speech", provider=provider)


def say(stand: SpeechStand, who: Tenant, model: str, text: str = TEXT, path: str = SPEECH, **fields: Any) -> Answer:
    return stand.post(path, who, {"model": model, "input": text, "voice": "alloy", **fields})


def seconds_in(answer: Answer, form: str) -> float:
    data = sounds.wav(answer.body) if form == "pcm" else answer.body
    return len(decode(data)) / 16_000


class TestFormats:
    @pytest.mark.parametrize("form", TYPES)
    @pytest.mark.parametrize("model", ["aura", "tts"])
    def test_every_format_of_both_providers_is_passed_through(
        self, stand: SpeechStand, alice: Tenant, model: str, form: str, request: pytest.FixtureRequest
    ) -> None:
        answer = say(stand, alice, request.getfixturevalue(model), response_format=form)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == TYPES[form]
        assert answer.headers["transfer-encoding"] == "chunked"
        assert seconds_in(answer, form) == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, abs=0.1)

    @pytest.mark.parametrize("form", TYPES)
    def test_a_long_text_is_joined_in_every_format(
        self, stand: SpeechStand, alice: Tenant, aura: str, form: str
    ) -> None:
        text = SENTENCE * 70  # two pieces
        answer = say(stand, alice, aura, text, response_format=form)
        assert answer.status == 200, answer.body
        assert seconds_in(answer, form) == pytest.approx(len(text) * SECONDS_A_CHARACTER, abs=0.5)

    def test_mp3_is_the_usual_format(self, stand: SpeechStand, alice: Tenant, tts: str) -> None:
        assert say(stand, alice, tts).headers["content-type"] == "audio/mpeg"

    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_characters_are_charged(self, stand: SpeechStand, aura: str, prefix: str) -> None:
        bob = stand.gateway.tenant()
        answer = say(stand, bob, aura, path=f"{prefix}/audio/speech")
        assert answer.status == 200
        assert answer.headers["x-komilion-model"] == aura
        row = only_row(bob)
        assert (row.endpoint, row.usage, row.usage_source) == ("audio.speech", {"characters": len(TEXT)}, "provider")
        assert row.charge_nano == charge_of(len(TEXT) * CHARACTER_PRICE_NANO)
        assert 0 <= row.first_content_ms <= row.duration_ms

    def test_options_reach_the_provider(self, stand: SpeechStand, alice: Tenant) -> None:
        model = stand.add_model("gpt-4o-mini-tts", kind="speech", capabilities="instructions")
        say(stand, alice, model, voice="coral", speed=1.5, instructions="Cheerfully.")
        asked = stand.openai.calls_of("gpt-4o-mini-tts")[-1].parameters
        assert (asked["voice"], asked["speed"], asked["instructions"]) == (["coral"], ["1.5"], ["Cheerfully."])

    def test_the_audio_may_come_in_events(self, stand: SpeechStand, aura: str) -> None:
        bob = stand.gateway.tenant()
        answer = say(stand, bob, aura, response_format="wav", stream_format="sse")
        assert answer.headers["content-type"].startswith("text/event-stream")
        *deltas, done = [orjson.loads(event) for event in answer.events]
        audio = b"".join(base64.b64decode(event["audio"]) for event in deltas)
        assert sounds.seconds_of_wav(audio) == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, abs=0.01)
        assert done["type"] == "speech.audio.done"
        assert done["usage"]["characters"] == len(TEXT)
        assert done["x_komilion"]["cost_nano_usd"] == only_row(bob).charge_nano

    def test_what_is_dropped_is_named(self, stand: SpeechStand, alice: Tenant, aura: str) -> None:
        assert say(stand, alice, aura, mood="glad").headers["x-komilion-dropped"] == "mood"


class TestLongTexts:
    def test_a_text_is_cut_at_the_ends_of_sentences(self, stand: SpeechStand, aura: str) -> None:
        bob = stand.gateway.tenant()
        before = len(stand.deepgram.calls)
        text = SENTENCE * 150
        assert say(stand, bob, aura, text, response_format="pcm").status == 200
        texts = [call.text for call in stand.deepgram.calls[before:]]
        assert len(texts) == 3
        assert all(len(piece) <= 2_000 and piece.endswith(".") for piece in texts)
        assert " ".join(texts) == text.strip()
        assert only_row(bob).usage == {"characters": sum(map(len, texts))}

    def test_pieces_are_joined_without_a_click(self, stand: SpeechStand, alice: Tenant, aura: str) -> None:
        answer = say(stand, alice, aura, SENTENCE * 70, response_format="pcm")
        samples = np.frombuffer(answer.body, "<i2").astype(int)
        alone = say(stand, alice, aura, response_format="pcm")
        usual = np.abs(np.diff(np.frombuffer(alone.body, "<i2").astype(int))).max()
        assert np.abs(np.diff(samples)).max() <= usual * 1.01

    def test_a_text_beyond_all_limits_is_refused(
        self, stand: SpeechStand, alice: Tenant, aura: str, settings: Any
    ) -> None:
        settings.SPEECH_TEXT_LIMIT_CHARACTERS = 100
        answer = say(stand, alice, aura, "x" * 101)
        assert (answer.status, answer.json["error"]["param"]) == (400, "input")


class TestBills:
    def test_what_the_provider_counts_is_charged(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model("aura", kind="speech")
        stand.deepgram.script("aura", SpeechReply(headers={"dg-char-count": "20"}))
        say(stand, bob, model)
        stand.deepgram.script("aura", SpeechReply())
        assert only_row(bob).usage == {"characters": 20}

    def test_tokens_are_charged_where_the_provider_tells_them(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model("gpt-4o-mini-tts", kind="speech", **TOKENS)
        answer = say(stand, bob, model, response_format="wav")
        assert seconds_in(answer, "wav") == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, abs=0.1)
        row = only_row(bob)
        assert row.usage == {"input": len(TEXT.split()), "output_audio": 14}  # of 0.72 s
        assert row.charge_nano == charge_of(len(TEXT.split()) * 600 + 14 * 12_000)

    def test_more_tokens_than_so_much_sound_may_be_are_not_believed(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "gpt-4o-mini-tts", SpeechReply(tokens=1_000_000))
        say(stand, bob, stand.add_model(upstream, kind="speech", **TOKENS))
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"input": 6, "output_audio": 18}, "estimated")

    def test_instructions_are_counted_with_each_piece_of_a_long_text(self, stand: SpeechStand) -> None:
        """They go to the provider with each."""
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "gpt-4o-mini-tts", SpeechReply(tokens=1_000_000, seconds=1.0))
        model = stand.add_model(upstream, kind="speech", capabilities="instructions", **TOKENS)
        text, instructions = (SENTENCE * 150).strip(), "As slowly as you can. " * 20
        say(stand, bob, model, text, instructions=instructions)
        calls = stand.openai.calls_of(upstream)
        assert [call.parameters["instructions"] for call in calls] == [[instructions]] * 2
        row = only_row(bob)
        characters = sum(len(call.text) for call in calls) + 2 * len(instructions)
        assert (row.usage["input"], row.usage_source) == (-(-characters // 4), "estimated")

    def test_what_was_spoken_is_charged_where_time_has_a_price(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = stand.add_model("gpt-4o-mini-tts", kind="speech", second_price="0.00025", prices="given")
        say(stand, bob, model)
        row = only_row(bob)
        assert (row.usage, row.usage_source) == ({"audio_ms": 720}, "provider")

    @pytest.mark.parametrize("model", ["aura", "tokens"])
    def test_a_wallet_that_does_not_cover_it_is_told_before_anybody_is_asked(
        self, stand: SpeechStand, aura: str, model: str
    ) -> None:
        poor = stand.gateway.tenant(credit="0.0001")
        name = aura if model == "aura" else stand.add_model("gpt-4o-mini-tts", kind="speech", **TOKENS)
        calls = len(stand.deepgram.calls) + len(stand.openai.calls)
        answer = say(stand, poor, name)
        assert (answer.status, answer.json["error"]["reason"]) == (402, "insufficient_balance")
        assert len(stand.deepgram.calls) + len(stand.openai.calls) == calls

    def test_a_wallet_that_just_covers_it_is_enough(self, stand: SpeechStand, aura: str) -> None:
        bob = stand.gateway.tenant(credit=f"0.{charge_of(len(TEXT) * CHARACTER_PRICE_NANO):09d}")
        assert say(stand, bob, aura).status == 200
        assert stand.gateway.wallet(bob.email)["available"] == "0.00"


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            ((500, {"error": {"message": "x"}}), 502),
            ((429, {"error": {"message": "x"}}), 429),
            ((402, {"error": {"message": "x"}}), 503),
            ((400, {"error": {"message": "Invalid voice."}}), 400),
        ],
    )
    def test_a_refusal_costs_nothing(self, stand: SpeechStand, error: Any, status: int) -> None:
        bob = stand.gateway.tenant()
        answer = say(stand, bob, scripted(stand, SpeechReply(error=error)))
        assert answer.status == status
        row = only_row(bob)
        assert (row.outcome, row.charge_nano) == ("provider_failed", 0)
        assert stand.gateway.wallet(bob.email)["available"] == "10.00"

    def test_silence_is_no_speech(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        assert say(stand, bob, scripted(stand, SpeechReply(body=b""))).status == 502
        assert only_row(bob).charge_nano == 0

    def test_what_is_no_audio_is_not_passed_on(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        reply = SpeechReply(body=b'{"audio_data": "AAAA"}', headers={"Content-Type": "application/json"})
        answer = say(stand, bob, scripted(stand, reply))
        assert (answer.status, answer.json["error"]["reason"]) == (502, "provider_error")
        assert only_row(bob).charge_nano == 0

    def test_the_next_offer_speaks(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = scripted(stand, SpeechReply(error=(500, {"error": {"message": "x"}})))
        stand.add_model("aura-2", kind="speech", name=model)
        answer = say(stand, bob, model)
        assert answer.status == 200
        assert answer.headers["x-komilion-provider"] == "fake-deepgram"
        assert only_row(bob).provider == "fake-deepgram"

    def test_who_cannot_be_reached_leaves_no_row(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        stand.gateway.manage("provider", "add", "nowhere", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "x")
        model = stand.add_model("tts-1", kind="speech", provider="nowhere")
        assert say(stand, bob, model).status == 503
        assert usage_rows(bob) == []

    @pytest.mark.parametrize(
        "reply", [SpeechReply(before_head_s=20), SpeechReply(between_pieces_s=20)], ids=["no head", "a gap"]
    )
    def test_one_that_falls_silent_is_given_up(self, stand: SpeechStand, reply: SpeechReply, settings: Any) -> None:
        settings.FIRST_CONTENT_TIMEOUT_S = settings.FRAME_GAP_TIMEOUT_S = 0.1
        bob = stand.gateway.tenant()
        model = scripted(stand, reply)
        if reply.before_head_s:
            assert say(stand, bob, model).status == 408
        else:
            with pytest.raises(http.client.IncompleteRead):
                say(stand, bob, model, response_format="pcm")
        assert only_row(bob).charge_nano == 0

    def test_one_that_breaks_off_closes_the_connection_and_costs_nothing(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = scripted(stand, SpeechReply(cut_after_bytes=10_000))
        with pytest.raises(http.client.IncompleteRead):
            say(stand, bob, model, response_format="pcm")
        row = only_row(bob)
        assert (row.outcome, row.charge_nano) == ("provider_cut", 0)

    @pytest.mark.parametrize("paid_by", ["time", "tokens"])
    def test_the_same_where_the_sound_is_paid(self, stand: SpeechStand, paid_by: str) -> None:
        bob = stand.gateway.tenant()
        reply = SpeechReply(turns=(SpeechReply(), SpeechReply(cut_after_bytes=10_000)))
        upstream = stand.script(stand.openai, "gpt-4o-mini-tts", reply)
        prices = TOKENS if paid_by == "tokens" else {"second_price": "0.00025", "prices": "given"}
        model = stand.add_model(upstream, kind="speech", provider=stand.own_provider(stand.openai), **prices)
        with pytest.raises(http.client.IncompleteRead):
            say(stand, bob, model, SENTENCE * 200, response_format="pcm")
        first, _ = stand.openai.calls_of(upstream)
        row = only_row(bob)
        assert row.outcome == "provider_cut"
        length_ms = -(-len(sounds.tone(len(first.text) * SECONDS_A_CHARACTER)) // 2 * 1000 // 24_000)
        spoken = round(first.seconds * SPOKEN_TOKENS_A_SECOND)
        by_tokens = {"input": len(first.text.split()), "output_audio": spoken}
        assert row.usage == (by_tokens if paid_by == "tokens" else {"audio_ms": length_ms})

    def test_whole_pieces_before_the_break_are_charged(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = scripted(stand, SpeechReply(turns=(SpeechReply(), SpeechReply(cut_after_bytes=10_000))))
        text = SENTENCE * 200  # two pieces of at most 4,096 characters
        with pytest.raises(http.client.IncompleteRead):
            say(stand, bob, model, text, response_format="pcm")
        row = only_row(bob)
        assert row.outcome == "provider_cut"
        assert 0 < row.usage["characters"] <= 4_096

    def test_events_say_what_went_wrong(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        model = scripted(stand, SpeechReply(cut_after_bytes=10_000))
        answer = say(stand, bob, model, response_format="pcm", stream_format="sse")
        assert answer.status == 200, answer.body
        assert answer.events, answer.body
        last = orjson.loads(answer.events[-1])
        assert last["error"]["reason"] == "provider_error"
        assert last["usage"]["cost_nano_usd"] == 0


class TestLeaving:
    def test_what_was_asked_for_by_then_is_charged(self, stand: SpeechStand) -> None:
        """The provider bills the whole piece that it speaks; later pieces are never asked for."""
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "tts-1", SpeechReply(between_pieces_s=0.02))
        model = stand.add_model(upstream, kind="speech")
        body = {"model": model, "input": SENTENCE * 200, "voice": "alloy", "response_format": "pcm"}
        with RawCall(stand.gateway.url, bob.key, path=SPEECH, **body) as raw:
            raw.send()
            raw.read_until(b"\r\n", times=40)  # the head, and some chunks
            raw.leave(reset=True)
        row = only_row(bob)
        (call,) = stand.openai.calls_of(upstream)
        assert (row.outcome, row.usage) == ("client_left", {"characters": len(call.text)})
        wait_until(lambda: call.outcome == "cancelled", what="the provider to be left")
        assert stand.gateway.wallet(bob.email)["held"] == "0.00"

    @pytest.mark.parametrize("paid_by", ["time", "tokens"])
    def test_sound_that_came_by_then_is_charged(self, stand: SpeechStand, paid_by: str) -> None:
        bob = stand.gateway.tenant()
        upstream = stand.script(stand.openai, "gpt-4o-mini-tts", SpeechReply(between_pieces_s=0.02))
        prices = TOKENS if paid_by == "tokens" else {"second_price": "0.00025", "prices": "given"}
        model = stand.add_model(upstream, kind="speech", **prices)
        body = {"model": model, "input": SENTENCE * 50, "voice": "alloy", "response_format": "pcm"}
        with RawCall(stand.gateway.url, bob.key, path=SPEECH, **body) as raw:
            raw.send()
            raw.read_until(b"\r\n", times=40)
            raw.leave(reset=True)
        row = only_row(bob)
        assert row.outcome == "client_left"
        whole_ms = len(SENTENCE) * 50 * SECONDS_A_CHARACTER * 1000
        if paid_by == "time":
            assert 0 < row.usage["audio_ms"] < whole_ms
        else:
            assert row.usage_source == "estimated"
            assert 0 < row.usage["output_audio"] < whole_ms * 0.025
