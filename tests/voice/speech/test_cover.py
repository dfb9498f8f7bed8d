"""A text that takes longer than its length makes likely: more is held as the sound comes, or it ends with the money."""

import http.client

import orjson
import pytest

from billing.ledger.committer import Committer
from billing.prices import PriceVersion
from komilion.common.errors import LedgerUnavailable
from routing.catalog.voice import VoiceOffer
from routing.providers.base import Target
from routing.providers.speech import Speaking
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row, set_caps
from tests.stand import Tenant
from tests.voice.speech.stand import SpeechStand, charge_of
from voice.speech.saying import bound_of

SPEECH = "/v1/audio/speech"
USD_NANO = 10**9
TEXT = "Hello."  # for which three seconds are held at first
SLOW_S = 30.0
MS_PRICE_NANO = 250
SLOW_NANO = charge_of(30_000 * MS_PRICE_NANO)
BY_TIME = {"second_price": "0.00025", "prices": "given"}
BY_TOKENS = {"input_price": "0.60", "audio_output_price": "12", "prices": "given"}
FIVE_S_NANO = charge_of(5_000 * MS_PRICE_NANO)
FIVE_S_USD = "0.0015625"


def slow_reader(stand: SpeechStand, prices: dict[str, str] = BY_TIME) -> str:
    """A model that takes half a minute for anything."""
    upstream = stand.script(stand.openai, "gpt-4o-mini-tts", SpeechReply(seconds=SLOW_S))
    return stand.add_model(upstream, kind="speech", capabilities="instructions", **prices)


def ask(model: str, **fields: str) -> dict[str, str]:
    return {"model": model, "input": TEXT, "voice": "alloy", "instructions": "Slowly!", **fields}


def check_ended(stand: SpeechStand, tenant: Tenant, outcome: str) -> None:
    """Some of it was charged, no more than there was, and nothing is owed."""
    row = only_row(tenant)
    assert row.outcome == outcome
    assert FIVE_S_NANO // 2 < row.charge_nano <= FIVE_S_NANO
    wallet = stand.gateway.wallet(tenant.email)
    assert (wallet["held"], wallet["debt"]) == ("0.00", "0.00")


@pytest.mark.parametrize("prices", [BY_TIME, BY_TOKENS], ids=["by time", "by tokens"])
def test_more_is_held_as_it_comes(stand: SpeechStand, prices: dict[str, str]) -> None:
    bob = stand.gateway.tenant(credit="0.10")
    answer = stand.post(SPEECH, bob, ask(slow_reader(stand, prices), response_format="pcm"))
    assert (answer.status, len(answer.body)) == (200, SLOW_S * 48_000)
    row = only_row(bob)
    assert row.outcome == "completed"
    if prices is BY_TIME:
        assert row.charge_nano == SLOW_NANO
    assert stand.gateway.wallet(bob.email)["debt"] == "0.00"


@pytest.mark.parametrize(("capabilities", "told"), [({"instructions"}, 3 * 100), ({}, 0)])
def test_instructions_are_held_for_with_each_piece_of_a_text_and_for_nobody_who_is_not_sent_them(
    capabilities: set[str], told: int
) -> None:
    price = PriceVersion(1, {"input": USD_NANO, "output_audio": USD_NANO}, (), 2_500)
    offer = VoiceOffer("acme/m", "p", "openai", Target("http://x", "k", "m", frozenset(capabilities)), price)
    text = "x" * 10_000
    assert bound_of(Speaking(text, "", "mp3", instructions="x" * 100), offer).input == len(text) + told


def test_bare_audio_ends_with_the_money(stand: SpeechStand) -> None:
    bob = stand.gateway.tenant(credit=FIVE_S_USD)
    with pytest.raises(http.client.IncompleteRead):
        stand.post(SPEECH, bob, ask(slow_reader(stand), response_format="pcm"))
    check_ended(stand, bob, "insufficient_balance")


def test_events_say_that_the_money_has_ended(stand: SpeechStand) -> None:
    bob = stand.gateway.tenant(credit=FIVE_S_USD)
    answer = stand.post(SPEECH, bob, ask(slow_reader(stand), stream_format="sse", response_format="pcm"))
    last = orjson.loads(answer.events[-1])
    assert last["error"]["reason"] == "insufficient_balance"
    assert last["usage"]["cost_nano_usd"] == only_row(bob).charge_nano
    check_ended(stand, bob, "insufficient_balance")


def test_a_cap_ends_it_too(stand: SpeechStand) -> None:
    bob = stand.gateway.tenant()
    set_caps(bob, total=FIVE_S_NANO)
    answer = stand.post(SPEECH, bob, ask(slow_reader(stand), stream_format="sse", response_format="pcm"))
    assert orjson.loads(answer.events[-1])["error"]["reason"] == "key_cap_reached"
    check_ended(stand, bob, "key_cap_reached")


def test_so_does_a_ledger_that_is_away(stand: SpeechStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was passed on by then is charged."""
    submit = Committer.submit

    async def failing(committer: Committer, item: object) -> object:
        if type(item).__name__ == "Extend":
            raise LedgerUnavailable
        return await submit(committer, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Committer, "submit", failing)
    bob = stand.gateway.tenant()
    answer = stand.post(SPEECH, bob, ask(slow_reader(stand), stream_format="sse", response_format="pcm"))
    assert orjson.loads(answer.events[-1])["error"]["reason"] == "ledger_unavailable"
    row = only_row(bob)
    assert (row.outcome, row.charge_nano > 0) == ("provider_cut", True)


def test_asking_for_haste_makes_no_hold_smaller(stand: SpeechStand) -> None:
    """Some models do not follow `speed`: what a wallet pays for is not to depend on it."""
    model = slow_reader(stand)
    poor = stand.gateway.tenant(credit="0.0005")
    hasty = {**ask(model), "speed": 4.0, "input": "x" * 20}
    assert stand.post(SPEECH, poor, hasty).status == 402
