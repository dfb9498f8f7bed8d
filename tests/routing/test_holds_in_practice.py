"""What a wallet does to calls: lowered limits, refusals, extensions, debt, revoked keys, a ledger that is away."""

import json
import re
from decimal import Decimal

import pytest

from tests.fakes.client import CHAT, PROMPT, RawCall, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import (
    assert_in_order,
    charge_of,
    counted_input,
    nothing_is_held,
    only_row,
    organization_id,
    usage_rows,
)
from tests.routing.gates import Gate, words
from tests.routing.servers import SecondServer, second_server
from tests.services.valkey import ValkeyServer
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until

LINK = "https://example.com/a.png"
AMOUNTS = re.compile(r"needs at least \$([\d.]+) and the wallet has \$([\d.]+) available")


def entries(tenant: Tenant, kind: str) -> int:
    """How many entries of a kind the tenant's ledger has."""
    from billing.models import Hold, LedgerEntry

    ids = Hold.objects.filter(wallet_id=organization_id(tenant)).values_list("request_id", flat=True)
    return sum(LedgerEntry.objects.filter(kind=kind, reference__startswith=one).count() for one in ids)


class TestLowering:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_the_output_is_limited_to_what_the_wallet_covers(self, gateway: Gateway, stream: bool):
        tenant, model = gateway.tenant(credit="0.02"), gateway.add_model(Reply())
        answer = gateway.chat(tenant, model, max_tokens=5_000, stream=stream)
        note = (answer.frames[-1] if stream else answer.json)["x_komilion"]
        (lowered,) = note["adjusted"]
        assert (lowered["param"], lowered["action"], lowered["from"]) == ("max_tokens", "lowered", 5_000)
        assert lowered["reason"] == "insufficient_balance"
        (sent,) = gateway.calls_of(model)
        assert sent.body["max_tokens"] == lowered["to"]
        assert charge_of(Tokens(0, lowered["to"])) <= 20_000_000
        assert only_row(tenant).detail["adjusted"] == [lowered]
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)), "0.02")

    def test_every_choice_has_its_share(self, gateway: Gateway):
        tenant, model = gateway.tenant(credit="0.05"), gateway.add_model(Reply())
        note = gateway.chat(tenant, model, max_tokens=5_000, n=2).json["x_komilion"]
        (sent,) = gateway.calls_of(model)
        assert sent.body["max_tokens"] == note["adjusted"][0]["to"]
        assert charge_of(Tokens(0, 2 * sent.body["max_tokens"])) <= 50_000_000

    def test_nothing_is_lowered_where_the_wallet_covers_all(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        assert gateway.chat(tenant, model, max_tokens=500).json["x_komilion"]["adjusted"] == []
        assert gateway.calls_of(model)[0].body["max_tokens"] == 500

    def test_a_free_model_needs_no_money(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.01")
        model = gateway.add_model(Reply(), output_price="0.00")
        assert gateway.chat(tenant, model).json["x_komilion"]["adjusted"] == []

    def test_a_reasoning_model_holds_its_whole_ceiling(self, gateway: Gateway):
        gate = Gate(1)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script, capabilities="reasoning")
        with RawCall(gateway.url, tenant.key, model=model, stream=True, max_tokens=8_000) as raw:
            raw.send().read_frames(1)
            held = Decimal(gateway.wallet(tenant.email)["held"]) * 10**9
            gate.open()
            raw.rest()
        assert held > charge_of(Tokens(0, 8_000))


class TestRefusal:
    def test_402_names_both_amounts(self, gateway: Gateway):
        tenant, model = gateway.tenant(credit="0.001"), gateway.add_model(Reply())
        answer = gateway.chat(tenant, model)
        assert answer.status == 402
        found = AMOUNTS.search(answer.json["error"]["message"])
        assert found is not None
        assert Decimal(found[1]) > Decimal(found[2]) == Decimal("0.001")
        assert gateway.calls_of(model) == []
        assert_in_order(gateway, tenant, 0, "0.001")

    def test_an_overrun_becomes_debt_and_the_next_call_is_refused(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.01")
        model = gateway.add_model(Reply(overrun=1_000))
        assert gateway.chat(tenant, model, max_tokens=300).status == 200
        wallet = gateway.wallet(tenant.email)
        assert Decimal(wallet["debt"]) > 0
        assert wallet["available"] == "0.00"
        assert gateway.chat(tenant, model, max_tokens=1).status == 402
        (sent,) = gateway.calls_of(model)
        assert_in_order(gateway, tenant, charge_of(sent.billed), "0.01")


class TestCounting:
    """Where the bytes are too coarse a bound, a tokenizer decides."""

    def test_a_long_prompt_on_a_small_wallet(self, gateway: Gateway):
        """20,000 bytes would need $0.075; the 4,000 tokens that they are need a quarter."""
        tenant, model = gateway.tenant(credit="0.03"), gateway.add_model(Reply())
        prompt = [{"role": "user", "content": "word " * 4_000}]
        assert gateway.chat(tenant, model, messages=prompt).status == 200
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)), "0.03")

    def test_too_long_a_prompt_is_refused_by_its_tokens(self, gateway: Gateway):
        tenant, model = gateway.tenant(credit="0.01"), gateway.add_model(Reply())
        answer = gateway.chat(tenant, model, messages=[{"role": "user", "content": "word " * 4_000}])
        assert answer.status == 402
        needed = AMOUNTS.search(answer.json["error"]["message"])
        assert needed is not None
        assert Decimal("0.02") < Decimal(needed[1]) < Decimal("0.03")

    def test_pictures_tools_and_everything_else_count(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.07")
        model = gateway.add_model(Reply(usage=Tokens(9_000, 5)), capabilities="tools,vision,json_schema")
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture], "name": "Ada"},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "a picture"},
        ]
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        answer = gateway.chat(tenant, model, messages=messages, tools=tools)
        assert answer.status == 200
        assert only_row(tenant).usage_source == "provider", "with a picture the context is what bounds the input"

    @pytest.mark.parametrize(
        ("name", "tokens"),
        [
            ("openai/gpt-4o-mini", 2_833 + 8 * 5_667),
            ("openai/gpt-4o", 85 + 8 * 170),
            ("anthropic/claude-opus-5", 4_784),
            ("acme/sees", 16_384),
        ],
    )
    @pytest.mark.parametrize("url", [LINK, "data:image/png;base64," + "A" * 60_000], ids=["link", "data"])
    def test_a_picture_is_held_at_what_the_largest_may_cost(self, gateway: Gateway, name: str, tokens: int, url: str):
        model = gateway.add_model(Reply(), name=f"{name}-{len(url)}", capabilities="vision")
        picture = [{"type": "image_url", "image_url": {"url": url}}]
        answer = gateway.chat(gateway.tenant(credit="0.000001"), model, messages=[{"role": "user", "content": picture}])
        assert answer.status == 402
        needed = AMOUNTS.search(answer.json["error"]["message"])
        assert needed is not None
        picture_cost = Decimal(tokens) * 3 / 10**6 * 5 / 4
        rest = Decimal(300 * 3 + 256 * 15) / 10**6 * 5 / 4
        assert picture_cost < Decimal(needed[1]) < picture_cost + rest

    def test_the_dearest_of_several_models_with_pictures_is_held(self, gateway: Gateway):
        first = gateway.add_model(Reply(), name="openai/gpt-4o-first", capabilities="vision")
        second = gateway.add_model(Reply(), name="openai/gpt-4o-mini-second", capabilities="vision")
        picture = [{"type": "image_url", "image_url": {"url": LINK}}]
        tenant = gateway.tenant(credit="0.10")
        messages = [{"role": "user", "content": picture}]
        answer = gateway.chat(tenant, first, models=[second], messages=messages, max_tokens=5)
        (skipped,) = answer.json["x_komilion"]["adjusted"]
        assert (skipped["model"], skipped["reason"]) == (second, "insufficient_balance")


