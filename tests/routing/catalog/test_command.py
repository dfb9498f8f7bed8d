"""`manage.py catalog`: what an operator sees of the catalogue, and how a change is taken back."""

from datetime import UTC, datetime
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider
from routing.catalog.models import Model, Offer, Provider
from tests.routing.catalog.conftest import AS_OF

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped catalogue, with one provider on."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-test")
    with time_machine.travel(AS_OF, tick=False):
        call_command("catalog_seed", verbosity=0)


def run(*arguments: str) -> str:
    output = StringIO()
    with time_machine.travel(AS_OF, tick=False):
        call_command("catalog", *arguments, stdout=output)
    return output.getvalue()


def test_the_list_is_of_what_can_be_called() -> None:
    lines = run("list").splitlines()
    assert "deepseek/deepseek-v4-pro  chat  deepseek  0.66 / 1.98" in lines
    assert {line.split("  ")[2] for line in lines} == {"deepseek", "local"}
    assert run("list", "v4.1") == "deepseek/deepseek-v4.1-flash  chat  deepseek  0.15 / 0.60\n"


def test_the_whole_list_says_what_would_switch_a_model_on_and_what_has_ended() -> None:
    lines = run("list", "--all").splitlines()
    assert "openai/gpt-6-sol  off: set OPENAI_API_KEY or OPENROUTER_API_KEY" in lines
    assert run("list", "nothing-like-it", "--all") == ""
    assert "deepseek/deepseek-chat  retired 2026-07-24, successor deepseek/deepseek-v4-flash" in lines


def test_the_whole_list_can_be_of_a_part_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-test")
    call_command("provider", "disable", "deepseek", verbosity=0)
    lines = run("list", "deepseek-v4-pro-", "--all").splitlines()
    assert [line.partition("  ")[0] for line in lines] == [
        "deepseek/deepseek-v4-pro-0813",
        "deepseek/deepseek-v4-pro-0813 at deepseek",
    ]


def test_an_end_to_come_stands_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert "openai/gpt-5  chat  openai  1.25 / 10.00  ends 2026-12-11, successor openai/gpt-6.1-sol" in run("list")


def test_a_model_is_shown_by_any_name_with_its_prices() -> None:
    shown = run("show", "deepseek-flash")
    assert "deepseek/deepseek-v4.1-flash  DeepSeek V4.1 Flash  (shipped)" in shown
    assert "  key: DEEPSEEK_API_KEY" in shown
    assert "from 1970-01-01 00:00:00 UTC: input 0.15, cache_read 0.003, output 0.60  (in force)" in shown
    assert "from 1970-01-01 00:00:00 UTC, 01:00 to 04:00, Monday to Friday: " in shown
    tiered = run("show", "claude-haiku-5.5")
    assert "    above 100000 input tokens: input 0.50" in tiered
    assert "ends 2026-12-11, successor openai/gpt-6.1-sol" in run("show", "gpt-5")


@pytest.mark.parametrize(
    ("hour", "marked"),
    [
        (5, "  from 1970-01-01 00:00:00 UTC: input"),
        (9, "  from 1970-01-01 00:00:00 UTC, 06:00 to 10:00, Monday to Friday: input"),
    ],
)
def test_the_price_that_holds_now_is_marked(hour: int, marked: str) -> None:
    with time_machine.travel(datetime(2026, 11, 23, hour, tzinfo=UTC), tick=False):
        output = StringIO()
        call_command("catalog", "show", "deepseek-flash", stdout=output)
    at_deepseek = output.getvalue().partition("at openrouter")[0].splitlines()
    (line,) = [line for line in at_deepseek if line.endswith("  (in force)")]
    assert line.startswith(marked)


def test_a_price_to_come_is_shown_with_its_moment_and_not_marked() -> None:
    with time_machine.travel(AS_OF, tick=False):
        call_command(
            "model",
            "add",
            "deepseek/deepseek-v4-pro",
            "--provider=deepseek",
            "--input-price=1",
            "--from=2026-12-01T08:30",
            stdout=StringIO(),
        )
    shown = run("show", "deepseek-v4-pro")
    assert "  from 2026-12-01 08:30:00 UTC: input 1.00" in shown
    assert shown.count("(in force)") == 2  # one at each of two providers


def test_an_unknown_model_gets_the_nearest_named() -> None:
    with pytest.raises(CommandError, match="Nearest: deepseek/deepseek-v4-pro"):
        run("show", "deepseek-v4-pro-9999")
    with pytest.raises(CommandError, match=r"There is no model '…'\.$"):
        run("show", "…")
    with pytest.raises(CommandError, match="Which model"):
        run("show")


def test_what_an_operator_changed_can_be_given_back() -> None:
    do_put_offer(OfferSpec("deepseek/deepseek-v4-pro", "deepseek", {"input": 1, "output": 1}, name="Ours"))
    do_put_provider(ProviderSpec("deepseek", "https://proxy.example/v1", api_key="sk-own"))
    assert "(yours)" in run("show", "deepseek-v4-pro")
    run("reset", "deepseek/deepseek-v4-pro")
    assert Model.objects.get(pk="deepseek/deepseek-v4-pro").name == "DeepSeek V4 Pro"
    offer = Offer.objects.get(model="deepseek/deepseek-v4-pro", provider="deepseek")
    newest = offer.prices.order_by("-effective_from", "-pk").first()
    assert newest is not None
    assert newest.price.components["input"] > 1
    run("reset", "deepseek")
    provider = Provider.objects.get(pk="deepseek")
    assert (provider.base_url, provider.api_key_encrypted) == ("https://api.deepseek.com", b"")
    with pytest.raises(CommandError, match="no model or provider 'acme/nothing'"):
        run("reset", "acme/nothing")
