"""Estimates: what a request would do and cost, planned and held as a call would be, with nothing sent or held."""

from typing import Any

import pytest
from django.db import OperationalError

from tests.fakes.client import call
from tests.fakes.replies import Reply
from tests.routing.answers import PREFIXES, assert_error, key_of
from tests.routing.books import assert_in_order, only_row, set_caps
from tests.routing.choosing import BEST, CODE, MIDDLING
from tests.stand import Gateway, Tenant

PATH = "/api/estimate"
BRAIN_READS = ("estimate_input", "read_question")


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")
    gateway.add_model(Reply(), MIDDLING, input_price="0.20", output_price="0.60")


@pytest.fixture
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


def estimate(gateway: Gateway, tenant: Tenant, model: str = "neo-mode", **body: Any) -> Any:
    answer = call(gateway.url, PATH, tenant.key, {"model": model, "messages": CODE, **body})
    assert answer.status == 200, answer.body
    return answer.json


def bounds(found: Any) -> list[int]:
    return [found["cost"][f"{name}_nano_usd"] for name in ("minimum", "expected", "maximum")]


def test_anonymous(gateway: Gateway):
    answer = call(gateway.url, PATH, None, {"model": "neo-mode", "messages": CODE})
    assert_error(answer, PATH, 401, "authentication_error", "invalid_api_key")


def test_it_is_under_one_prefix(gateway: Gateway, alice: Tenant):
    found = [call(gateway.url, prefix + "/estimate", alice.key, {}).status for prefix in PREFIXES]
    assert found == [404, 400, 404, 404]


@pytest.mark.parametrize("model", ["neo-mode", "neo-mode/frugal", "auto", BEST, MIDDLING])
def test_the_call_then_does_what_was_said(gateway: Gateway, alice: Tenant, model: str):
    found = estimate(gateway, alice, model)
    assert_in_order(gateway, alice, 0)
    assert (found["would_be_402"], found["refusal"]) == (False, None)
    answer = gateway.chat(alice, model, messages=CODE).json
    assert answer["model"] == found["model"]
    note = answer["x_komilion"]
    for name in ("policy", "task_type", "rule"):
        assert found[name] == note.get(name)
    least, likely, most = bounds(found)
    assert least <= likely <= most
    assert least <= only_row(alice).charge_nano <= most
    assert found["hold_nano_usd"] == most


def test_nothing_reaches_a_provider(gateway: Gateway, alice: Tenant):
    before = len(gateway.calls_of(BEST))
    estimate(gateway, alice, BEST)
    assert len(gateway.calls_of(BEST)) == before


def test_exclusions_are_named(gateway: Gateway, alice: Tenant):
    narrow = Tenant(key_of(alice, models_allowed=[MIDDLING]).secret, alice.email)
    found = estimate(gateway, narrow)
    assert (found["model"], found["filters"]) == (MIDDLING, ["allowed"])
    assert found["excluded"][BEST] == "filtered: not allowed by the key"
    assert estimate(gateway, alice)["excluded"] == {}
    assert estimate(gateway, alice)["fallbacks"] == [MIDDLING]


def test_what_a_call_would_be_refused_for_is_refused(gateway: Gateway, alice: Tenant):
    for body, status, reason in (
        ({"model": "acme/nothing"}, 400, "unknown_model"),
        ({"reasoning_effort": "high"}, 400, "invalid_request"),
        ({"temperature": 5}, 400, "invalid_request"),
    ):
        answer = call(gateway.url, PATH, alice.key, {"model": "neo-mode", "messages": CODE, **body})
        assert (answer.status, answer.json["error"]["reason"]) == (status, reason)
        assert "x-ratelimit-limit" in answer.headers


class TestMoney:
    def test_an_empty_wallet_would_be_402(self, gateway: Gateway):
        found = estimate(gateway, gateway.tenant(credit="0.00"), BEST)
        assert (found["would_be_402"], found["hold_nano_usd"]) == (True, 0)
        assert found["refusal"]["reason"] == "insufficient_balance"
        assert found["refusal"]["needed_nano_usd"] > 0

    def test_a_cap_that_leaves_too_little_would_be_402(self, gateway: Gateway, alice: Tenant):
        set_caps(alice, day=10)
        found = estimate(gateway, alice, BEST)
        assert (found["would_be_402"], found["refusal"]["reason"]) == (True, "key_cap_reached")
        assert "cap of this key" in found["refusal"]["message"]

    def test_a_wallet_that_covers_the_start_holds_what_it_has(self, gateway: Gateway):
        found = estimate(gateway, gateway.tenant(credit="0.02"), BEST)
        assert (found["would_be_402"], found["hold_nano_usd"]) == (False, 20_000_000)
        assert found["cost"]["maximum_nano_usd"] > 20_000_000

    def test_the_input_is_counted_where_bytes_are_too_coarse(self, gateway: Gateway, alice: Tenant):
        """10.00 dollars are there, and a tenth of them is below what these bytes could come to."""
        long = [{"role": "user", "content": "word " * 40_000}]
        found = estimate(gateway, alice, BEST, messages=long, max_tokens=10)
        assert found["would_be_402"] is False
        assert found["hold_nano_usd"] < len("word ") * 40_000 * 5_000 * 1.25

    def test_an_answer_needs_the_ledger(self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch):
        def away(_: Any) -> None:
            raise OperationalError("away")

        monkeypatch.setattr("routing.gateway.estimate.preview_hold", away)
        answer = call(gateway.url, PATH, alice.key, {"model": BEST, "messages": CODE})
        assert_error(answer, PATH, 503, "service_unavailable", "ledger_unavailable")


class TestWithoutABrain:
    @pytest.mark.parametrize(
        "broken", ["routing.gateway.choice.brain.estimate_input", "routing.gateway.choice.brain.read_question"]
    )
    def test_what_cannot_be_read_is_guessed(
        self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch, broken: str
    ):
        monkeypatch.setattr(broken, lambda *_: 1 / 0)
        found = estimate(gateway, alice, "neo-mode/premium")
        assert (found["model"], found["rule"]) == (MIDDLING, "selection_degraded")
        least, likely, most = bounds(found)
        assert 0 < least <= likely <= most

    def test_neither_does_a_missing_one_break_anything(
        self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
    ):
        from komilion.asgi import gateway as running

        brain = running.services.learning.brain
        monkeypatch.setattr(brain, "decide", lambda _: None)
        monkeypatch.setattr(brain, "expect", lambda *_: None)
        assert estimate(gateway, alice)["rule"] == "selection_degraded"
        assert estimate(gateway, alice, BEST)["output_tokens"] > 0

    def test_a_price_without_a_figure_for_what_is_expected_is_bounded(
        self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
    ):
        from billing.prices import PriceVersion, UnpricedUsage

        def unpriced(*_: Any) -> None:
            raise UnpricedUsage("no price")

        monkeypatch.setattr(PriceVersion, "charge", unpriced)
        assert bounds(estimate(gateway, alice, BEST))[0] > 0
