"""`manage.py model`: offers as an operator adds and changes them, what is named and nothing else."""

from datetime import UTC, datetime
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from billing.models import Price
from routing.actions.catalog import ProviderSpec, do_put_provider
from routing.catalog.load import read_catalog
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice
from tests.routing.catalog.conftest import AS_OF

pytestmark = pytest.mark.django_db
USD = 10**9
LARGE = ("acme/large", "--provider", "acme")
CLAUDE = ("anthropic/claude-haiku-5.5", "--provider", "openrouter")
FLASH = ("deepseek/deepseek-v4.1-flash", "--provider", "deepseek")


@pytest.fixture(autouse=True)
def acme() -> None:
    """A provider of an operator's."""
    do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1", api_key="sk-acme"))


@pytest.fixture
def shipped_rows() -> None:
    """The shipped catalogue."""
    with time_machine.travel(AS_OF, tick=False):
        call_command("catalog_seed", verbosity=0)


def add(*arguments: str, at: datetime = AS_OF) -> list[str]:
    output = StringIO()
    with time_machine.travel(at, tick=False):
        call_command("model", "add", *arguments, stdout=output)
    return output.getvalue().splitlines()


def new(*more: str) -> list[str]:
    return add(*LARGE, "--input-price", "3.00", "--output-price", "15.00", *more)


def offer_of(of: tuple[str, str, str]) -> Offer:
    return Offer.objects.get(model=of[0], provider=of[2])


def price_at(moment: datetime = AS_OF, model: str = "acme/large") -> Price:
    with time_machine.travel(moment, tick=False):
        return Price.objects.get(pk=read_catalog().models[model].offers[0].price.id)


def test_a_new_offer_has_what_is_named_and_the_defaults() -> None:
    assert new("--name", "Large", "--upstream-id", "large-1", "--tokens-per-s", "70") == ["model acme/large at acme"]
    row = offer_of(LARGE)
    assert (row.model.name, row.upstream_id, row.tokens_per_s) == ("Large", "large-1", 70)
    assert (row.context_length, row.max_output) == (128_000, 8_192)
    assert row.capabilities == ["tools", "vision", "json_schema"]
    assert price_at().components == {"input": 3 * USD, "output": 15 * USD}


def test_a_corrected_price_leaves_everything_else(shipped_rows: None) -> None:
    before = offer_of(CLAUDE)
    tiers = before.prices.get().price.tiers
    said = add(*CLAUDE, "--output-price", "9.99")
    assert said[0] == f"model {CLAUDE[0]} at openrouter"
    assert len(said) == 2
    assert said[1].startswith(f"  price from {AS_OF:%Y-%m-%d} 12:00:00 UTC: input ")
    assert "output 9.99; above 100000 input tokens" in said[1].partition(" -> ")[2]
    after = offer_of(CLAUDE)
    for field in ("upstream_id", "context_length", "max_output", "capabilities", "quirks"):
        assert getattr(after, field) == getattr(before, field)
    price = after.prices.get(effective_from=AS_OF).price
    assert price.components == before.prices.earliest("pk").price.components | {"output": 9_990_000_000}
    assert price.tiers == tiers != []
    assert (before.shipped != "", after.shipped) == (True, "")


def test_a_limit_leaves_the_price_and_says_what_it_was() -> None:
    new()
    said = add(*LARGE, "--context", "200000", "--max-output", "9000", "--capabilities", "", "--name", "Huge")
    assert said == [
        "model acme/large at acme",
        "  name: large -> Huge",
        "  context length: 128000 -> 200000",
        "  max output: 8192 -> 9000",
        "  capabilities: tools, vision, json_schema -> none",
    ]
    assert OfferPrice.objects.count() == 1


def test_the_same_once_more_changes_nothing_and_wakes_nobody(shipped_rows: None) -> None:
    new()
    version = CatalogVersion.objects.get().version
    assert new("--context", "128000") == ["model acme/large at acme: nothing changed"]
    assert add(*CLAUDE) == [f"model {CLAUDE[0]} at openrouter: nothing changed"]
    assert CatalogVersion.objects.get().version == version
    assert offer_of(CLAUDE).shipped


