"""Every billable row of voice under each of its prefixes: 401, 402, 405, 413, 415 and 429, in the words of its path."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.client import Answer
from tests.routing.answers import RATE_HEADERS, assert_error
from tests.routing.books import organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.voice.speech.stand import SpeechStand, form

TALK = sounds.wav(sounds.tone(0.5))


@dataclass(frozen=True)
class Example:
    """A request that a row takes, but for its model; `field` is where the model's name goes."""

    kind: str
    body: Any
    content_type: str = "application/json"


EXAMPLES = {
    "/audio/transcriptions": Example("transcription", *form({}, {"file": ("a.wav", TALK)})),
    "/audio/translations": Example("transcription", *form({}, {"file": ("a.wav", TALK)})),
    "/audio/speech": Example("speech", {"input": "Hello.", "voice": "alloy"}),
    "/deepgram/stt": Example("transcription", TALK, "audio/wav"),
    "/deepgram/tts": Example("speech", {"text": "Hello."}),
}


def billable() -> list[tuple[str, str]]:
    """Path and row of all that costs money and is asked for in one request here."""
    from voice.endpoints import VOICE_ENDPOINTS

    rows = [row for row in VOICE_ENDPOINTS if row.is_billable and row.path in EXAMPLES]
    assert {row.path for row in rows} == set(EXAMPLES)
    return [(path, row.path) for row in rows for path in row.paths]


everywhere = pytest.mark.parametrize(("path", "row"), billable(), ids=[path for path, _ in billable()])


@pytest.fixture(scope="module", autouse=True)
def _models(stand: SpeechStand) -> None:
    """One that hears all there is to be heard, and one that speaks."""
    stand.add_model("whisper-1", capabilities="word_timestamps,translation,diarization")
    stand.add_model("aura-2", kind="speech")


def ask(stand: SpeechStand, path: str, row: str, who: Tenant | None, **headers: str) -> Answer:
    """The example of this row."""
    example = EXAMPLES[row]
    return stand.post(path, who, example.body, example.content_type, **headers)


@everywhere
def test_it_answers(stand: SpeechStand, alice: Tenant, path: str, row: str) -> None:
    answer = ask(stand, path, row, alice)
    assert answer.status == 200, answer.body
    assert set(RATE_HEADERS) <= set(answer.headers)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-request-id"].startswith("gen-")


@everywhere
def test_401(stand: SpeechStand, path: str, row: str) -> None:
    assert_error(ask(stand, path, row, None), path, 401, "authentication_error", "invalid_api_key")


@everywhere
def test_402(stand: SpeechStand, path: str, row: str) -> None:
    charlie = stand.gateway.tenant(credit="0.00")
    calls = len(stand.openai.calls) + len(stand.deepgram.calls)
    answer = ask(stand, path, row, charlie)
    assert_error(answer, path, 402, "billing_error", "insufficient_balance")
    assert set(RATE_HEADERS) <= set(answer.headers)
    assert len(stand.openai.calls) + len(stand.deepgram.calls) == calls
    assert usage_rows(charlie) == []


@everywhere
def test_429(stand: SpeechStand, path: str, row: str) -> None:
    """The free tier takes 30 requests a minute."""
    charlie = stand.gateway.tenant(tier="free")
    answers = (ask(stand, path, row, charlie) for _ in range(31))
    refused = next(answer for answer in answers if answer.status != 200)
    assert_error(refused, path, 429, "rate_limit_error", "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1


@everywhere
def test_403(stand: SpeechStand, path: str, row: str) -> None:
    charlie = stand.gateway.tenant()
    stand.gateway.suspend(charlie)
    assert_error(ask(stand, path, row, charlie), path, 403, "permission_error", "organization_suspended")


@everywhere
def test_405(stand: SpeechStand, path: str, row: str) -> None:
    from tests.routing.test_endpoint_table import request

    answer = request(stand.gateway, "GET", path)
    assert_error(answer, path, 405, "invalid_request_error", "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@everywhere
def test_a_key_that_may_call_no_such_model(stand: SpeechStand, path: str, row: str) -> None:
    from accounts.models import ApiKey

    charlie = stand.gateway.tenant()
    ApiKey.objects.filter(organization_id=organization_id(charlie)).update(models_allowed=["acme/none"])
    answer = ask(stand, path, row, charlie)
    assert_error(answer, path, 400, "invalid_request_error", "model_not_served")


def test_another_tenants_usage_is_nobody_elses(stand: SpeechStand, alice: Tenant, gateway: Gateway) -> None:
    charlie = gateway.tenant()
    ask(stand, "/v1/audio/speech", "/audio/speech", charlie)
    assert {row.organization_id for row in usage_rows(charlie)} == {organization_id(charlie)}
