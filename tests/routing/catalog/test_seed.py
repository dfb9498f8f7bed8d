"""Seeding: once, quickly, and again only what the files changed and no operator did."""

import json
import shutil
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider
from routing.catalog import shipped
from routing.catalog.load import read_catalog
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.catalog.shipped import DATA, nano, read_shipped
from tests.routing.catalog.conftest import AS_OF

pytestmark = pytest.mark.django_db
MODEL = "openai/gpt-6-sol"
NEXT_MONTH = datetime(2026, 12, 21, tzinfo=UTC)


def seed(at: datetime = AS_OF) -> str:
    output = StringIO()
    with time_machine.travel(at, tick=False):
        call_command("catalog_seed", stdout=output)
    return output.getvalue()


class Files:
    """A copy of the shipped files that a test may change, as an upgrade would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "data"
        shutil.copytree(DATA, self.folder)
        for name in ("read_shipped", "fingerprint", "read_providers"):
            original = getattr(shipped, name)
            monkeypatch.setattr(
                f"routing.actions.shipped.{name}",
                lambda *given, original=original: original(*given, data=self.folder),
            )

    def change(self, name: str, at: str, /, **changes: Any) -> None:
        """Change the first line of a file that holds `at`."""
        lines = (self.folder / name).read_text().splitlines()
        number = next(number for number, line in enumerate(lines) if at in line)
        lines[number] = json.dumps(json.loads(lines[number]) | changes)
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def drop(self, name: str, at: str) -> None:
        """Take the first line that holds `at` away."""
        lines = (self.folder / name).read_text().splitlines()
        lines.remove(next(line for line in lines if at in line))
        (self.folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(tmp_path, monkeypatch)


def of_offer(provider: str) -> str:
    return f'"model": "{MODEL}", "provider": "{provider}"'


def test_everything_is_there_after_the_first_time(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(180):
        assert "145 models and 218 offers written" in seed()
    whole = read_shipped(2_500)
    assert set(Model.objects.exclude(shipped="").values_list("pk", flat=True)) == {row.id for row in whole.models}
    assert Offer.objects.exclude(shipped="").count() == len(whole.offers)
    assert OfferPrice.objects.filter(offer__shipped__gt="").count() == sum(len(row.prices) for row in whole.offers)


def test_the_second_time_reads_and_writes_next_to_nothing(django_assert_max_num_queries: Any) -> None:
    seed()
    version = CatalogVersion.objects.get().version
    with django_assert_max_num_queries(4):
        assert seed() == ""
    assert CatalogVersion.objects.get().version == version


def test_no_key_is_ever_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    seed()
    assert not Provider.objects.exclude(pk="local").exclude(api_key_encrypted=b"").exists()
    assert read_catalog().models[MODEL].offers[0].target.api_key == "sk-canary"


def test_an_address_that_makes_no_sense_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "api.openai.com")
    with pytest.raises(ImproperlyConfigured, match="OPENAI_BASE_URL must look like"):
        seed()


def test_a_key_with_a_newline_behind_it_is_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-canary\r\n")
    seed()
    assert read_catalog().models[MODEL].offers[0].target.api_key == "sk-canary"
    monkeypatch.setenv("OPENAI_API_KEY", "\n")
    assert MODEL in read_catalog().off


@pytest.mark.parametrize("key", ["sk-\ncanary", "sk-canary-\N{EURO SIGN}"])
def test_a_key_that_no_header_can_hold_stops_the_start(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    seed()
    monkeypatch.setenv("OPENAI_API_KEY", key)
    for start in (seed, read_catalog):
        with pytest.raises(ImproperlyConfigured, match=r"^OPENAI_API_KEY must be printable ASCII") as refused:
            start()
        assert "canary" not in str(refused.value)


def test_the_key_of_an_operators_provider_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1", api_key_env="ACME_KEY"))
    seed()
    monkeypatch.setenv("ACME_KEY", "sk-\ncanary")
    with pytest.raises(ImproperlyConfigured, match=r"^ACME_KEY must"):
        seed()


def test_an_upgrade_reaches_what_no_operator_changed(files: Files) -> None:
    seed()
    files.change("models.jsonl", f'"id": "{MODEL}"', name="GPT-6 Sol, better")
    files.change("offers.jsonl", of_offer("openai"), max_output=7)
    assert "1 models and 1 offers written" in seed(NEXT_MONTH)
    assert Model.objects.get(pk=MODEL).name == "GPT-6 Sol, better"
    assert Offer.objects.get(model=MODEL, provider="openai").max_output == 7
    assert seed(NEXT_MONTH) == ""


def test_a_new_price_holds_from_the_upgrade_on_and_the_old_one_stays_in_the_books(files: Files) -> None:
    seed()
    files.change(
        "offers.jsonl",
        of_offer("openai"),
        prices=[{"price": {"input": "3", "output": "12"}}, {"from": "2027-05-01", "price": {"input": "1"}}],
    )
    seed(NEXT_MONTH)
    rows = OfferPrice.objects.filter(offer__model=MODEL, offer__provider="openai").order_by("effective_from")
    inputs = [(row.effective_from.date().isoformat(), row.price.components["input"]) for row in rows]
    assert inputs == [("1970-01-01", 2 * 10**9), ("2026-12-21", 3 * 10**9), ("2027-05-01", 10**9)]


def test_an_announced_price_that_is_taken_back_goes(files: Files) -> None:
    seed()
    argon = '"model": "google/gemini-4-argon", "provider": "google"'
    files.change("offers.jsonl", argon, prices=[{"price": {"input": "2", "cache_read": "0.1", "output": "10"}}])
    seed()
    rows = OfferPrice.objects.filter(offer__model="google/gemini-4-argon", offer__provider="google")
    assert [row.effective_from.year for row in rows] == [1970]


def test_an_offer_that_no_line_has_any_more_goes(files: Files) -> None:
    seed()
    files.drop("offers.jsonl", of_offer("openai"))
    assert "1 offers removed" in seed()
    assert [offer.provider_id for offer in Offer.objects.filter(model=MODEL)] == ["openrouter"]


def test_what_an_operator_changed_stays_as_it_is(files: Files) -> None:
    seed()
    do_put_offer(OfferSpec(MODEL, "openai", {"input": 1, "output": 1}, max_output=9, name="Ours"))
    files.change("offers.jsonl", of_offer("openai"), max_output=7)
    files.change("models.jsonl", f'"id": "{MODEL}"', name="Theirs")
    files.drop("offers.jsonl", '"model": "openai/gpt-6-luna", "provider": "openai"')
    do_put_offer(OfferSpec("openai/gpt-6-luna", "openai", {"input": 1, "output": 1}))
    seed(NEXT_MONTH)
    offer = Offer.objects.get(model=MODEL, provider="openai")
    assert (offer.max_output, offer.model.name) == (9, "Ours")
    newest = offer.prices.order_by("-effective_from").first()
    assert newest is not None
    assert newest.price.components == {"input": 1, "cache_read": 2 * 10**8, "cache_write": 25 * 10**8, "output": 1}
    assert Offer.objects.filter(model="openai/gpt-6-luna", provider="openai").exists()


def test_a_provider_of_an_operator_keeps_its_address_and_gets_no_offers(files: Files) -> None:
    do_put_provider(ProviderSpec("openai", "https://proxy.example/v1", api_key="sk-own"))
    seed()
    assert Provider.objects.get(pk="openai").base_url == "https://proxy.example/v1"
    assert not Offer.objects.filter(provider="openai").exists()
    assert Offer.objects.filter(model=MODEL, provider="openrouter").exists()


def test_a_providers_new_address_arrives(files: Files) -> None:
    seed()
    text = (files.folder / "providers.json").read_text().replace("https://api.x.ai/v1", "https://api.x.ai/v2")
    (files.folder / "providers.json").write_text(text)
    shipped.read_providers.cache_clear()
    seed()
    assert Provider.objects.get(pk="x-ai").base_url == "https://api.x.ai/v2"


def test_prices_of_the_files_are_exact() -> None:
    assert nano("0.0605") == 60_500_000
    assert nano("0.003625") == 3_625_000
    with pytest.raises(ValueError, match="finer"):
        nano("0.0000000001")


def test_another_fee_becomes_a_part_of_every_price_with_the_next_start(settings: Any) -> None:
    seed()
    settings.FEE_BASIS_POINTS = 3_000
    seed()
    assert fees_in_force() == {3_000}


def fees_in_force() -> set[int]:
    """Fees of the prices that hold."""
    rows = OfferPrice.objects.filter(offer__shipped__gt="").order_by("effective_from", "pk")
    newest = {row.offer_id: row.price.fee_basis_points for row in rows.select_related("price")}
    return set(newest.values())