def test_every_price_is_within_reach() -> None:
    new(
        "--cache-read-price", "0.30", "--cache-write-price", "3.75", "--cache-write-1h-price", "6", "--tier", "9:6:20:1"
    )
    price = price_at()
    tenths = {"input": 30, "cache_read": 3, "output": 150}
    assert price.components == {
        **{bucket: amount * USD // 10 for bucket, amount in tenths.items()},
        "cache_write": 3_750_000_000,
        "cache_write_1h": 6 * USD,
    }
    assert price.tiers == [{"above_input": 9, "components": {"input": 6 * USD, "output": 20 * USD, "cache_read": USD}}]
    add(*LARGE, "--tier", "7:6:20", "--tier", "8:7:21")
    assert [tier["above_input"] for tier in price_at().tiers] == [7, 8]
    add(*LARGE, "--no-tiers")
    assert (price_at().tiers, price_at().components) == ([], price.components)


def test_an_announced_price_holds_from_its_day_on_and_can_be_corrected() -> None:
    new()
    december = datetime(2026, 12, 1, tzinfo=UTC)
    said = add(*LARGE, "--input-price", "4", "--from", "2026-12-01")
    old, changed = "input 3.00, output 15.00", "input 4.00, output 15.00"
    assert said[1:] == [f"  price from 2026-12-01 00:00:00 UTC: {old} -> {changed}"]
    assert "nothing changed" in add(*LARGE, "--input-price", "4", "--from", "2026-12-01T00:00")[0]
    add(*LARGE, "--output-price", "16", "--from", "2026-12-01T01:00+01:00")
    add(*LARGE, "--output-price", "17", "--from", "2027-01-01")
    assert price_at().components["input"] == 3 * USD
    assert price_at(december).components == {"input": 4 * USD, "output": 16 * USD}
    assert OfferPrice.objects.count() == 3
    said = add(*LARGE, "--input-price", "3")
    assert said[1:] == [
        "  price from 2026-12-01 00:00:00 UTC: input 4.00, output 16.00 -> none",
        "  price from 2027-01-01 00:00:00 UTC: input 4.00, output 17.00 -> none",
    ]
    assert OfferPrice.objects.count() == 1


def test_a_price_in_place_of_dear_times_says_that_they_go(shipped_rows: None) -> None:
    said = add(*FLASH, "--input-price", "0.20")
    assert [line.partition(":")[0] for line in said[1:]] == [
        f"  price from {AS_OF:%Y-%m-%d} 12",
        *["  price from 1970-01-01 00"] * 2,
    ]
    assert "01:00 to 04:00, Monday to Friday: input 0.30" in said[2]
    assert said[2].endswith(" -> none")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--tier", "9:1"], "tier '9:1' must look like"),
        (["--tier", "9:1:1:1:1"], "must look like"),
        (["--tier", "x:1:1"], "must look like"),
        (["--tier", "9:1:x"], "price 'x' is not a number"),
        (["--tier", "0:1:1"], "tiers must begin above 1"),
        (["--tier", "9:1:1", "--tier", "9:1:1"], "tiers must begin above 1"),
        (["--from", "tomorrow", "--input-price", "1"], "'tomorrow' must look like 2026-12-01"),
        (["--from", "2026-11-21T12:00", "--input-price", "1"], "begins later than now"),
        (["--from", "2026-12-01"], "a moment to begin at needs a price"),
        (["--context", "8191"], "1 <= max output <= context"),
        (["--max-output", "0"], "1 <= max output <= context"),
        (["--capabilities", "smell"], "unknown capabilities: smell"),
    ],
)
def test_what_makes_no_sense_changes_nothing(more: list[str], reason: str) -> None:
    new()
    version = CatalogVersion.objects.get().version
    with pytest.raises(CommandError, match=reason):
        add(*LARGE, *more)
    assert (OfferPrice.objects.count(), CatalogVersion.objects.get().version) == (1, version)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*LARGE, "--input-price", "1"], "needs a price for input and output"),
        (["acme/large", "--provider", "nobody"], "there is no provider 'nobody'"),
        (["large", "--provider", "acme"], "must look like vendor/name"),
        (["auto/large", "--provider", "acme"], "take another vendor"),
    ],
)
def test_a_new_offer_that_lacks_something_is_not_made(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        add(*arguments)
    assert not Model.objects.exists()
