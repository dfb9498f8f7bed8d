"""What the brain makes of requests, and of everything that may be missing or broken."""

from typing import Any

import pytest

from komilion.common.clock import unix_s
from komilion.common.errors import BadRequest, ModelNotAllowed, ProviderUnavailable
from komilion.common.usage import Usage
from routing.gateway.choice import brain as module
from routing.gateway.choice.brain import Asked, Brain
from routing.gateway.choice.selected import Selected
from routing.selection.explain import explain, replay
from routing.selection.features import question_of
from routing.selection.live import Live
from routing.selection.offsets import Feedback, Offsets
from routing.selection.receipt import pack
from tests.routing.choosing import BEST, CHEAP, MIDDLING, asked, brain, catalog, offer


def chosen(made: Brain, request: Asked) -> str:
    choice = made.decide(request)
    assert choice is not None
    return choice.models[0]


def rule(made: Brain, request: Asked) -> str:
    choice = made.decide(request)
    assert choice is not None
    return choice.decision.rule


class TestChoices:
    def test_policies_take_what_they_promise(self):
        made = brain()
        assert chosen(made, asked({"model": "neo-mode/premium"})) == BEST
        assert chosen(made, asked({"model": "neo-mode/balanced"})) == chosen(made, asked({"model": "auto"})) == BEST
        assert chosen(made, asked({"model": "neo-mode/frugal"})) == MIDDLING
        costs = [
            made.decide(asked({"model": f"neo-mode/{policy}"})).expected_cost_nano
            for policy in ("frugal", "balanced", "premium")
        ]
        assert costs == sorted(costs)

    def test_the_policy_of_the_body_counts_where_the_model_names_none(self):
        made = brain()
        assert chosen(made, asked({"policy": "premium"})) == BEST
        assert made.decide(asked({"model": "auto", "policy": "frugal"})).inputs.policy == "frugal"
        assert made.decide(asked({"model": "neo-mode/premium", "policy": "frugal"})).inputs.policy == "premium"

    def test_the_same_request_gets_the_same_choice(self):
        made = brain()
        assert pack(made.decide(asked())) == pack(made.decide(asked()))

    def test_a_pin_wins_over_the_policy_and_says_so(self):
        made = brain()
        request = asked({"taskHint": "coding"}, pins={"code-generation": CHEAP})
        assert (chosen(made, request), rule(made, request)) == (CHEAP, "pinned")

    def test_a_pin_loses_to_a_filter_and_says_so(self):
        made = brain()
        request = asked({"max_tokens": 5_000}, pins={"code-generation": CHEAP})
        assert (chosen(made, request) != CHEAP, rule(made, request)) == (True, "pin_filtered")

    def test_a_pin_of_another_task_type_is_none_of_this_request(self):
        assert rule(brain(), asked(pins={"translation": CHEAP})) != "pinned"

    def test_a_key_chooses_among_its_models(self):
        made = brain()
        assert chosen(made, asked(models_allowed=frozenset({CHEAP}))) == CHEAP
        with pytest.raises(ModelNotAllowed):
            made.decide(asked({"max_tokens": 5_000}, models_allowed=frozenset({CHEAP})))

    def test_an_offer_that_is_failing_is_not_chosen(self):
        made = brain()
        open_offers = frozenset({("up", BEST), ("up", MIDDLING)})
        assert chosen(made, asked(open_offers=open_offers)) == CHEAP
        with pytest.raises(ProviderUnavailable):
            made.decide(asked(open_offers=open_offers | {("up", CHEAP)}))

    def test_what_no_model_can_is_a_bad_request_that_names_the_filter(self):
        with pytest.raises(BadRequest) as refused:
            brain().decide(asked({"reasoning_effort": "high"}))
        assert "reasoning" in refused.value.message
        assert chosen(brain(), asked({"reasoning_effort": "none"}))
        image = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "https://x.de/a"}}]
        with pytest.raises(BadRequest):
            brain(catalog(**{CHEAP: [offer(CHEAP, 0, 2_048, capabilities=frozenset())]})).decide(
                asked({"messages": [{"role": "user", "content": image}]})
            )

    def test_everything_in_the_conversation_counts_for_its_length(self):
        long = [{"role": "assistant", "content": [{"type": "text", "text": "word " * 3_000}]}]
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        long += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": ""},
        ]
        request = asked({"messages": [*long, {"role": "user", "content": "Go on."}]}, pins={"other": CHEAP})
        assert chosen(brain(), request) != CHEAP


