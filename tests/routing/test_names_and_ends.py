"""Calling a model by another name, one that has ended or will, and one whose provider has no key here."""

from datetime import UTC, date, datetime

import pytest
from django.db import transaction

from routing.actions.catalog import raise_version
from routing.actions.pins import do_follow_successors
from routing.catalog.models import Model, Offer, Provider
from tests.fakes.client import Answer, call
from tests.routing.answers import PREFIXES, assert_error, key_of
from tests.routing.books import only_row, organization_id
from tests.stand import Gateway, Tenant

ENDED, KNOWN = date(2026, 2, 1), date(2026, 1, 1)
AHEAD = date(2199, 12, 31)


def end(gateway: Gateway, model: str, on: date, successor: str = "") -> str:
    """Let the model end on that day; returns its id."""
    Model.objects.filter(pk=model).update(sunset_on=on, deprecated_on=KNOWN, successor=successor)
    Offer.objects.filter(model=model).update(provider="shipped")
    read_again()
    return model


def read_again() -> None:
    """Let everybody read the catalogue."""
    with transaction.atomic():
        raise_version()


@pytest.fixture(scope="module", autouse=True)
def shipped_provider(gateway: Gateway) -> None:
    """A provider as the shipped catalogue has them: what an operator's own offers does not end by a maker's date."""
    gateway.add_provider("shipped")
    Provider.objects.filter(pk="shipped").update(shipped="a mark")


def note_of(answer: Answer) -> dict[str, object]:
    return dict(answer.json["x_komilion"])


def test_a_model_is_called_by_another_name_and_its_id_is_answered(gateway: Gateway, alice: Tenant):
    gateway.add_model(name="acme/Tiny-2.5")
    charlie = gateway.tenant()
    answer = gateway.chat(charlie, "tiny-2-5")
    assert (answer.status, answer.json["model"]) == (200, "acme/Tiny-2.5")
    note = note_of(answer)
    assert (note["model"], note["requested_model"], note["routed_from"]) == ("acme/Tiny-2.5", "tiny-2-5", None)
    assert only_row(charlie).requested_model == "tiny-2-5"
    assert "deprecation" not in answer.headers
    for prefix in PREFIXES:
        assert call(gateway.url, f"{prefix}/models/TINY-2.5").json["id"] == "acme/Tiny-2.5"


def test_a_key_is_limited_to_models_whatever_they_are_called(gateway: Gateway, alice: Tenant):
    gateway.add_model(name="acme/allowed-1.0")
    gateway.add_model(name="acme/forbidden-1.0")
    for name in ("acme/allowed-1.0", "allowed-1-0"):
        limited = Tenant(key_of(alice, models_allowed=[name]).secret, alice.email)
        assert gateway.chat(limited, "allowed-1-0").status == 200
        assert gateway.chat(limited, "acme/allowed-1.0").status == 200
        answer = gateway.chat(limited, "forbidden-1-0")
        assert_error(answer, "/v1/chat/completions", 403, "permission_error", "model_not_allowed")
        assert call(gateway.url, "/v1/models/acme/allowed-1.0", limited.key).status == 200


def test_a_model_that_ends_says_when(gateway: Gateway, alice: Tenant):
    model = end(gateway, gateway.add_model(), AHEAD)
    for stream in (False, True):
        answer = gateway.chat(alice, model, stream=stream)
        assert answer.status == 200
        assert answer.headers["deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"
        assert answer.headers["sunset"] == "Tue, 31 Dec 2199 00:00:00 GMT"
    answer = call(gateway.url, f"/v1/models/{model}")
    assert answer.json["expiration_date"] == "2199-12-31"
    assert answer.headers["sunset"] == "Tue, 31 Dec 2199 00:00:00 GMT"


def test_a_retired_model_moves_to_a_successor_that_costs_no_more(gateway: Gateway):
    successor = gateway.add_model(input_price="3.00", output_price="14.00")
    model = end(gateway, gateway.add_model(), ENDED, successor)
    charlie = gateway.tenant()
    answer = gateway.chat(charlie, model)
    note = note_of(answer)
    assert (answer.json["model"], note["requested_model"], note["routed_from"]) == (successor, model, model)
    assert answer.headers["sunset"] == "Sun, 01 Feb 2026 00:00:00 GMT"
    assert answer.headers["x-komilion-model"] == successor
    assert (only_row(charlie).model, only_row(charlie).requested_model) == (successor, model)
    key = key_of(charlie, models_allowed=[model]).secret
    refused = gateway.chat(Tenant(key, charlie.email), model)
    assert_error(refused, "/v1/chat/completions", 403, "permission_error", "model_not_allowed")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_retired_model_whose_successor_is_dearer_is_404_and_names_it(gateway: Gateway, alice: Tenant, prefix: str):
    successor = gateway.add_model(output_price="15.01")
    model = end(gateway, gateway.add_model(), ENDED, successor)
    path = f"{prefix}/chat/completions"
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    for answer in (call(gateway.url, path, alice.key, body), call(gateway.url, f"{prefix}/models/{model}")):
        assert_error(answer, path, 404, "not_found_error", "model_retired")
        assert f"Its successor is {successor}, which may cost more" in answer.json["error"]["message"]
    assert model not in {row["id"] for row in call(gateway.url, f"{prefix}/models").json["data"]}


def test_asking_for_a_retired_model_that_moves_answers_its_successor(gateway: Gateway, alice: Tenant):
    successor = gateway.add_model()
    model = end(gateway, gateway.add_model(), ENDED, successor)
    for key in (None, alice.key):
        answer = call(gateway.url, f"/v1/models/{model}", key)
        assert (answer.status, answer.json["id"]) == (200, successor)
        assert answer.headers["sunset"] == "Sun, 01 Feb 2026 00:00:00 GMT"
        assert answer.headers["deprecation"] == f"@{int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())}"


def test_asking_for_one_whose_successor_is_dearer_answers_as_a_call_would(gateway: Gateway, alice: Tenant):
    successor = gateway.add_model(output_price="15.01")
    model = end(gateway, gateway.add_model(), ENDED, successor)
    charlie = gateway.tenant()
    do_follow_successors(organization_id(charlie), follows=True, actor="test")
    assert call(gateway.url, f"/v1/models/{model}", alice.key).json["error"]["reason"] == "model_retired"
    assert (
        call(gateway.url, f"/v1/models/{model}", charlie.key).json["id"]
        == successor
        == gateway.chat(charlie, model).json["model"]
    )


def test_a_model_whose_provider_has_no_key_is_not_served(
    gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
):
    gateway.add_provider("keyless")
    model = gateway.add_model(provider="keyless")
    Provider.objects.filter(pk="keyless").update(api_key_env="KEYLESS_API_KEY")
    read_again()
    answer = gateway.chat(alice, model)
    assert_error(answer, "/v1/chat/completions", 400, "invalid_request_error", "model_not_served")
    assert answer.json["error"]["code"] == "model_not_found"
    assert "KEYLESS_API_KEY" not in answer.body.decode()
    assert model not in {row["id"] for row in call(gateway.url, "/v1/models").json["data"]}
    assert call(gateway.url, f"/v1/models/{model}").status == 404
    assert "keyless" not in {row["id"] for row in call(gateway.url, "/v1/providers").json["data"]}
    monkeypatch.setenv("KEYLESS_API_KEY", "sk-test")
    read_again()
    assert gateway.chat(alice, model).status == 200
