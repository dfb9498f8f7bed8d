"""Which offer is asked next, when, and which is left alone; offers are functions here, the breakers are real."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from billing.prices import PriceVersion
from komilion.common.errors import BadRequest, KomilionError, ProviderError, ProviderUnavailable, RateLimited
from komilion.common.http_errors import BadResponse, Disconnected, NotConnected
from routing.catalog.voice import VoiceOffer
from routing.gateway.call import AttemptFailed, NotSent
from routing.providers.base import Target
from routing.selection.health import Breakers, credential_name
from voice.speech.attempts import Attempts

type Script = Callable[[], str]


class Services:
    """All of it that attempts look at."""

    def __init__(self) -> None:
        self.breakers = Breakers("redis://127.0.0.1:1", "test")


def offer(name: str) -> VoiceOffer:
    target = Target("http://127.0.0.1/v1", f"key-of-{name}", "x", frozenset())
    return VoiceOffer("acme/ear", name, "openai", target, PriceVersion(1, {"audio_ms": 1}, (), 2_500))


def fail(error: Exception) -> Script:
    def run() -> str:
        raise error

    return run


def say(text: str) -> Script:
    return lambda: text


class Play:
    """Offers `one`, `two`, ... each with its answers in turn; `asked` is who was asked."""

    def __init__(self, services: Services | None = None, **scripts: list[Script]) -> None:
        self.services: Any = services or Services()
        self.asked: list[str] = []
        self._scripts: dict[str, Iterator[Script]] = {name: iter(turns) for name, turns in scripts.items()}
        self.attempts = Attempts(self.services, [offer(name) for name in scripts])
        self.on_ask: Callable[[], Awaitable[None]] | None = None

    def run(self) -> str:
        """Whose answer it was."""

        async def ask(offer: VoiceOffer) -> str:
            self.asked.append(offer.provider)
            if self.on_ask is not None:
                await self.on_ask()
            return next(self._scripts[offer.provider])()

        return asyncio.run(self.attempts.run(ask))[1]


@pytest.fixture(autouse=True)
def _no_pause(settings: Any) -> None:
    settings.RETRY_PAUSE_S, settings.RETRY_AFTER_MOST_S = 0.001, 1


def test_the_first_that_answers_ends_it() -> None:
    play = Play(one=[say("yes")], two=[])
    assert play.run() == "yes"
    assert play.asked == ["one"]
    assert play.attempts.notes[0]["provider"] == "one"
    assert "error" not in play.attempts.notes[0]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (Disconnected("x"), ["one", "one", "two"]),  # a kept connection may have been closed
        (ProviderError(), ["one", "one", "two"]),
        (BadResponse("x"), ["one", "one", "two"]),
        (ProviderUnavailable(), ["one", "two"]),
        (NotConnected("x"), ["one", "two"]),
        (TimeoutError(), ["one", "two"]),
        (RateLimited(), ["one", "two"]),
    ],
)
def test_a_failure_leads_to_the_next_offer(error: Exception, asked: list[str]) -> None:
    play = Play(one=[fail(error), fail(error)], two=[say("yes")])
    assert play.run() == "yes"
    assert play.asked == asked


def test_a_wait_that_is_told_is_kept_and_one_that_is_too_long_is_not() -> None:
    patient = Play(one=[fail(AttemptFailed("rate_limited", RateLimited(), wait_s=0.01)), say("yes")], two=[])
    assert patient.run() == "yes"
    assert patient.asked == ["one", "one"]
    hasty = Play(one=[fail(AttemptFailed("rate_limited", RateLimited(), wait_s=60))], two=[say("yes")])
    assert hasty.run() == "yes"
    assert hasty.asked == ["one", "two"]


def test_the_last_offer_is_asked_once_more() -> None:
    play = Play(one=[fail(ProviderUnavailable()), say("yes")])
    assert play.run() == "yes"


def test_four_tries_are_enough() -> None:
    play = Play(**{name: [fail(ProviderError())] * 2 for name in ("one", "two", "three")})
    with pytest.raises(ProviderError):
        play.run()
    assert play.asked == ["one", "one", "two", "two"]


def test_what_the_caller_did_wrong_ends_it() -> None:
    play = Play(one=[fail(BadRequest("no such language"))], two=[say("yes")])
    with pytest.raises(BadRequest):
        play.run()
    assert play.asked == ["one"]


def test_a_fault_of_ours_is_nobodys_failure() -> None:
    play = Play(one=[fail(ZeroDivisionError())], two=[say("yes")])
    with pytest.raises(ZeroDivisionError):
        play.run()
    assert play.services.breakers.is_quiet


def test_where_nobody_could_be_reached_nothing_was_sent() -> None:
    play = Play(one=[fail(NotConnected("x"))], two=[fail(NotConnected("x"))] * 2)
    with pytest.raises(NotSent):
        play.run()


def test_where_somebody_was_reached_it_is_his_error_that_is_told() -> None:
    play = Play(one=[fail(ProviderUnavailable())], two=[fail(NotConnected("x"))] * 2)
    with pytest.raises(KomilionError):
        play.run()


def test_nothing_follows_once_something_was_passed_on() -> None:
    play = Play(one=[fail(Disconnected("x"))], two=[say("yes")])

    async def pass_on() -> None:
        play.attempts.is_committed = True

    play.on_ask = pass_on
    with pytest.raises(ProviderError):
        play.run()
    assert play.asked == ["one"]


def test_nothing_follows_once_the_time_is_over(settings: Any) -> None:
    settings.TOTAL_TIMEOUT_S = -1
    play = Play(one=[fail(ProviderUnavailable())], two=[say("yes")])
    with pytest.raises(ProviderUnavailable):
        play.run()


def broken(services: Services, name: str) -> None:
    """The offer is known to be out of order."""
    for _ in range(20):
        services.breakers.failed(name, "acme/ear", credential_name(f"key-of-{name}"))
    assert services.breakers.is_open(name, "acme/ear", credential_name(f"key-of-{name}"))


def test_one_that_is_out_of_order_comes_last_and_is_probed_when_it_is_due(settings: Any) -> None:
    settings.BREAKER_PROBE_EVERY_S = 1_000
    services = Services()
    broken(services, "one")
    play = Play(services, one=[], two=[say("yes")])
    assert play.run() == "yes"
    assert play.asked == ["two"]
    settings.BREAKER_PROBE_EVERY_S = 0
    broken_again = Services()
    broken(broken_again, "one")
    probing = Play(broken_again, one=[say("well again")], two=[])
    assert probing.run() == "well again"
    assert not broken_again.breakers.any_open


def test_one_that_alone_can_serve_is_asked_all_the_same() -> None:
    services = Services()
    broken(services, "one")
    assert Play(services, one=[say("yes")]).run() == "yes"
