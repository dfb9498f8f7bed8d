"""Where a request names no model and the cheapest one fails, the next one answers, as far as the wallet pays for it."""

from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.answers import key_of
from tests.routing.books import only_row
from tests.stand import Tenant
from tests.voice.speech.stand import MS_PRICE_NANO, TOKEN_PRICES, SpeechStand, charge_of

SECONDS = 100
TALK = sounds.wav(sounds.tone(SECONDS, rate_hz=8_000), rate_hz=8_000)
TIMES = "word_timestamps"
LISTEN = "/api/deepgram/stt"
CHEAP_NANO = charge_of(SECONDS * 1_000 * MS_PRICE_NANO)
BROKEN = SpeechReply(error=(503, "<html>"))


def cheap(stand: SpeechStand, reply: SpeechReply) -> str:
    """A model that nobody else's breaker knows."""
    upstream = stand.script(stand.deepgram, "nova-3", reply)
    return stand.add_model(upstream, provider=stand.own_provider(stand.deepgram), capabilities=TIMES)


def dear(stand: SpeechStand, reply: SpeechReply | None = None) -> str:
    """At ten times the price."""
    upstream = stand.script(stand.openai, "whisper-1", reply or SpeechReply())
    return stand.add_model(upstream, second_price="0.001", capabilities=TIMES)


def limited_to(tenant: Tenant, *models: str) -> Tenant:
    """The tenant by a key that may call these models alone."""
    return Tenant(key_of(tenant, models_allowed=list(models)).secret, tenant.email)


def listen(stand: SpeechStand, tenant: Tenant, query: str = "") -> Any:
    return stand.post(LISTEN + query, tenant, TALK, "audio/wav")


def test_the_next_model_answers_and_is_paid_at_its_own_price(stand: SpeechStand) -> None:
    first, second = cheap(stand, BROKEN), dear(stand)
    bob = stand.gateway.tenant()
    answer = listen(stand, limited_to(bob, first, second))
    assert answer.status == 200, answer.body
    assert answer.headers["x-komilion-model"] == second
    row = only_row(bob)
    assert (row.model, row.charge_nano) == (second, 10 * CHEAP_NANO)
    assert [each["model"] for each in row.detail["attempts"]] == [first, second]
    assert stand.gateway.wallet(bob.email)["held"] == "0.00"


def test_one_that_is_paid_by_tokens_may_follow_one_that_is_paid_by_seconds(stand: SpeechStand) -> None:
    first = cheap(stand, BROKEN)
    upstream = stand.script(stand.openai, "gpt-4o-transcribe", SpeechReply(usage="tokens"))
    second = stand.add_model(upstream, capabilities=TIMES, **TOKEN_PRICES)
    bob = stand.gateway.tenant()
    assert listen(stand, limited_to(bob, first, second)).status == 200
    row = only_row(bob)
    assert (row.model, row.usage_source) == (second, "provider")
    assert row.charge_nano > 0


def test_one_that_hangs_is_waited_for_less_where_another_can_follow(
    stand: SpeechStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice.speech.listening.FOLLOWED_BASE_S", 0.05)
    monkeypatch.setattr("voice.speech.listening.FOLLOWED_PER_S", 1_000.0)
    first, second = cheap(stand, SpeechReply(before_head_s=20)), dear(stand, SpeechReply(before_head_s=0.3))
    bob = stand.gateway.tenant()
    answer = listen(stand, limited_to(bob, first, second))
    assert (answer.status, answer.headers["x-komilion-model"]) == (200, second)


def test_a_wallet_that_pays_for_the_cheapest_alone_is_served_by_that_alone(stand: SpeechStand) -> None:
    second = dear(stand)
    bob = stand.gateway.tenant(credit="0.02")
    works = cheap(stand, SpeechReply())
    assert listen(stand, limited_to(bob, works, second)).headers["x-komilion-model"] == works
    carol = stand.gateway.tenant(credit="0.02")
    before = len(stand.openai.calls)
    assert listen(stand, limited_to(carol, cheap(stand, BROKEN), second)).status == 503
    assert len(stand.openai.calls) == before
    assert stand.gateway.wallet(carol.email)["available"] == "0.02"


def test_a_model_that_is_named_is_not_replaced(stand: SpeechStand) -> None:
    first, second = cheap(stand, BROKEN), dear(stand)
    tenant = limited_to(stand.gateway.tenant(), first, second)
    assert listen(stand, tenant, f"?model={first}").status == 503


def test_an_add_on_that_has_no_price_at_the_next_one_is_not_given_for_nothing(stand: SpeechStand) -> None:
    upstream = stand.script(stand.deepgram, "nova-3", BROKEN)
    provider = stand.own_provider(stand.deepgram)
    first = stand.add_model(upstream, provider=provider, capabilities=TIMES, add_on_price="0.00005")
    tenant = limited_to(stand.gateway.tenant(), first, dear(stand))
    assert listen(stand, tenant, "?redact=pci").status == 503


def test_a_stream_says_from_its_beginning_who_answers(stand: SpeechStand) -> None:
    first = cheap(stand, BROKEN)
    upstream = stand.script(stand.openai, "gpt-4o-transcribe", SpeechReply(usage="tokens"))
    second = stand.add_model(upstream, capabilities="text_stream", **TOKEN_PRICES)
    tenant = limited_to(stand.gateway.tenant(), first, second)
    answer = stand.transcribe(tenant, TALK, stream="true")
    assert (answer.status, answer.headers["x-komilion-model"]) == (200, second)
    assert answer.body.count(b"transcript.text.delta") > 1
