"""Providers that refuse, break off, are slow or gone: it costs nothing, and the next offer of the model answers."""

from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.deepgram import error_body
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, SpeechStand, charge_of

TALK = sounds.wav(sounds.tone(2.0))
URL = "/v1/audio/transcriptions"
TALK_NANO = charge_of(2_000 * MS_PRICE_NANO)


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
