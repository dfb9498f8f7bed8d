"""Models and providers out of service, back, and removed."""

from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.core.management import CommandError, call_command

from billing.models import Price
from komilion.common.errors import ModelNotServed
from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider
from routing.catalog import shipped
from routing.catalog.load import read_catalog
from routing.catalog.models import CatalogVersion, Model, Offer, Provider
from routing.catalog.resolve import resolve
from tests.routing.catalog.conftest import AS_OF
from tests.routing.catalog.test_seed import Files

pytestmark = pytest.mark.django_db
PRO = "deepseek/deepseek-v4-pro"
LARGE = "acme/large"


def run(*arguments: str) -> str:
    output = StringIO()
    with time_machine.travel(AS_OF, tick=False):
        call_command(*arguments, stdout=output)
    return output.getvalue()


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped catalogue with two providers on, and an operator's, who offers a shipped model and one of his own."""
    for name in ("DEEPSEEK_API_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.setenv(name, "sk-test")
    run("catalog_seed", "--verbosity", "0")
    do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1", api_key="sk-acme"))
    for model in (PRO, LARGE):
        with time_machine.travel(AS_OF, tick=False):
            do_put_offer(OfferSpec(model, "acme", {"input": 7, "output": 7}))


def providers_of(model: str) -> list[str]:
    with time_machine.travel(AS_OF, tick=False):
        entry = read_catalog().models.get(model)
    return [offer.provider for offer in entry.offers] if entry else []


def test_a_provider_is_off_with_all_that_it_offers_and_on_again() -> None:
    version = CatalogVersion.objects.get().version
    assert run("provider", "disable", "deepseek") == "provider deepseek is disabled\n"
    assert CatalogVersion.objects.get().version > version
    assert providers_of(PRO) == ["acme", "openrouter"]
    assert f"{PRO} at deepseek  disabled" in run("catalog", "list", "--all").splitlines()
    shown = run("catalog", "show", PRO)
    assert "at deepseek as deepseek-v4-pro  (shipped)  provider disabled\n" in shown
    assert shown.count("disabled") == 1
    assert run("provider", "enable", "deepseek") == "provider deepseek is enabled\n"
    assert providers_of(PRO) == ["acme", "deepseek", "openrouter"]


def test_a_model_is_off_at_one_provider_or_everywhere() -> None:
    assert run("model", "disable", PRO, "--provider", "acme") == f"model {PRO} at acme is disabled\n"
    assert providers_of(PRO) == ["deepseek", "openrouter"]
    assert "at acme as deepseek-v4-pro  (yours)  disabled\n" in run("catalog", "show", PRO)
    assert run("model", "disable", PRO) == f"model {PRO} is disabled\n"
    assert providers_of(PRO) == []
    assert f"{PRO}  disabled" in run("catalog", "list", "--all").splitlines()
    assert f"{PRO}  " not in run("catalog", "list")
    assert f"{PRO}  DeepSeek V4 Pro  (shipped)  disabled" in run("catalog", "show", PRO)
    run("model", "enable", PRO)
    assert providers_of(PRO) == ["deepseek", "openrouter"]
    run("model", "enable", PRO, "--provider", "acme")
    assert providers_of(PRO) == ["acme", "deepseek", "openrouter"]


def test_who_asks_for_a_disabled_model_is_told_that_it_is_not_served() -> None:
    run("model", "disable", LARGE)
    with pytest.raises(ModelNotServed, match=f"^{LARGE} is not served here at present"):
        resolve(read_catalog(), LARGE)


def test_what_is_disabled_stays_so_through_an_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(tmp_path, monkeypatch)
    run("provider", "disable", "openrouter")
    run("model", "disable", PRO, "--provider", "deepseek")
    run("model", "disable", "deepseek/deepseek-v4-flash")
    files.change("offers.jsonl", f'"model": "{PRO}", "provider": "deepseek"', max_output=7)
    files.change("models.jsonl", '"id": "deepseek/deepseek-v4-flash"', name="Better")
    text = (
        (files.folder / "providers.json")
        .read_text()
        .replace("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v2")
    )
    (files.folder / "providers.json").write_text(text)
    shipped.read_providers.cache_clear()
    assert "1 models and 1 offers written" in run("catalog_seed")
    assert Provider.objects.get(pk="openrouter").base_url.endswith("v2")
    assert providers_of(PRO) == ["acme"]
    assert providers_of("deepseek/deepseek-v4-flash") == []


def test_a_change_does_not_enable() -> None:
    run("model", "disable", LARGE, "--provider", "acme")
    run("model", "add", LARGE, "--provider", "acme", "--input-price", "1")
    run("provider", "disable", "acme")
    run("provider", "add", "acme", "--api-key", "sk-new")
    run("model", "enable", LARGE, "--provider", "acme")
    assert providers_of(LARGE) == []


def test_what_an_operator_added_can_be_removed_and_its_prices_stay_in_the_books() -> None:
    prices = Price.objects.count()
    assert run("model", "remove", PRO, "--provider", "acme") == f"model {PRO} at acme is removed\n"
    assert providers_of(PRO) == ["deepseek", "openrouter"]
    run("model", "remove", LARGE)
    assert not Model.objects.filter(pk=LARGE).exists()
    assert Price.objects.count() == prices


def test_the_last_offer_takes_an_operators_model_along() -> None:
    do_put_provider(ProviderSpec("other", "https://api.other.example/v1"))
    with time_machine.travel(AS_OF, tick=False):
        do_put_offer(OfferSpec(LARGE, "other", {"input": 7, "output": 7}))
    run("model", "remove", LARGE, "--provider", "acme")
    assert providers_of(LARGE) == ["other"]
    run("model", "remove", LARGE, "--provider", "other")
    assert not Model.objects.filter(pk=LARGE).exists()


def test_a_provider_goes_with_its_offers_and_the_models_that_nobody_else_has() -> None:
    assert run("provider", "remove", "acme") == f"provider acme is removed, and with it {LARGE}\n"
    assert not Provider.objects.filter(pk="acme").exists()
    assert providers_of(PRO) == ["deepseek", "openrouter"]
    do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1"))
    assert run("provider", "remove", "acme") == "provider acme is removed\n"


@pytest.mark.parametrize(
    ("what", "advice"),
    [
        (["provider", "remove", "deepseek"], "provider disable deepseek"),
        (["provider", "remove", "local"], "provider disable local"),
        (["model", "remove", PRO], f"model disable {PRO}"),
        (["model", "remove", PRO, "--provider", "deepseek"], f"model disable {PRO} --provider deepseek"),
        (["model", "remove", "local/smollm2-135m-instruct"], "model disable local/smollm2-135m-instruct"),
    ],
)
@pytest.mark.parametrize("is_changed", [False, True])
def test_what_ships_is_not_removed_also_where_an_operator_changed_it(
    what: list[str], advice: str, is_changed: bool
) -> None:
    if is_changed:
        for table in (Provider, Model, Offer):
            table.objects.update(shipped="")
    with pytest.raises(CommandError, match=f"ships with the catalogue: manage.py {advice}$"):
        run(*what)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (["provider", "disable", "nobody"], "there is no provider 'nobody'"),
        (["provider", "remove", "nobody"], "there is no provider 'nobody'"),
        (["model", "enable", "acme/nothing"], "there is no model 'acme/nothing'"),
        (["model", "remove", "acme/nothing"], "there is no model 'acme/nothing'"),
        (["model", "disable", LARGE, "--provider", "deepseek"], f"{LARGE} is not offered by 'deepseek'"),
    ],
)
def test_what_is_not_there_is_told(what: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run(*what)


def test_the_list_shows_models_of_every_kind_with_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    lines = run("catalog", "list").splitlines()
    kinds = {line.split("  ")[0]: line.split("  ")[1] for line in lines}
    assert kinds[PRO] == "chat"
    assert set(kinds.values()) == {"chat", "transcription", "speech", "realtime"}


def test_an_option_may_stand_before_the_name() -> None:
    assert run("catalog", "list", "--all", "acme") == run("catalog", "list", "acme", "--all")


def test_providers_are_listed_with_where_their_key_comes_from() -> None:
    run("provider", "disable", "acme")
    lines = run("provider", "list").splitlines()
    assert "acme  openai  https://api.acme.example/v1  key: stored  2 offers  disabled" in lines
    assert any("key: DEEPSEEK_API_KEY  " in line for line in lines)
    assert any("key: OPENAI_API_KEY, which is not set here  " in line for line in lines)
