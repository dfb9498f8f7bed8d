"""Other models in the place of the one that fails: which are asked, and what is held for them."""

import pytest

from tests.fakes.client import CHAT, RawCall, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.answers import key_of
from tests.routing.books import assert_in_order, charge_of, only_row
from tests.routing.failing import BAD, BOTH, OK, add_fallback, add_offer, add_places, assert_served
from tests.routing.gates import Gate
from tests.stand import Gateway, Tenant


class TestFallbacks:
    """`models` and `fallbacks` of the request."""

    @BOTH
    def test_the_next_model_answers(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, Reply(status=503))
        fallback = add_fallback(gateway, OK, output_price="30.00")
        answer = places.ask(models=[fallback], stream=stream)
        frames = answer.frames if stream else [answer.json]
        assert {frame["model"] for frame in frames} == {fallback}
        assert answer.headers["x-komilion-model"] == fallback
        note = frames[-1]["x_komilion"]
        assert (note["model"], note["requested_model"], note["routed_from"]) == (fallback, places.model, places.model)
        assert note["fallback"] == 1
        row = places.row()
        assert (row.requested_model, row.model) == (places.model, fallback)
        cost = 25 * 3_000 + 12 * 30_000
        assert row.charge_nano == cost * 5 // 4 == note["cost_nano_usd"]
        assert_in_order(gateway, places.tenant, row.charge_nano)

    def test_the_first_of_the_list_is_the_model(self, gateway: Gateway):
        places, fallback = add_places(gateway, OK), add_fallback(gateway, OK)
        body = {
            "models": [places.model, fallback],
            "messages": [{"role": "user", "content": "What is quantum computing?"}],
        }
        answer = call(gateway.url, CHAT, places.tenant.key, body)
        assert answer.json["model"] == places.model
        assert answer.json["x_komilion"]["routed_from"] is None

    def test_nothing_of_it_reaches_a_provider(self, gateway: Gateway):
        places, fallback = add_places(gateway, OK), add_fallback(gateway, OK)
        places.ask(models=[fallback], route="fallback")
        places.ask(fallbacks=[{places.model: [fallback]}])
        for seen in places.calls(0):
            assert not {"models", "fallbacks", "route"} & seen.body.keys()

    def test_what_cannot_serve_is_left_out_and_named(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK)
        blind = add_fallback(gateway, OK, capabilities="tools")
        small = add_fallback(gateway, OK, context=16, max_output=16)
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        answer = places.ask(
            models=["acme/unheard-of", "Neo-Mode", blind, small],
            messages=[{"role": "user", "content": image}],
            max_tokens=5,
        )
        adjusted = {entry["model"]: entry["reason"] for entry in answer.json["x_komilion"]["adjusted"]}
        assert adjusted["acme/unheard-of"] == "unknown_model"
        assert adjusted["Neo-Mode"] == "policy_as_fallback"
        assert adjusted[blind] == "invalid_request"
        assert {entry["action"] for entry in answer.json["x_komilion"]["adjusted"]} == {"skipped"}
        assert only_row(places.tenant).detail["adjusted"] == answer.json["x_komilion"]["adjusted"]

    def test_a_prompt_that_is_too_long_for_a_fallback(self, gateway: Gateway):
        places, small = add_places(gateway, OK), add_fallback(gateway, OK, context=16, max_output=16)
        answer = places.ask(models=[small], messages=[{"role": "user", "content": "long " * 100}])
        assert answer.json["x_komilion"]["adjusted"] == [
            {"param": "models", "action": "skipped", "model": small, "reason": "context_length_exceeded"}
        ]

    def test_a_model_that_cannot_do_it_gives_way_to_its_fallback(self, gateway: Gateway):
        places = add_places(gateway, OK, capabilities="json_schema")
        fallback = add_fallback(gateway, OK)
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        answer = places.ask(models=[fallback], tools=tools)
        assert answer.json["model"] == fallback
        assert answer.json["x_komilion"]["adjusted"][0]["model"] == places.model
        assert places.counts == [0]
        other = add_fallback(gateway, OK, capabilities="json_schema")
        assert places.ask(models=[other], tools=tools).json["error"]["param"] == "tools"

    def test_a_model_that_is_found_under_two_names_is_planned_once(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=401))
        assert places.ask(models=[places.model.partition("/")[2]]).status == 502
        assert places.counts == [1]

    def test_only_models_that_the_key_may_call(self, gateway: Gateway):
        places, fallback = add_places(gateway, Reply(status=503)), add_fallback(gateway, OK)
        key = key_of(places.tenant, models_allowed=[places.model]).secret
        answer = gateway.chat(Tenant(key, places.tenant.email), places.model, models=[fallback])
        assert answer.status == 503
        assert gateway.calls_of(fallback) == []

    def test_an_unknown_model_is_an_error_whatever_its_fallbacks(self, gateway: Gateway):
        tenant, fallback = gateway.tenant(), add_fallback(gateway, OK)
        answer = gateway.chat(tenant, "acme/unheard-of", models=[fallback])
        assert (answer.status, answer.json["error"]["reason"]) == (400, "unknown_model")

    def test_all_offers_of_the_model_come_first(self, gateway: Gateway):
        places, fallback = add_places(gateway, BAD, OK), add_fallback(gateway, OK)
        assert_served(places, places.ask(models=[fallback]), 1, [2, 1])
        assert gateway.calls_of(fallback) == []

    @BOTH
    @pytest.mark.parametrize(
        ("offers", "fallbacks", "counts"),
        [(1, 1, [2]), (2, 1, [2, 1]), (2, 2, [2, 0]), (5, 1, [2, 1, *[0] * 3]), (5, 3, [1, *[0] * 4])],
    )
    def test_each_model_that_is_named_gets_its_turn(
        self, gateway: Gateway, offers: int, fallbacks: int, counts: list[int], stream: bool
    ):
        places = add_places(gateway, *[BAD] * offers)
        *failing, last = [*[add_fallback(gateway, BAD) for _ in range(fallbacks - 1)], add_fallback(gateway, OK)]
        answer = places.ask(models=[*failing, last], stream=stream)
        assert answer.status == 200
        assert (answer.frames[-1] if stream else answer.json)["model"] == last
        assert places.counts == counts
        assert [len(gateway.calls_of(model)) for model in failing] == [1] * len(failing)

    def test_several_offers_of_one_fallback_leave_the_next_its_turn(self, gateway: Gateway):
        places, next_one = add_places(gateway, BAD), add_places(gateway, BAD, BAD, BAD)
        last = add_fallback(gateway, OK)
        assert places.ask(models=[next_one.model, last]).json["model"] == last
        assert (places.counts, next_one.counts) == ([2], [1, 0, 0])

    def test_a_capability_that_only_one_offer_lacks_drops_the_parameter_there(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), capabilities="reasoning")
        add_offer(places, OK, gateway.add_provider(f"plain-{places.providers[0]}"), capabilities="tools")
        answer = places.ask(reasoning_effort="high")
        assert places.calls(0)[0].body["reasoning_effort"] == "high"
        assert "reasoning_effort" not in places.calls(1)[0].body
        assert answer.json["x_komilion"]["adjusted"] == [{"param": "reasoning_effort", "action": "dropped"}]


