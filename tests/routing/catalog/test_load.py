"""The picture of the catalogue: prices of the moment, providers by their keys, the order of offers."""

import math
from datetime import UTC, date, datetime

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured

from komilion.common.clock import unix_s
from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider
from routing.catalog import load
from routing.catalog.credentials import encrypt
from routing.catalog.load import read_catalog
from routing.catalog.models import Model, Offer, OfferPrice, Provider
from routing.catalog.snapshot import Catalog, OfferEntry
from tests.routing.catalog.conftest import Shipped

PEAK = 300_000_000  # nano-USD per million input tokens of deepseek-flash, 01:00 to 04:00 and 06:00 to 10:00 UTC
USUAL = 150_000_000


def offer(catalog: Catalog, model: str, provider: str) -> OfferEntry:
    return next(entry for entry in catalog.models[model].offers if entry.provider == provider)


@pytest.mark.parametrize(
    ("day", "time", "price", "next_change"),
    [
        (27, (0, 49), USUAL, (27, 0, 50)),  # Friday; ten minutes early, for a call may end in the dear time
        (27, (0, 50), PEAK, (27, 4, 0)),
        (27, (3, 59), PEAK, (27, 4, 0)),
        (27, (4, 0), USUAL, (27, 5, 50)),
        (27, (9, 59), PEAK, (27, 10, 0)),
        (27, (10, 0), USUAL, (28, 0, 50)),
        (28, (2, 0), USUAL, (28, 4, 0)),  # Saturday
        (29, (8, 0), USUAL, (29, 10, 0)),  # Sunday
    ],
)
def test_a_dear_time_of_the_day_has_its_price_and_ends_the_picture(
    shipped: Shipped, day: int, time: tuple[int, int], price: int, next_change: tuple[int, int, int]
) -> None:
    catalog = shipped(at=datetime(2026, 11, day, *time, tzinfo=UTC))
    assert offer(catalog, "deepseek/deepseek-v4.1-flash", "deepseek").price.components["input"] == price
    assert catalog.expires_s == datetime(2026, 11, *next_change, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("day", "price"), [(date(2026, 11, 30), 2 * 10**9), (date(2026, 12, 1), 4 * 10**9)])
@pytest.mark.parametrize("provider", ["google", "openrouter"])
def test_an_announced_price_comes_on_its_day_at_the_maker_and_at_the_market(
    shipped: Shipped, day: date, price: int, provider: str
) -> None:
    catalog = shipped(at=datetime(day.year, day.month, day.day, 11, tzinfo=UTC))
    assert offer(catalog, "google/gemini-4-argon", provider).price.components["input"] == price


def test_a_provider_is_on_where_its_key_is_set(shipped: Shipped) -> None:
    catalog = shipped(keys=("MISTRAL_API_KEY",))
    assert {entry.provider for model in catalog.models.values() for entry in model.offers} == {"local", "mistral"}
    assert next(row.models for row in catalog.providers if row.name == "mistral") == 11
    assert next(row.models for row in catalog.providers if row.name == "openai") == 0
    assert "openai/gpt-6-sol" in catalog.off


def test_the_maker_goes_first_then_the_market(shipped: Shipped) -> None:
    assert [entry.provider for entry in shipped().models["openai/gpt-6-sol"].offers] == ["openai", "openrouter"]
    assert [entry.provider for entry in shipped().models["openai/gpt-oss-20b"].offers] == ["groq", "openrouter"]
    assert [entry.provider for entry in shipped().models["anthropic/claude-opus-5"].offers] == ["openrouter"]


def test_a_model_says_what_it_is(shipped: Shipped) -> None:
    model = shipped().models["openai/gpt-5.6-sol"]
    assert (model.family, model.line, model.successor) == ("gpt-sol", "openai/gpt-6.1-sol", "openai/gpt-6-sol")
    assert model.created_unix_s == datetime(2026, 7, 9, tzinfo=UTC).timestamp()
    assert model.modalities == {"text", "image"}
    assert shipped().models["deepseek/deepseek-v4-flash"].modalities == {"text"}
    assert shipped().models["openai/gpt-6.1-sol"].line == "openai/gpt-6.1-sol"


def test_an_offer_knows_its_providers_and_its_own_ways(shipped: Shipped) -> None:
    mistral = offer(shipped(), "mistralai/mistral-large-4-0", "mistral").target
    assert mistral.quirks.renames == {"seed": "random_seed"}
    assert "stream_options" in mistral.quirks.refuses
    assert mistral.quirks.efforts == ("none", "high")
    gpt = offer(shipped(), "openai/gpt-6-sol", "openai").target
    assert gpt.quirks.efforts == ("none", "low", "medium", "high", "xhigh", "max")
    assert {"max_completion_tokens", "no_sampling"} <= gpt.capabilities
    assert offer(shipped(), "openai/gpt-6-sol", "openrouter").target.quirks.efforts == ()


