"""A whole answer that is larger than we take: charged by what it used, tried once, and never a breaker's business."""

import pytest

from tests.fakes import wire
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of
from tests.routing.failing import add_fallback, add_places
from tests.stand import Gateway

LARGE = Reply(content="many words " * 2_500, usage=Tokens(25, 400))


@pytest.fixture(autouse=True)
def _small_limits(settings: object) -> None:
    settings.UPSTREAM_BODY_LIMIT_BYTES = 2**14


def test_it_is_charged_as_reported_and_tried_nowhere_else(gateway: Gateway):
    places, fallback = add_places(gateway, LARGE, LARGE), add_fallback(gateway, LARGE)
    answer = places.ask(models=[fallback], max_tokens=500)
    assert (answer.status, answer.json["error"]["reason"]) == (502, "answer_too_large")
    assert answer.headers["x-should-retry"] == "false"
    assert places.counts == [1, 0]
    assert gateway.calls_of(fallback) == []
    row = places.row()
    assert (row.outcome, row.usage_source, row.attempt_loss_nano) == ("provider_cut", "provider", 0)
    assert_in_order(gateway, places.tenant, charge_of(Tokens(25, 400)))


def test_it_shows_that_the_provider_is_there(gateway: Gateway, settings: object):
    settings.BREAKER_FAILURES = 2
    places = add_places(gateway, LARGE, Reply())
    for _ in range(3):
        assert places.ask(max_tokens=500).status == 502
    assert places.counts == [3, 0]


def test_streamed_it_is_delivered(gateway: Gateway):
    places = add_places(gateway, LARGE)
    assert places.ask(max_tokens=2_000, stream=True).text == LARGE.content


def test_where_it_breaks_off_beyond_the_limit_nobody_knows_what_it_used(gateway: Gateway):
    async def break_off(exchange: Exchange) -> None:
        body = b'{"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "text": "' + b"x" * 2**16
        await exchange.send(wire.head(200, {"Content-Type": "application/json", "Content-Length": "9999999"}))
        await exchange.send(body)
        exchange.break_off(reset=True)

    places = add_places(gateway, Reply(act=break_off), Reply(), cancels=True)
    assert places.ask(max_tokens=500).status == 502
    assert places.counts == [1, 0]
    row = places.row()
    assert row.charge_nano == 0
    assert row.attempt_loss_nano >= 500 * 15_000, "the whole ceiling, also where leaving would have stopped it"