class TestHold:
    def test_it_pays_for_the_dearest_attempt(self, gateway: Gateway):
        gate = Gate()
        places = add_places(gateway, gate.script)
        fallback = add_fallback(gateway, OK, input_price="300.00", output_price="1500.00")
        with RawCall(gateway.url, places.tenant.key, model=places.model, models=[fallback], max_tokens=100) as raw:
            raw.send()
            gate.wait_for_call()
            held = float(gateway.wallet(places.tenant.email)["held"])
            gate.open()
            raw.read_until(b'"x_komilion"')
        assert 0.1875 < held < 0.4  # a hundred tokens at 1,500 dollars a million, the fee, and the input

    def test_what_the_wallet_does_not_cover_is_left_out_and_named(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK, credit="0.01")
        dear = add_fallback(gateway, OK, input_price="3000.00", output_price="15000.00")
        answer = places.ask(models=[dear], max_tokens=100)
        assert answer.json["model"] == places.model
        skipped = {"param": "models", "action": "skipped", "model": dear, "reason": "insufficient_balance"}
        assert skipped in answer.json["x_komilion"]["adjusted"]
        assert gateway.calls_of(dear) == []

    def test_the_cheaper_fallback_serves_where_the_model_is_too_dear(self, gateway: Gateway):
        places = add_places(gateway, OK, credit="0.01", input_price="3000.00", output_price="15000.00")
        cheap = add_fallback(gateway, OK)
        answer = places.ask(models=[cheap], max_tokens=100)
        assert answer.json["model"] == cheap
        assert places.counts == [0]
        assert_in_order(gateway, places.tenant, charge_of(Tokens(25, 12)), "0.01")

    def test_none_left_is_402(self, gateway: Gateway):
        places = add_places(gateway, OK, OK, credit="0.000001")
        answer = places.ask(models=[add_fallback(gateway, OK)])
        assert (answer.status, answer.json["error"]["reason"]) == (402, "insufficient_balance")
        assert places.counts == [0, 0]

    @BOTH
    def test_each_attempt_is_bounded_by_what_is_held(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, Reply(status=503), credit="0.02")
        dearer = add_fallback(gateway, OK, input_price="6.00", output_price="30.00")
        answer = places.ask(models=[dearer], max_tokens=8_000, stream=stream)
        note = (answer.frames[-1] if stream else answer.json)["x_komilion"]
        (lowered,) = [entry for entry in note["adjusted"] if entry["param"] == "max_tokens"]
        assert lowered["to"] == gateway.calls_of(dearer)[0].body["max_tokens"] < places.calls(0)[0].body["max_tokens"]
        assert_in_order(gateway, places.tenant, only_row(places.tenant).charge_nano, "0.02")

    def test_a_coarse_bound_is_counted_for_all_of_them(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK, credit="0.02")
        answer = places.ask(messages=[{"role": "user", "content": "word " * 2_000}], max_tokens=10)
        assert answer.status == 200
        assert places.counts == [1, 1]
