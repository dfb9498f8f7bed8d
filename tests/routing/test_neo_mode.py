"""Requests that leave the choice of a model to us, from the socket to the usage row."""

import json
from decimal import Decimal
from typing import Any

import pytest

from routing.selection.words import VIRTUAL_MODELS
from tests.fakes.client import Answer, call
from tests.fakes.replies import Reply
from tests.routing.answers import assert_error, key_of
from tests.routing.books import NANO, assert_in_order, only_row, organization_id, usage_rows
from tests.routing.choosing import BEST, CODE, MIDDLING
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

# US dollars per million tokens of input and output; `MIDDLING` keeps the promise of frugal, not of balanced.
DEAR, FAIR = ("5.00", "25.00"), ("0.20", "0.60")


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price=DEAR[0], output_price=DEAR[1])
    gateway.add_model(Reply(), MIDDLING, input_price=FAIR[0], output_price=FAIR[1])


@pytest.fixture
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


def ask(gateway: Gateway, tenant: Tenant, model: str = "neo-mode", **body: Any) -> Answer:
    return gateway.chat(tenant, model, **{"messages": CODE, **body})


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return answer.json


def charge(prices: tuple[str, str], usage: dict[str, int]) -> int:
    cost = -(-sum(int(Decimal(p) * NANO) * usage[n] for p, n in zip(prices, ("input", "output"), strict=True)) // 10**6)
    return cost + -(-cost * 2_500 // 10_000)


@pytest.fixture
def brain() -> Any:
    """That of the running gateway."""
    from komilion.asgi import gateway

    return gateway.services.learning.brain


class TestChoice:
    @pytest.mark.parametrize("model", VIRTUAL_MODELS)
    def test_each_name_is_answered_by_a_model_that_keeps_its_promise(self, gateway: Gateway, alice: Tenant, model: str):
        answer = good(ask(gateway, alice, model))
        chosen = MIDDLING if model == "neo-mode/frugal" else BEST
        note = answer["x_komilion"]
        assert answer["model"] == note["model"] == chosen
        assert (note["requested_model"], note["routed_from"]) == (model, model)
        assert "fallback" not in note
        assert (note["policy"], note["task_type"], note["workflow"]) == (
            VIRTUAL_MODELS[model],
            "code-generation",
            "direct",
        )
        assert note["rule"] in {"best", "cheapest_above_floor"}
        row = only_row(alice)
        assert (row.requested_model, row.model) == (model, chosen)
        assert (row.detail["task_type"], row.detail["finish_reason"]) == ("code-generation", "stop")
        assert row.detail["choice"]["policy"] == VIRTUAL_MODELS[model]
        assert "sorts a list" not in json.dumps(row.detail)

    @pytest.mark.parametrize("name", ["NEO-MODE", "Auto", "Neo-Mode/Frugal"])
    def test_a_name_may_be_written_in_any_case(self, gateway: Gateway, alice: Tenant, name: str):
        note = good(ask(gateway, alice, name))["x_komilion"]
        assert (note["requested_model"], note["policy"]) == (name.lower(), VIRTUAL_MODELS[name.lower()])
        assert good(call(gateway.url, f"/v1/models/{name}", alice.key))["id"] == name.lower()

    def test_each_name_has_a_title_of_its_own(self, gateway: Gateway, alice: Tenant):
        rows = good(call(gateway.url, "/v1/models", alice.key))["data"]
        titles = {row["id"]: row["name"] for row in rows if row["id"] in VIRTUAL_MODELS}
        assert len(set(titles.values())) == len(VIRTUAL_MODELS)

    def test_the_policy_of_the_body_counts(self, gateway: Gateway, alice: Tenant):
        assert good(ask(gateway, alice, policy="frugal"))["model"] == MIDDLING
        kept = good(ask(gateway, alice, "neo-mode/premium", policy="frugal"))
        assert kept["model"] == BEST
        assert {"param": "policy", "action": "dropped"} in kept["x_komilion"]["adjusted"]

    def test_a_key_chooses_among_the_models_that_it_may_call(self, gateway: Gateway, alice: Tenant):
        narrow = Tenant(key_of(alice, models_allowed=[MIDDLING]).secret, alice.email)
        answer = good(ask(gateway, narrow, "neo-mode/premium"))
        assert (answer["model"], answer["x_komilion"]["rule"]) == (MIDDLING, "only_candidate")
        nobody = Tenant(key_of(alice, models_allowed=["acme/nothing"]).secret, alice.email)
        assert_error(ask(gateway, nobody), "/v1/", 403, "permission_error", "model_not_allowed")

    def test_an_empty_set_of_candidates_names_the_filter(self, gateway: Gateway, alice: Tenant):
        answer = ask(gateway, alice, reasoning_effort="high")
        assert_error(answer, "/v1/", 400, "invalid_request_error", "invalid_request")
        assert "reasoning" in answer.json["error"]["message"]
        answer = ask(gateway, alice, max_tokens=50_000_000)
        assert_error(answer, "/v1/", 400, "invalid_request_error", "context_length_exceeded")

    def test_the_flat_form_takes_it_too(self, gateway: Gateway, alice: Tenant):
        body = {"model": "neo-mode", "policy": "frugal", "message": CODE[0]["content"]}
        answer = good(call(gateway.url, "/api/chat", alice.key, body))
        assert answer["model"] == MIDDLING
        assert "receipt" not in answer
        explained = good(call(gateway.url, "/api/chat", alice.key, {**body, "x_komilion": {"explain": True}}))
        assert explained["receipt"]["chosen"] == MIDDLING

    def test_it_is_no_model_that_a_request_may_name_as_a_fallback(self, gateway: Gateway, alice: Tenant):
        note = good(ask(gateway, alice, MIDDLING, models=["neo-mode"]))["x_komilion"]
        assert [entry["model"] for entry in note["adjusted"]] == ["neo-mode"]


class TestReceipt:
    def test_it_comes_with_the_answer_where_it_is_asked_for(self, gateway: Gateway, alice: Tenant):
        answer = good(ask(gateway, alice, x_komilion={"explain": True}))
        receipt = answer["x_komilion"]["receipt"]
        assert (receipt["chosen"], receipt["policy"]) == (BEST, "balanced")
        later = good(call(gateway.url, f"/api/generation?id={answer['id']}", alice.key))["data"]
        assert later["x_komilion"]["receipt"] == receipt
        assert later["finish_reason"] == "stop"
        assert gateway.manage("routing", "replay", answer["id"]) == f"same choice: {BEST}"
        assert "receipt" not in good(ask(gateway, alice))["x_komilion"]

    def test_a_stream_has_it_in_its_last_frame(self, gateway: Gateway, alice: Tenant):
        answer = ask(gateway, alice, stream=True, x_komilion={"explain": True})
        note = answer.frames[-1]["x_komilion"]
        assert (note["receipt"]["chosen"], note["rule"]) == (BEST, note["receipt"]["rule"])
        assert only_row(alice).detail["finish_reason"] == "stop"

    def test_what_was_wanted_is_said(self, gateway: Gateway, alice: Tenant):
        messages = [{"role": "user", "content": "Search the web for today's news."}]
        note = good(ask(gateway, alice, messages=messages))["x_komilion"]
        assert (note["workflow"], note["workflow_wanted"]) == ("direct", "tools")


class TestSavings:
    def test_they_are_the_charge_at_the_best_model_less_ours(self, gateway: Gateway, alice: Tenant):
        answer = ask(gateway, alice, "neo-mode/frugal")
        row = only_row(alice)
        saved = charge(DEAR, row.usage) - charge(FAIR, row.usage)
        assert row.charge_nano == charge(FAIR, row.usage)
        assert row.savings_nano == good(answer)["x_komilion"]["savings_nano_usd"] == saved > 0
        assert int(Decimal(answer.headers["x-komilion-savings"]) * NANO) == saved
        assert_in_order(gateway, alice, row.charge_nano)

    def test_the_best_model_itself_saves_nothing(self, gateway: Gateway, alice: Tenant):
        answer = ask(gateway, alice, "neo-mode/premium")
        assert good(answer)["x_komilion"]["savings_nano_usd"] == 0
        assert answer.headers["x-komilion-savings"] == "0.00"

    def test_a_stream_says_them_in_its_last_frame(self, gateway: Gateway, alice: Tenant):
        note = ask(gateway, alice, "neo-mode/frugal", stream=True).frames[-1]["x_komilion"]
        assert note["savings_nano_usd"] == only_row(alice).savings_nano > 0

    def test_a_negative_figure_is_shown_as_negative(self, gateway: Gateway, alice: Tenant):
        dear = gateway.add_model(Reply(), "acme/dear", input_price="500.00", output_price="900.00")
        pin(gateway, alice, dear)
        answer = ask(gateway, alice)
        note = good(answer)["x_komilion"]
        assert (note["model"], note["rule"]) == (dear, "pinned")
        assert note["savings_nano_usd"] == only_row(alice).savings_nano < 0
        assert answer.headers["x-komilion-savings"].startswith("-")

    def test_a_model_that_was_named_saves_nothing(self, gateway: Gateway, alice: Tenant):
        answer = ask(gateway, alice, MIDDLING)
        assert (good(answer)["x_komilion"]["savings_nano_usd"], answer.headers["x-komilion-savings"]) == (0, "0.00")


def pin(gateway: Gateway, tenant: Tenant, model: str, task: str = "coding") -> None:
    good(call(gateway.url, "/api/pins", tenant.key, {"taskType": task, "modelId": model}))


class TestPins:
    def test_the_next_call_uses_it(self, gateway: Gateway, alice: Tenant):
        """Whatever the process had in its memory: the hold finds out."""
        for model in (MIDDLING, BEST, MIDDLING):
            assert good(ask(gateway, alice))["x_komilion"]["rule"] != "nothing"
            pin(gateway, alice, model)
            note = good(ask(gateway, alice, x_komilion={"explain": True}))["x_komilion"]
            assert (note["model"], note["rule"], note["receipt"]["pin"]["verdict"]) == (model, "pinned", "pinned")

    def test_it_is_its_organizations_alone(self, gateway: Gateway, alice: Tenant):
        pin(gateway, alice, MIDDLING)
        assert good(ask(gateway, gateway.tenant()))["model"] == BEST

    def test_it_loses_to_what_the_key_may_call(self, gateway: Gateway, alice: Tenant):
        pin(gateway, alice, BEST)
        narrow = Tenant(key_of(alice, models_allowed=[MIDDLING]).secret, alice.email)
        note = good(ask(gateway, narrow))["x_komilion"]
        assert (note["model"], note["rule"]) == (MIDDLING, "pin_filtered")


class TestWhatFails:
    def test_the_next_best_model_answers_where_the_chosen_one_fails(self, gateway: Gateway, alice: Tenant):
        broken = "anthropic/claude-opus-4.6"
        gateway.add_model("500", broken, input_price="0.10", output_price="0.10")
        answer = good(ask(gateway, alice, x_komilion={"explain": True}))
        note = answer["x_komilion"]
        assert (answer["model"], note["requested_model"], note["policy"]) == (BEST, "neo-mode", "balanced")
        assert (note["routed_from"], note["fallback"], note["rule"]) == (broken, 1, "cheapest_above_floor")
        row = only_row(alice)
        assert row.detail["attempts"][0]["model"] == broken
        assert (row.model, row.detail["instead_of"]) == (BEST, broken)
        from routing.selection.receipts import stored_explanation

        for receipt in (note["receipt"], stored_explanation(row)):
            assert (receipt["chosen"], receipt["answered"]) == (broken, BEST)
            assert receipt["why"].endswith(f"That was {broken}; it did not answer, and {BEST} did.")
        take_away(gateway, broken)

    def test_the_requests_own_fallbacks_come_before_ours(self, gateway: Gateway, alice: Tenant):
        broken = "anthropic/claude-opus-4.6"
        gateway.add_model("500", broken, input_price="0.10", output_price="0.10")
        answer = good(ask(gateway, alice, models=["neo-mode", MIDDLING]))
        assert answer["model"] == MIDDLING
        take_away(gateway, broken)

    def test_without_a_brain_the_cheapest_answers(
        self, gateway: Gateway, alice: Tenant, brain: Any, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(brain, "decide", lambda _: None)
        answer = ask(gateway, alice, "neo-mode/premium", x_komilion={"explain": True})
        note = good(answer)["x_komilion"]
        assert (note["model"], note["rule"], note["receipt"]) == (MIDDLING, "selection_degraded", None)
        assert note["savings_usd"] is None
        assert "x-komilion-savings" not in answer.headers
        assert only_row(alice).savings_nano == 0
        assert "choice" not in only_row(alice).detail
        nobody = Tenant(key_of(alice, models_allowed=["acme/nothing"]).secret, alice.email)
        assert_error(ask(gateway, nobody), "/v1/", 503, "service_unavailable", "provider_unavailable")


def take_away(gateway: Gateway, model: str) -> None:
    """From the catalogue, for every process."""
    from routing.actions.catalog import raise_version
    from routing.catalog.models import Offer

    Offer.objects.filter(model_id=model, provider_id="up").delete()
    raise_version()


class TestLearning:
    def test_votes_move_what_the_running_gateway_thinks(self, gateway: Gateway, alice: Tenant, brain: Any):
        answer = good(ask(gateway, alice))
        assert only_row(alice)
        good(call(gateway.url, "/api/feedback", alice.key, {"request_id": answer["id"], "thumbs": "down"}))
        market = brain.ready.market

        def offset() -> float:
            return min((float(row[market.index[BEST]]) for row in brain.ready.offsets.rows.values()), default=0.0)

        wait_until(lambda: offset() < 0, what="the vote to be counted")

    def test_calls_that_name_a_model_are_classified_afterwards(self, gateway: Gateway, alice: Tenant, settings: Any):
        settings.CLASSIFIED_SHARE = 1
        good(ask(gateway, alice, MIDDLING))
        row = wait_until(
            lambda: [row for row in usage_rows(alice) if "task_type" in row.detail], what="the call to be classified"
        )[0]
        assert row.detail["task_type"] == "code-generation"
        assert row.detail["attempts"]

    def test_a_conversation_is_remembered(self, gateway: Gateway, alice: Tenant, brain: Any):
        before = len(brain.sessions)
        good(ask(gateway, alice, session_id="a conversation"))
        wait_until(lambda: len(brain.sessions) > before, what="the conversation to be remembered")


def test_a_retired_model_moves_to_a_dearer_successor_where_the_organization_wants_it(gateway: Gateway, alice: Tenant):
    assert organization_id(alice)