class TestSessions:
    def test_a_conversation_is_known_by_its_id_or_its_head(self):
        by_id = asked({"session_id": "s"})
        assert by_id.session == asked({"session_id": "s", "messages": [{"role": "user", "content": "x"}]}).session
        assert by_id.session != asked({"session_id": "t"}).session != asked().session
        assert asked().session == asked().session

    def test_who_answered_a_conversation_answers_it_again(self):
        made = brain(
            catalog(
                **{
                    MIDDLING: [offer(MIDDLING, 1.0, 100_000, provider="a")],
                    BEST: [offer(BEST, 1.0001, 100_000, provider="b")],
                }
            )
        )
        made.ready.market.offers[made.ready.market.offer_index["b", BEST]].price.components["cache_read"] = 10**8
        request = asked({"messages": [{"role": "user", "content": "word " * 10_000}]})
        made.ready = made.prepare(catalog(2, **{entry.id: list(entry.offers) for entry in made.ready.market.models}))
        made.remember(request.session, BEST, "b", 10_000)
        assert made.sessions.get(request.session, unix_s()).model == BEST
        assert made.decide(request).table.session is not None


class TestFigures:
    def test_traffic_and_votes_are_looked_at_once_there_is_a_catalogue(self):
        made = Brain()
        live, offsets = Live(), Offsets()
        for _ in range(10):
            live.answered(("up", BEST), 9.0, 50.0, unix_s())
        made.take_live(live)
        made.take_offsets(offsets)
        made.ready = made.prepare(catalog())
        market = made.ready.market
        assert made.ready.live.first_content_s[market.offer_index["up", BEST]] == pytest.approx(9.0, rel=0.1)
        made.take_live(Live())
        assert made.ready.live.first_content_s[market.offer_index["up", BEST]] < 5
        revision = market.facts.models[market.index[BEST]].revision
        for organization in "abcdef":
            offsets.note(Feedback(revision, "code-generation", 0.0, 0.9, 0.0, organization), unix_s())
        made.take_offsets(offsets)
        choice = made.decide(asked())
        assert choice.offsets[market.index[BEST]] < 0


class TestExpectations:
    """What a call is expected to use, for estimates."""

    def test_of_an_offer_in_the_market(self):
        made = brain()
        first = made.ready.market.offers[0]
        found = made.expect(asked({"n": 2, "max_tokens": 100}), first)
        assert found is not None
        assert found[0] > 5
        assert 2 <= found[1] <= 200
        made.ready.live = None
        assert made.expect(asked({"n": 2, "max_tokens": 100}), first) == found

    def test_of_what_nobody_knows(self, monkeypatch: pytest.MonkeyPatch):
        made = brain()
        first = made.ready.market.offers[0]
        assert made.expect(asked(), offer("acme/unknown", 1, 1_000)) is None
        assert Brain().expect(asked(), first) is None
        monkeypatch.setattr(module, "estimate_input", lambda *_: 1 / 0)
        assert made.expect(asked(), first) is None


