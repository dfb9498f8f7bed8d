"""Estimates: what a request would do and cost, planned and held as a call would be, with nothing sent or held."""

import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_a_second_offer_of_the_model_is_no_fallback(gateway: Gateway, alice: Tenant):
    from routing.catalog.models import Offer

    model = gateway.add_model(Reply())
    gateway.add_model(Reply(), model, provider=gateway.add_provider("second"))
    assert Offer.objects.filter(model_id=model).count() == 2
    assert estimate(gateway, alice, model, models=[MIDDLING])["fallbacks"] == [MIDDLING]


def limited(tenant: Tenant, **limits: int) -> str:
    """A key of hers with these limits."""
    key = key_of(tenant)
    type(key.row).objects.filter(pk=key.row.pk).update(limits=limits)
    return str(key.secret)


class TestLimits:
    """An estimate is admitted as the call would be."""

    def test_what_a_call_would_be_refused_for_by_its_tokens_is_refused(self, gateway: Gateway, alice: Tenant):
        key = limited(alice, tokens_per_minute=500)
        for path in (PATH, "/v1/chat/completions"):
            answer = call(gateway.url, path, key, {"model": BEST, "messages": CODE, "max_tokens": 600})
            assert (answer.status, answer.json["error"]["reason"]) == (429, "rate_limited")
            assert "tokens a minute" in answer.json["error"]["message"]

    def test_the_input_counts_and_the_output_does_not(self, gateway: Gateway, alice: Tenant):
        key = limited(alice, tokens_per_minute=1_000)
        body = {"model": BEST, "messages": [{"role": "user", "content": "word " * 400}], "max_tokens": 300}
        statuses = [call(gateway.url, PATH, key, body).status for _ in range(2)]
        assert statuses == [200, 429]

    def test_it_has_a_place_while_it_works(self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch):
        from routing.gateway import estimate as module

        key, begun, may_go_on = limited(alice, parallel=1), threading.Event(), threading.Event()
        ask_the_ledger = module._ask_the_ledger

        def slowly(place: Any) -> Any:
            begun.set()
            assert may_go_on.wait(30)
            return ask_the_ledger(place)

        monkeypatch.setattr(module, "_ask_the_ledger", slowly)
        body = {"model": BEST, "messages": CODE}
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(call, gateway.url, PATH, key, body)
            assert begun.wait(30)
            second = call(gateway.url, PATH, key, body)
            may_go_on.set()
            assert first.result().status == 200
        assert (second.status, second.json["error"]["reason"]) == (429, "too_many_parallel_requests")


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
        assert 19_000_000 < found["cost"]["maximum_nano_usd"] <= 20_000_000

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_call_that_is_lowered_costs_no_more_than_the_maximum(self, gateway: Gateway, stream: bool):
        """The wallet pays for some 300 tokens of output; the model would write 100,000."""
        tenant, body = gateway.tenant(credit="0.01"), {"model": BEST, "messages": CODE, "stream": stream}
        found = call(gateway.url, PATH, tenant.key, body).json
        answer = gateway.chat(tenant, BEST, messages=CODE, stream=stream)
        note = (answer.frames[-1] if stream else answer.json)["x_komilion"]
        (lowered,) = found["adjusted"]
        assert (lowered["param"], lowered["action"], lowered["reason"]) == (
            "max_tokens",
            "lowered",
            "insufficient_balance",
        )
        assert found["adjusted"] == note["adjusted"]
        assert found["output_tokens"] <= lowered["to"]
        assert note["cost_nano_usd"] <= found["cost"]["maximum_nano_usd"] <= 10_000_000

    def test_a_model_that_the_wallet_cannot_start_is_skipped(self, gateway: Gateway):
        dear = gateway.add_model(Reply(), input_price="5000.00", output_price="5000.00")
        found = estimate(gateway, gateway.tenant(credit="0.02"), dear, models=[MIDDLING], max_tokens=50)
        assert (found["model"], found["fallbacks"], found["would_be_402"]) == (MIDDLING, [], False)
        assert {"param": "models", "action": "skipped", "model": dear, "reason": "insufficient_balance"} in found[
            "adjusted"
        ]

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
