"""Receipts in usage rows: shown whole, voted on, replayed by the operator, and harmless where they cannot be read."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from msgspec.structs import replace

from routing.management.commands import routing as command
from routing.queries import CatalogRows
from routing.selection.market import Facts
from routing.selection.markets import keep_market
from routing.selection.models import Feedback, Market
from routing.selection.receipt import pack
from tests.komilion.tenancy import new_usage_row
from tests.people import Api, Person, new_owner
from tests.routing.choosing import BEST, MIDDLING, asked, brain, catalog
from tests.routing.parsing import IMAGE

pytestmark = pytest.mark.django_db

PICTURE = [{"role": "user", "content": [{"type": "text", "text": "What is in this picture?"}, IMAGE]}]


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def routed(alice: Person, key_id: int, model: str = BEST, body: dict[str, Any] | None = None, **detail: Any) -> str:
    """A call of hers that the brain routed; returns its request id."""
    from billing.models import UsageRow

    made = brain()
    choice = made.decide(asked(body))
    assert choice is not None
    keep_market(choice.market.facts)
    request_id = new_usage_row(alice, key_id)
    rows = UsageRow.objects.filter(request_id=request_id)
    known = {"choice": pack(choice), "task_type": "code-generation", "difficulty": 0.1, "finish_reason": "stop"}
    rows.update(model=model, detail={**known, **detail})
    return request_id


def spoil(request_id: str, **choice: Any) -> None:
    from billing.models import UsageRow

    row = UsageRow.objects.get(request_id=request_id)
    row.detail["choice"] = {**row.detail["choice"], **choice}
    UsageRow.objects.filter(request_id=request_id).update(detail=row.detail)


def shown(api: Api, request_id: str) -> Any:
    answer = api("GET", f"/api/generation?id={request_id}")
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def routing(*arguments: str) -> str:
    output = StringIO()
    call_command("routing", *arguments, stdout=output)
    return output.getvalue()


class TestGeneration:
    def test_a_chosen_model_is_explained(self, alice: Person):
        key = alice.key()
        data = shown(Api(key.secret), routed(alice, key.row.pk))
        assert data["finish_reason"] == "stop"
        ours = data["x_komilion"]
        assert ours["task_type"] == "code-generation"
        receipt = ours["receipt"]
        assert (receipt["chosen"], receipt["policy"], receipt["rule"]) == (BEST, "balanced", "cheapest_above_floor")
        assert {row["model"] for row in receipt["candidates"]} > {BEST, MIDDLING}

    @pytest.mark.parametrize(
        "spoilt", [{"market": "no such market"}, {"table": "AAAA"}, {"version": "x"}, {"ranked": None}]
    )
    def test_a_receipt_that_cannot_be_read_is_none(self, alice: Person, spoilt: dict[str, Any]):
        key = alice.key()
        request_id = routed(alice, key.row.pk)
        spoil(request_id, **spoilt)
        assert shown(Api(key.secret), request_id)["x_komilion"]["receipt"] is None

    def test_neither_is_one_whose_market_was_changed(self, alice: Person):
        key = alice.key()
        request_id = routed(alice, key.row.pk)
        from routing.selection.markets import _facts

        _facts.cache_clear()
        Market.objects.update(content={"models": []})
        assert shown(Api(key.secret), request_id)["x_komilion"]["receipt"] is None
        _facts.cache_clear()


class TestFeedback:
    def test_a_vote_keeps_how_the_model_was_chosen_and_nothing_of_the_prompt(self, alice: Person):
        key = alice.key()
        request_id = routed(alice, key.row.pk)
        answer = Api(key.secret)("POST", "/api/feedback", {"request_id": request_id, "thumbs": "down"})
        assert answer.status_code == 200
        row = Feedback.objects.get(request_id=request_id)
        assert (row.policy, row.task, row.propensity, row.score) == ("balanced", "code-generation", 1.0, 0.0)
        assert row.revision.startswith(f"{BEST}@")
        assert 0.5 < row.expected < 1
        assert set(row.features) == {"reading", "market", "weights", "rule", "ranked"}
        assert "sorts" not in json.dumps(row.features)

    def test_of_a_model_that_was_no_candidate_nothing_was_expected(self, alice: Person):
        key = alice.key()
        request_id = routed(alice, key.row.pk, model="acme/unknown")
        Api(key.secret)("POST", "/api/feedback", {"request_id": request_id, "thumbs": "up"})
        row = Feedback.objects.get(request_id=request_id)
        assert (row.expected, row.revision, row.policy) == (None, "", "balanced")


class TestCommand:
    def test_replay_comes_to_the_same_choice(self, alice: Person):
        text = routing("replay", routed(alice, alice.key().row.pk))
        assert text.startswith("same choice:")
        assert BEST in text

    @pytest.mark.parametrize("body", [{"messages": PICTURE}, {"taskHint": "vision"}], ids=["picture", "hint"])
    def test_replay_knows_which_models_see(self, alice: Person, body: dict[str, Any]):
        """Whatever the catalogue says of them by now, or here: none of them can be called in this test."""
        assert routing("replay", routed(alice, alice.key().row.pk, body=body)).startswith("same choice:")

    @pytest.mark.parametrize("is_known", [True, False])
    def test_replay_goes_by_the_catalogue_where_the_market_was_kept_before_that(
        self, alice: Person, monkeypatch: pytest.MonkeyPatch, is_known: bool
    ):
        request_id = routed(alice, alice.key().row.pk, body={"messages": PICTURE})
        facts = brain().ready.market.facts
        nothing = {"family": "", "line": "", "is_reasoning": False, "has_vision": False}
        older = Facts(tuple(replace(model, **nothing) for model in facts.models))
        keep_market(older)
        spoil(request_id, market=older.fingerprint)
        if is_known:
            monkeypatch.setattr(command, "catalog_rows", lambda: CatalogRows(1, {}, catalog()))
            assert routing("replay", request_id).startswith("same choice:")
        else:
            with pytest.raises(CommandError, match="logit"):
                routing("replay", request_id)

    def test_replay_says_what_differs(self, alice: Person):
        request_id = routed(alice, alice.key().row.pk)
        spoil(request_id, ranked=[0, 1], rule="best")
        with pytest.raises(CommandError) as differing:
            routing("replay", request_id)
        assert "rule: best then" in str(differing.value)

    def test_replay_says_so_where_the_weights_are_others(self, alice: Person):
        request_id = routed(alice, alice.key().row.pk)
        spoil(request_id, weights="older")
        with pytest.raises(CommandError, match="weights: older then"):
            routing("replay", request_id)

    def test_explain_prints_the_receipt(self, alice: Person):
        assert json.loads(routing("explain", routed(alice, alice.key().row.pk)))["chosen"] == BEST

    @pytest.mark.parametrize("verb", ["replay", "explain"])
    def test_there_must_be_a_receipt(self, alice: Person, verb: str):
        with pytest.raises(CommandError, match="no request"):
            routing(verb, "gen-nothing")
        with pytest.raises(CommandError, match="named its model"):
            routing(verb, new_usage_row(alice, alice.key().row.pk, "gen-named"))
        request_id = routed(alice, alice.key().row.pk)
        spoil(request_id, market="no such market")
        with pytest.raises(CommandError, match="cannot be read"):
            routing(verb, request_id)