class TestWhatIsBroken:
    def test_without_a_catalogue_there_is_no_choice(self):
        assert Brain().decide(asked()) is None

    def test_without_weights_the_cheapest_is_taken(self, monkeypatch: pytest.MonkeyPatch):
        def missing() -> None:
            raise FileNotFoundError("weights.npz")

        monkeypatch.setattr(module.Weights, "load", missing)
        made = brain()
        request = asked({"model": "neo-mode/premium"}, pins={"code-generation": BEST})
        assert (chosen(made, request), rule(made, request)) == (CHEAP, "selection_degraded")
        assert made.classify(question_of("Hi")) is None

    @pytest.mark.parametrize("broken", ["read_question", "estimate_input", "pin_for", "wanted"])
    def test_a_part_that_fails_leaves_the_cheapest(self, monkeypatch: pytest.MonkeyPatch, broken: str):
        def fail(*_: Any, **__: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(module, broken, fail)
        assert (chosen(brain(), asked()), rule(brain(), asked())) == (CHEAP, "selection_degraded")

    def test_where_even_that_fails_there_is_no_choice(self, monkeypatch: pytest.MonkeyPatch):
        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        made = brain()
        monkeypatch.setattr(module, "choose", fail)
        assert made.decide(asked()) is None

    def test_a_catalogue_that_makes_no_market_is_no_error(self, monkeypatch: pytest.MonkeyPatch):
        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(module.Market, "build", fail)
        assert Brain().prepare(catalog()) is None

    def test_a_question_that_cannot_be_read_is_not_classified(self, monkeypatch: pytest.MonkeyPatch):
        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        made = brain()
        assert made.classify(question_of("Translate this to French: good morning")) is not None
        monkeypatch.setattr(module.Weights, "read", fail)
        assert made.classify(question_of("Hi")) is None


class TestSelected:
    """What answer, usage row and bill say of a choice."""

    def test_of_a_choice(self):
        made = brain()
        request = asked({"model": "neo-mode/frugal", "x_komilion": {"explain": True}})
        choice = made.decide(request)
        selected = Selected("frugal", choice, request.session, wants_receipt=True)
        detail, notes = selected.detail(), selected.notes(choice.models[0])
        assert detail["task_type"] == notes["task_type"] == selected.task == "code-generation"
        assert (notes["policy"], notes["rule"], notes["workflow"]) == ("frugal", choice.decision.rule, "direct")
        assert "workflow_wanted" not in notes
        assert notes["receipt"] == explain(detail["choice"], choice.market.facts)
        assert replay(detail["choice"], choice.market.facts, None, "").same
        assert "sorts a list" not in str(detail)
        best = choice.best_offer.price
        usage = Usage(input=1_000, output=500)
        assert selected.savings(usage, 10) == best.charge(usage).charge - 10
        assert selected.savings(usage, 10**12) < 0
        assert selected.savings(Usage(web_searches=1), 10) is None

    def test_a_receipt_is_only_for_who_asks_for_it(self):
        choice = brain().decide(asked())
        assert "receipt" not in Selected("balanced", choice, b"", wants_receipt=False).notes(BEST)

    def test_what_was_wanted_and_is_not_there_is_said(self):
        request = asked({"messages": [{"role": "user", "content": "Search the web for today's news."}]})
        notes = Selected("balanced", brain().decide(request), b"", wants_receipt=False).notes(BEST)
        assert (notes["workflow"], notes["workflow_wanted"]) == ("direct", "tools")

    def test_of_no_choice(self):
        selected = Selected("balanced", None, b"", wants_receipt=True)
        assert selected.detail() == {"policy": "balanced"}
        assert selected.notes(BEST) == {
            "policy": "balanced",
            "task_type": None,
            "rule": "selection_degraded",
            "workflow": "direct",
            "receipt": None,
        }
        assert selected.savings(Usage(input=1), 1) is None

    @pytest.mark.parametrize("broken", ["pack", "explain"])
    def test_a_receipt_that_cannot_be_written_costs_no_answer(self, monkeypatch: pytest.MonkeyPatch, broken: str):
        monkeypatch.setattr(f"routing.gateway.choice.selected.{broken}", lambda *_: 1 / 0)
        selected = Selected("balanced", brain().decide(asked()), b"", wants_receipt=True)
        assert selected.notes(BEST)["receipt"] is None
        detail = selected.detail()
        assert detail["task_type"] == "code-generation"
        assert (detail.get("policy"), "choice" in detail) == (("balanced", False) if broken == "pack" else (None, True))

    def test_of_a_choice_without_a_reading(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "pin_for", lambda *_: 1 / 0)
        choice = brain().decide(asked())
        selected = Selected("balanced", choice, b"", wants_receipt=False)
        assert set(selected.detail()) == {"choice"}
        assert selected.savings(Usage(input=1), 1) is None