class TestExtension:
    @pytest.fixture(autouse=True)
    def _small_steps(self, settings: object) -> None:
        settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 20

    @pytest.mark.parametrize("report", ["frame", "every"])
    def test_a_long_stream_extends_its_hold(self, gateway: Gateway, report: str):
        tenant = gateway.tenant()
        model = gateway.add_model(Reply(frames=150, report=report))
        answer = gateway.chat(tenant, model, stream=True)
        assert answer.text == words(150)
        assert entries(tenant, "extend") >= 1
        (sent,) = gateway.calls_of(model)
        assert_in_order(gateway, tenant, charge_of(sent.billed))

    def test_the_hold_grows_with_the_stream(self, gateway: Gateway):
        gate = Gate(60)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script_of(90))
        with RawCall(gateway.url, tenant.key, model=model, stream=True) as raw:
            raw.send().read_frames(60)
            (sent,) = gateway.calls_of(model)
            delivered = Tokens(counted_input(sent), -(-len(words(60)) // 4))

            def covers() -> bool:
                return Decimal(gateway.wallet(tenant.email)["held"]) * 10**9 >= charge_of(delivered)

            wait_until(covers, what="the hold to cover what was delivered")
            gate.open()
            raw.rest()
        wait_until(lambda: nothing_is_held(gateway, tenant))

    @pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["plain", "asked"])
    def test_a_refused_extension_ends_the_stream(self, gateway: Gateway, options: dict):
        gate, other = Gate(1), Gate()
        tenant = gateway.tenant(credit="0.02")
        model = gateway.add_model(gate.script_of(60))
        taking = gateway.add_model(other.script, provider=CANCELLING)
        with (
            RawCall(gateway.url, tenant.key, model=model, stream=True, **options) as raw,
            RawCall(gateway.url, tenant.key, model=taking) as rest,
        ):
            raw.send().read_frames(1)
            rest.send()
            other.wait_for_call()
            gate.open()
            raw.rest()
        frames = [json.loads(line[6:]) for line in raw.payload.split(b"\n\n") if line.startswith(b"data: {")]
        *_, last = frames
        assert last["x_komilion"]["stopped"] == "insufficient_balance"
        finishes = [c["finish_reason"] for frame in frames for c in frame["choices"] if c["finish_reason"]]
        assert finishes == ["length"]
        assert (last["choices"] == []) == bool(options)
        assert raw.payload.endswith(b"data: [DONE]\n\n")
        row = only_row(tenant, model)
        assert (row.outcome, row.usage_source) == ("insufficient_balance", "estimated")
        assert row.charge_nano == last["x_komilion"]["cost_nano_usd"]
        assert 0 < row.usage["output"] < 100
        wait_until(lambda: len(usage_rows(tenant)) == 2, what="the other call to be cancelled")
        assert_in_order(gateway, tenant, row.charge_nano, "0.02")


def key_row(tenant: Tenant):
    """The tenant's key."""
    from accounts.models import ApiKey

    return ApiKey.objects.get(organization_id=organization_id(tenant))


def revoke(tenant: Tenant) -> None:
    """Revoke the tenant's key, as a page or a command would."""
    from accounts.actions.keys import do_revoke_key

    do_revoke_key(key_row(tenant), actor="test")


def status_at(url: str, tenant: Tenant, model: str) -> int:
    """The status of one call at that server."""
    return call(url, CHAT, tenant.key, {"model": model, "messages": PROMPT}).status


class TestRevocation:
    def test_every_server_refuses_within_a_second(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        with second_server() as server:
            assert {status_at(url, tenant, model) for url in (gateway.url, server.url)} == {200}
            revoke(tenant)
            for url in (gateway.url, server.url):
                wait_until(lambda url=url: call(url, "/v1/models", tenant.key).status == 401, 1, "the news")
            assert {status_at(url, tenant, model) for url in (gateway.url, server.url)} == {401}

    @pytest.fixture
    def cut_off(self, settings: object, valkey_server: ValkeyServer):
        """A server whose Redis is gone after it started."""
        settings.REDIS_URL = valkey_server.url
        with second_server() as server:
            yield self.degraded(server, valkey_server)

    def degraded(self, server: SecondServer, valkey: ValkeyServer):
        def cut() -> None:
            valkey.kill()
            wait_until(lambda: server.gateway.services.limiter.degraded, what="the loss to be noticed")

        server.cut = cut
        return server

    def test_at_once_with_redis_cut(self, gateway: Gateway, cut_off):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        wait_until(lambda: status_at(cut_off.url, tenant, model) == 200, what="the catalogue")
        cut_off.cut()
        assert status_at(cut_off.url, tenant, model) == 200
        revoke(tenant)
        assert status_at(cut_off.url, tenant, model) == 401

    def test_a_suspended_organization_at_once_with_redis_cut(self, gateway: Gateway, cut_off):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        wait_until(lambda: status_at(cut_off.url, tenant, model) == 200, what="the catalogue")
        cut_off.cut()
        gateway.suspend(tenant)
        assert status_at(cut_off.url, tenant, model) == 403

    def test_another_tier_takes_effect_and_the_call_goes_on(self, gateway: Gateway, cut_off):
        from accounts.actions.organizations import do_change_tier
        from accounts.queries import organization_of_email

        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        wait_until(lambda: status_at(cut_off.url, tenant, model) == 200, what="the catalogue")
        cut_off.cut()
        do_change_tier(organization_of_email(tenant.email), "free", actor="test")
        assert status_at(cut_off.url, tenant, model) == 200
        assert len(usage_rows(tenant)) == 2

    def test_a_new_model_is_found_with_redis_cut(self, gateway: Gateway, cut_off, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("routing.gateway.services.CATALOG_POLL_DEGRADED_S", 0.05)
        monkeypatch.setattr("routing.gateway.services.CATALOG_POLL_S", 0.05)
        tenant = gateway.tenant()
        cut_off.cut()
        model = gateway.add_model(Reply())
        assert call(cut_off.url, f"/v1/models/{model}").status == 200
        wait_until(lambda: status_at(cut_off.url, tenant, model) == 200, what="the catalogue")

    def test_rights_that_change_all_the_time_are_no_reason_to_doubt_the_key(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ):
        from routing.gateway import pipeline

        rounds = []

        async def changed(*arguments: object) -> object:
            rounds.append(arguments)
            if len(rounds) < 3:
                raise pipeline.CallerChanged
            return await reserve(*arguments)

        reserve = pipeline.reserve
        monkeypatch.setattr(pipeline, "reserve", changed)
        assert gateway.chat(gateway.tenant(), gateway.add_model(Reply())).status == 200
        assert len(rounds) == 3

    def test_rights_that_change_without_end_are_tried_later(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        from routing.gateway import pipeline

        async def changed(*_: object) -> None:
            raise pipeline.CallerChanged

        monkeypatch.setattr(pipeline, "reserve", changed)
        tenant = gateway.tenant()
        answer = gateway.chat(tenant, gateway.add_model(Reply()))
        assert (answer.status, answer.json["error"]["reason"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
