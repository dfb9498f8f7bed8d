"""What giving up on attempts may cost the house: time for large inputs, and an end to trying where it is dear."""

from types import SimpleNamespace

import pytest

from komilion.common.numbers import numbers
from routing.gateway import losses
from routing.gateway.losses import Losses
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import NANO, assert_in_order
from tests.routing.failing import add_places, assert_served
from tests.stand import Gateway

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
OK = Reply(usage=Tokens(25, 12))
NEVER = Reply(before_head_s=30)
LONG = [{"role": "user", "content": "word " * 800}]  # some 1,000 tokens
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}


@pytest.fixture(autouse=True)
def _brief(settings: object) -> None:
    settings.FIRST_CONTENT_FALLBACK_S = settings.FIRST_CONTENT_TIMEOUT_S = settings.ANSWER_BASE_S = 0.15
    settings.UNKNOWN_TOKENS_PER_S = 1_000_000


class TestTime:
    """A provider is given the time to read what it is sent."""

    @BOTH
    def test_a_large_input_is_given_its_time(self, gateway: Gateway, settings: object, stream: bool):
        settings.PREFILL_TOKENS_PER_S = 200
        places = add_places(gateway, Reply(before_head_s=1, usage=OK.usage), OK)
        assert_served(places, places.ask(messages=LONG, stream=stream), 0, [1, 0])
        small = add_places(gateway, Reply(before_head_s=1), OK)
        assert_served(small, small.ask(stream=stream), 1, [1, 1])

    @BOTH
    def test_so_it_is_where_nobody_else_can_answer(self, gateway: Gateway, settings: object, stream: bool):
        settings.PREFILL_TOKENS_PER_S = 200
        places = add_places(gateway, Reply(before_head_s=1, usage=OK.usage))
        assert_served(places, places.ask(messages=LONG, stream=stream), 0, [1])

    def test_the_bytes_of_a_picture_are_no_text(self, gateway: Gateway, settings: object):
        """A picture is some tokens, not a token for every 4 bytes of its data."""
        settings.PREFILL_TOKENS_PER_S = 6_000
        places = add_places(gateway, Reply(before_head_s=1.2), OK, capabilities="vision")
        messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]}]
        assert_served(places, places.ask(messages=messages), 1, [1, 1])
        assert places.row().attempt_loss_nano < 3_200 * 3_000 + 256 * 15_000

    def test_a_whole_answer_of_a_model_that_reasons_has_its_time_too(self, gateway: Gateway):
        places = add_places(gateway, Reply(before_head_s=0.5, usage=OK.usage), OK, capabilities="reasoning")
        assert_served(places, places.ask(), 0, [1, 0])


class TestOneCall:
    """What the attempts of one call may cost."""

    @BOTH
    def test_nothing_follows_where_giving_up_was_dear(self, gateway: Gateway, settings: object, stream: bool):
        settings.ATTEMPT_LOSS_MOST_NANO = 1_000 * 3_000
        places = add_places(gateway, NEVER, OK)
        answer = places.ask(messages=LONG, stream=stream)
        assert (answer.status, answer.json["error"]["reason"]) == (408, "request_timeout")
        assert places.counts == [1, 0]
        assert places.row().attempt_loss_nano >= 1_000 * 3_000
        assert_in_order(gateway, places.tenant, 0)

    def test_a_stream_that_nothing_would_follow_is_given_the_longer_time(self, gateway: Gateway, settings: object):
        settings.ATTEMPT_LOSS_MOST_NANO = 1_000 * 3_000
        settings.FIRST_CONTENT_TIMEOUT_S = 20
        places = add_places(gateway, Reply(before_head_s=0.8, usage=OK.usage), OK)
        assert_served(places, places.ask(messages=LONG, stream=True), 0, [1, 0])

    @BOTH
    def test_a_provider_that_stops_when_left_costs_nothing(self, gateway: Gateway, settings: object, stream: bool):
        settings.ATTEMPT_LOSS_MOST_NANO = 1
        places = add_places(gateway, NEVER, OK, cancels=True)
        assert_served(places, places.ask(stream=stream), 1, [1, 1])

    def test_what_is_given_up_when_the_whole_time_is_over_is_a_loss_too(self, gateway: Gateway, settings: object):
        settings.FIRST_CONTENT_TIMEOUT_S, settings.TOTAL_TIMEOUT_S = 20, 0.3
        places = add_places(gateway, NEVER)
        assert places.ask(messages=LONG, stream=True).status == 408
        assert places.row().attempt_loss_nano >= 1_000 * 3_000

    def test_neither_does_an_error(self, gateway: Gateway, settings: object):
        settings.ATTEMPT_LOSS_MOST_NANO = 1
        places = add_places(gateway, Reply(status=503), OK)
        assert_served(places, places.ask(), 1, [1, 1])


class TestOneOrganization:
    """What the calls of one organization may cost."""

    def test_beyond_the_budget_nothing_follows_what_was_given_up(self, gateway: Gateway, settings: object):
        places = add_places(gateway, NEVER, OK)
        assert places.ask().status == 200
        loss = places.row().attempt_loss_nano
        settings.LOSS_BUDGET_NANO_PER_HOUR = loss + 1
        assert places.ask().status == 200, "the first loss is within the budget"
        assert places.ask().status == 408
        assert places.counts == [3, 2]
        other = add_places(gateway, NEVER, OK)
        assert_served(other, other.ask(), 1, [1, 1])

    def test_what_costs_nothing_is_followed_still(self, gateway: Gateway, settings: object):
        places = add_places(gateway, Reply(turns=(NEVER, Reply(status=503))), OK)
        settings.LOSS_BUDGET_NANO_PER_HOUR = 1
        assert places.ask().status == 200
        assert places.ask().status == 200


class TestTheLevel:
    """The arithmetic of it."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        clock = SimpleNamespace(now_s=1_000.0)
        monkeypatch.setattr(losses, "monotonic_s", lambda: clock.now_s)
        return clock

    def test_it_drains_by_the_budget_an_hour(self, clock: SimpleNamespace, settings: object):
        settings.LOSS_BUDGET_NANO_PER_HOUR = NANO
        book = Losses()
        book.add(1, 0)
        assert not book.is_over(1)
        book.add(1, NANO)
        assert book.is_over(1)
        assert not book.is_over(2)
        clock.now_s += 36
        assert not book.is_over(1)
        book.add(1, NANO // 100)
        assert book.is_over(1)
        clock.now_s += 1e6
        book.add(1, NANO - 1)
        assert not book.is_over(1)

    def test_who_lost_long_ago_is_forgotten(self, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(losses, "ORGANIZATIONS_MOST", 2)
        book = Losses()
        most = numbers.LOSS_BUDGET_NANO_PER_HOUR
        for organization in (1, 2, 1, 3):
            book.add(organization, most)
        assert [book.is_over(organization) for organization in (1, 2, 3)] == [True, False, True]


@BOTH
def test_tokens_of_what_was_given_up_are_not_given_back(gateway: Gateway, stream: bool):
    places = add_places(gateway, NEVER, OK)
    tenant = gateway.tenant(tier="standard")
    left = []
    for _ in range(2):
        answer = gateway.chat(tenant, places.model, messages=LONG, max_tokens=4_000, stream=stream)
        assert answer.status == 200
        left.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
    assert 1_000 + 256 + 37 < left[0] - left[1] < 1_000 + 4_000
