"""Trouble of ours: a database that does not answer, items that the ledger refuses, faults. 5xx, never more than that.

While the database is away nothing is admitted, and what runs is written down.
"""

import json

import pytest

from tests.billing.committing import Database
from tests.fakes.client import CHAT, PROMPT, RawCall, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, counted, only_row
from tests.routing.gates import Gate, words
from tests.routing.servers import second_server
from tests.stand import Gateway


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_pending_and_settled_later(gateway: Gateway, settings: object, database: Database, stream: bool):
    settings.SETTLEMENT_WAIT_S = 0.2
    gate = Gate(2)
    tenant, model = gateway.tenant(), gateway.add_model(gate.script)
    refusing = gateway.add_model(Reply())
    with second_server() as server:
        with RawCall(server.url, tenant.key, model=model, stream=stream) as raw:
            raw.send()
            gate.wait_for_call()
            database.is_away = True
            gate.open()
            received = raw.read_until(b'"x_kairosroute"')
            assert b'"settlement":"pending"' in received
        answer = call(server.url, CHAT, tenant.key, {"model": refusing, "messages": PROMPT})
        assert (answer.status, answer.json["error"]["reason"]) == (503, "ledger_unavailable")
        assert call(server.url, "/health/readiness").status == 503
        database.is_away = False
        row = only_row(tenant)
        assert row.outcome == "completed"
        assert_in_order(gateway, tenant, charge_of(Tokens(25, 12)))


def test_a_stream_that_needs_more_ends_with_an_error_and_is_charged_as_counted(
    gateway: Gateway, settings: object, database: Database
):
    settings.STREAM_HOLD_OUTPUT_TOKENS = settings.START_OUTPUT_TOKENS = 20
    settings.SETTLEMENT_WAIT_S = 0.2
    gate = Gate(1)
    tenant, model = gateway.tenant(), gateway.add_model(gate.script_of(60))
    with second_server() as server:
        with RawCall(server.url, tenant.key, model=model, stream=True) as raw:
            raw.send().read_frames(1)
            database.is_away = True
            gate.open()
            raw.rest()
        database.is_away = False
        *content, last = [json.loads(line[6:]) for line in raw.payload.split(b"\n\n") if line.startswith(b"data: {")]
        assert (last["error"]["reason"], last["choices"][0]["finish_reason"]) == ("ledger_unavailable", "error")
        assert last["x_komilion"]["settlement"] == "pending"
        assert raw.payload.endswith(b"data: [DONE]\n\n")
        text = "".join(frame["choices"][0]["delta"].get("content") or "" for frame in content)
        frames = len(text.split())
        assert (text, frames < 60) == (words(frames), True)
        row = only_row(tenant)
        assert (row.outcome, row.usage_source) == ("provider_cut", "estimated")
        (sent,) = gateway.calls_of(model)
        used = counted(sent, frames, text)
        assert used.completion >= 20, "it goes on until the hold is used up"
        assert last["x_komilion"]["cost_nano_usd"] == charge_of(Tokens(used.prompt, 20)), "no more than was held"
        assert_in_order(gateway, tenant, charge_of(Tokens(used.prompt, 20)))


def test_the_lists_are_what_they_were(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from django.db import OperationalError
    from django.db.backends.base.base import BaseDatabaseWrapper

    def failing(_: BaseDatabaseWrapper) -> None:
        raise OperationalError("scripted")

    model = gateway.add_model(Reply())
    assert call(gateway.url, f"/v1/models/{model}").status == 200
    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "connect", failing)
        assert call(gateway.url, f"/v1/models/{model}").json["id"] == model
        assert call(gateway.url, "/v1/providers").status == 200
    assert "catalogue not compared" in caplog.text


def test_an_item_that_the_ledger_refuses_is_our_fault(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from billing.ledger.items import Failure

    tenant, model = gateway.tenant(), gateway.add_model(Reply())

    async def failing(*_: object, **__: object) -> Failure:
        return Failure("scripted")

    monkeypatch.setattr("billing.ledger.committer.Committer.submit", failing)
    answer = gateway.chat(tenant, model)
    assert (answer.status, answer.json["error"]["reason"]) == (500, "internal_error")
    assert "scripted" not in answer.body.decode()


def test_keys_cannot_be_looked_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from django.db import OperationalError

    def failing(_: bytes) -> None:
        raise OperationalError

    tenant = gateway.tenant()
    monkeypatch.setattr("routing.gateway.authenticate.access_api_key", failing)
    answer = call(gateway.url, "/v1/models", tenant.key)
    assert (answer.status, answer.json["error"]["reason"]) == (503, "ledger_unavailable")


def test_the_wallet_cannot_be_read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from django.db import OperationalError

    def failing(_: int) -> None:
        raise OperationalError

    monkeypatch.setattr("routing.gateway.listing.wallet_summary", failing)
    assert call(gateway.url, "/api/wallet", gateway.tenant().key).status == 503


def test_a_fault_of_ours_is_a_500_without_details(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("internal detail")

    monkeypatch.setattr("routing.gateway.choice.planning.route", failing)
    answer = gateway.chat(gateway.tenant(), gateway.add_model(Reply()))
    assert (answer.status, answer.json["error"]["reason"]) == (500, "internal_error")
    assert b"internal detail" not in answer.body
    assert "request failed" in caplog.text