def add(model: str, provider: str, price: int = 10**9) -> None:
    do_put_offer(OfferSpec(model, provider, {"input": price, "output": price}))


@pytest.fixture
def acme(db: None) -> None:
    """A provider of an operator's."""
    do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1", api_key="sk-acme"))


def test_what_an_operator_adds_goes_first(acme: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.management import call_command

    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-test")
    call_command("catalog_seed", verbosity=0)
    add("anthropic/claude-opus-5", "acme")
    model = read_catalog().models["anthropic/claude-opus-5"]
    assert [entry.provider for entry in model.offers] == ["acme", "openrouter"]
    assert model.name == "Claude Opus 5"


def test_an_address_comes_from_its_variable(acme: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Provider.objects.update(base_url_env="ACME_BASE_URL")
    add("acme/large", "acme")
    assert offer(read_catalog(), "acme/large", "acme").target.base_url == "https://api.acme.example/v1"
    monkeypatch.setenv("ACME_BASE_URL", "http://127.0.0.1:9/v1/")
    assert offer(read_catalog(), "acme/large", "acme").target.base_url == "http://127.0.0.1:9/v1"
    monkeypatch.setenv("ACME_BASE_URL", "127.0.0.1:9")
    with pytest.raises(ImproperlyConfigured, match="ACME_BASE_URL"):
        read_catalog()


def test_a_key_that_was_stored_with_its_newline_is_the_key(acme: None) -> None:
    Provider.objects.update(api_key_encrypted=encrypt("sk-acme\n"))
    add("acme/large", "acme")
    assert offer(read_catalog(), "acme/large", "acme").target.api_key == "sk-acme"


def test_a_model_of_an_operator_has_a_day_of_its_own_and_no_end(acme: None) -> None:
    add("acme/large", "acme")
    catalog = read_catalog()
    model = catalog.models["acme/large"]
    assert (model.line, model.family, model.status, model.successor) == ("acme/large", "", "active", None)
    assert abs(model.created_unix_s - unix_s()) < 100
    assert catalog.expires_s == math.inf


def test_an_offer_that_came_while_the_reading_began_has_its_price(acme: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read_version = load.read_version

    def read_after_a_change() -> int:
        add("acme/large", "acme")
        return read_version()

    monkeypatch.setattr(load, "read_version", read_after_a_change)
    assert offer(read_catalog(), "acme/large", "acme").price.components["input"] == 10**9


def test_a_model_without_a_price_is_not_there(acme: None) -> None:
    add("acme/large", "acme")
    OfferPrice.objects.all().delete()
    catalog = read_catalog()
    assert (catalog.models, catalog.off, catalog.canonical("acme/large")) == ({}, {}, None)


def test_a_new_price_replaces_what_was_announced_and_dear_times(acme: None) -> None:
    add("acme/large", "acme", 5)
    row = Offer.objects.get()
    price_id = row.prices.get().price_id
    with time_machine.travel(datetime(2026, 11, 23, 2, tzinfo=UTC), tick=False):
        for since, window in ((datetime(2026, 11, 1, tzinfo=UTC), (60, 240)), (datetime(2027, 1, 1, tzinfo=UTC), None)):
            OfferPrice.objects.create(
                offer=row,
                price_id=price_id,
                effective_from=since,
                from_minute=window and window[0],
                to_minute=window and window[1],
            )
        OfferPrice.objects.filter(from_minute=None, effective_from__lt=datetime(2026, 12, 31, tzinfo=UTC)).update(
            effective_from=datetime(2026, 11, 1, tzinfo=UTC)
        )
        add("acme/large", "acme", 5)
        assert read_catalog().expires_s == math.inf
        assert OfferPrice.objects.count() == 3
        add("acme/large", "acme", 5)  # the same once more adds nothing
        assert OfferPrice.objects.count() == 3


def test_a_model_ends_at_midnight_but_not_where_an_operators_own_provider_offers_it(acme: None) -> None:
    add("acme/old", "acme")
    Model.objects.filter(pk="acme/old").update(sunset_on=date(2026, 12, 1))
    OfferPrice.objects.update(effective_from=datetime(2026, 1, 1, tzinfo=UTC))
    Provider.objects.filter(pk="acme").update(shipped="a mark")
    with time_machine.travel(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)):
        catalog = read_catalog()
    assert catalog.models["acme/old"].status == "deprecated"
    assert catalog.expires_s == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC)):
        catalog = read_catalog()
    assert catalog.models == {}
    assert catalog.retired["acme/old"].deprecated_on == date(2026, 12, 1)
    Provider.objects.filter(pk="acme").update(shipped="")
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC)):
        catalog = read_catalog()
    assert catalog.models["acme/old"].status == "active"
    assert catalog.retired == {}
