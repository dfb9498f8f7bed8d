"""What can be read: models, one model, providers, the caller's wallet. Under every prefix, with and without a key."""

import json

import pytest

from komilion.common.ids import new_api_key
from routing.selection.words import VIRTUAL_MODELS
from tests.fakes.client import call
from tests.routing.answers import PREFIXES, RATE_HEADERS, assert_error, key_of
from tests.stand import Gateway, Tenant


@pytest.mark.parametrize("prefix", PREFIXES)
def test_models_without_a_key_are_all(gateway: Gateway, model: str, prefix: str):
    answer = call(gateway.url, f"{prefix}/models")
    rows = {row["id"]: row for row in answer.json["data"]}
    assert model in rows
    row = rows[model]
    assert set(row) >= {
        *("id", "object", "created", "owned_by", "name", "context_length", "architecture"),
        *("supported_parameters", "top_provider", "pricing", "provider_pricing"),
    }
    assert (row["object"], row["owned_by"]) == ("model", "acme")
    assert row["pricing"] == {"prompt": "0.00000375", "completion": "0.00001875"}
    assert row["provider_pricing"] == {"prompt": "0.000003", "completion": "0.000015"}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_models_with_a_key_are_those_it_may_call(gateway: Gateway, alice: Tenant, model: str, prefix: str):
    key = key_of(alice, models_allowed=[model]).secret
    rows = [row["id"] for row in call(gateway.url, f"{prefix}/models", key).json["data"]]
    assert rows == [*VIRTUAL_MODELS, model]
    other = gateway.add_model()
    assert call(gateway.url, f"{prefix}/models/{other}", key).status == 404
    assert other in {row["id"] for row in call(gateway.url, f"{prefix}/models", alice.key).json["data"]}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_models_that_hear_or_speak_are_in_the_list_with_prices_of_their_own_units(gateway: Gateway, prefix: str):
    gateway.add_voice("transcription", "--second-price", "0.0001", name="acme/ear")
    gateway.add_voice("speech", "--character-price", "15", name="acme/mouth")
    rows = {row["id"]: row for row in call(gateway.url, f"{prefix}/models").json["data"]}
    ear, mouth = rows["acme/ear"], rows["acme/mouth"]
    assert (ear["kind"], ear["architecture"]["modality"]) == ("transcription", "audio->text")
    assert (ear["pricing"], ear["provider_pricing"]) == ({"audio_second": "0.000125"}, {"audio_second": "0.0001"})
    assert (mouth["architecture"]["modality"], mouth["pricing"]) == ("text->audio", {"character": "0.00001875"})
    assert call(gateway.url, f"{prefix}/models/acme/ear").json == ear


def test_one_that_hears_and_the_key_may_not_call_is_not_there(gateway: Gateway, alice: Tenant, model: str):
    gateway.add_voice("transcription", "--second-price", "0.0001", name="acme/ear")
    key = key_of(alice, models_allowed=[model]).secret
    assert call(gateway.url, "/v1/models/acme/ear", key).status == 404


@pytest.mark.parametrize("path", [f"{prefix}/{name}" for prefix in PREFIXES for name in ("models", "providers")])
def test_a_bad_key_is_401(gateway: Gateway, path: str):
    assert_error(call(gateway.url, path, new_api_key()), path, 401, "authentication_error", "invalid_api_key")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("slash", ["/", "%2F", "%2f"])
def test_one_model(gateway: Gateway, model: str, prefix: str, slash: str):
    answer = call(gateway.url, f"{prefix}/models/{model.replace('/', slash)}")
    assert answer.json["id"] == model


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_model(gateway: Gateway, prefix: str):
    gateway.add_model(name="acme/well-known")
    path = f"{prefix}/models/acme/wel-known"
    answer = call(gateway.url, path)
    assert_error(answer, path, 404, "not_found_error", "model_not_found")
    assert "acme/well-known" in answer.json["error"]["message"]
    assert call(gateway.url, f"{prefix}/models/{'z' * 60}").status == 404


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_chooses_a_model_by_itself_is_in_the_list_with_a_price_that_varies(
    gateway: Gateway, model: str, prefix: str
):
    large = gateway.add_model(context=2_000_000, max_output=100_000, capabilities="vision,no_sampling")
    rows = {row["id"]: row for row in call(gateway.url, f"{prefix}/models").json["data"]}
    assert set(VIRTUAL_MODELS) <= set(rows)
    auto = rows["auto"]
    assert set(auto) == set(rows[large])
    assert auto["pricing"] == {"prompt": "-1", "completion": "-1"}
    assert auto["context_length"] >= rows[large]["context_length"]
    assert auto["top_provider"]["max_completion_tokens"] >= 100_000
    assert auto["architecture"]["input_modalities"] == ["text", "image"]
    assert "temperature" in auto["supported_parameters"]
    assert "temperature" not in rows[large]["supported_parameters"]
    for name in VIRTUAL_MODELS:
        assert call(gateway.url, f"{prefix}/models/{name}").json["id"] == name


def test_who_may_call_no_model_has_no_choice(gateway: Gateway, alice: Tenant, model: str):
    key = key_of(alice, models_allowed=["acme/gone"]).secret
    assert call(gateway.url, "/v1/models", key).json["data"] == []
    assert call(gateway.url, "/v1/models/auto", key).status == 404


def test_media_are_shown(gateway: Gateway):
    model = gateway.add_model(capabilities="vision,reasoning,tools")
    row = call(gateway.url, f"/v1/models/{model}").json
    assert row["architecture"]["modality"] == "text+image->text"
    assert {"tools", "reasoning_effort", "max_tokens"} <= set(row["supported_parameters"])
    plain = call(gateway.url, f"/v1/models/{gateway.add_model(capabilities='vision')}").json
    assert "tools" not in plain["supported_parameters"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_providers(gateway: Gateway, model: str, prefix: str):
    gateway.add_provider("without-models")
    rows = {row["id"]: row for row in call(gateway.url, f"{prefix}/providers").json["data"]}
    assert rows["up"]["models"] > 0
    assert "without-models" not in rows


def test_wallet(gateway: Gateway):
    bob = gateway.tenant(credit="12.345")
    assert call(gateway.url, "/api/wallet", bob.key).json == gateway.wallet(bob.email)
    assert call(gateway.url, "/api/wallet", bob.key).json == {
        "available": "12.345",
        "held": "0.00",
        "paid": "12.345",
        "promo": "0.00",
        "debt": "0.00",
    }
    assert_error(call(gateway.url, "/api/wallet"), "/api/wallet", 401, "authentication_error", "invalid_api_key")


def test_a_new_model_is_there_at_once(gateway: Gateway, alice: Tenant):
    for _ in range(3):
        model = gateway.add_model()
        assert gateway.chat(alice, model).status == 200
        assert json.loads(call(gateway.url, f"/v1/models/{model}").body)["id"] == model


@pytest.mark.parametrize("path", ["/v1/models", "/v1/providers", "/api/wallet"])
def test_reading_with_a_key_counts_and_is_refused_above_the_limit(gateway: Gateway, path: str):
    """The free tier takes 5 requests a second and 30 a minute; without a key nobody is counted."""
    charlie = gateway.tenant(tier="free")
    answers = [call(gateway.url, path, charlie.key) for _ in range(31)]
    assert answers[0].status == 200
    refused = next(answer for answer in answers if answer.status != 200)
    assert_error(refused, path, 429, "rate_limit_error", "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert set(RATE_HEADERS) <= set(refused.headers)
    assert call(gateway.url, "/v1/models").status == 200
