"""`manage.py provider`: upstream APIs, their keys, and what an operator does to them."""

from io import StringIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from routing.catalog.credentials import decrypt
from routing.catalog.models import CatalogVersion, Provider

pytestmark = pytest.mark.django_db
URL = "https://api.acme.example/v1"


def provider(*arguments: str) -> str:
    output = StringIO()
    call_command("provider", *arguments, stdout=output)
    return output.getvalue()


def key() -> str:
    return decrypt(bytes(Provider.objects.get().api_key_encrypted))


def test_a_change_is_of_what_is_named_and_of_nothing_else() -> None:
    said = provider("add", "acme", "--base-url", URL, "--api-key", "sk-acme", "--cancel-stops-billing")
    assert said == f"provider acme at {URL}, key: stored\n"
    assert provider("add", "acme", "--base-url", f"{URL}/2/") == f"provider acme at {URL}/2, key: stored\n"
    assert (key(), Provider.objects.get().cancel_stops_billing) == ("sk-acme", True)
    provider("add", "acme", "--no-cancel-stops-billing", "--pass-unknown", "--dialect", "openai")
    row = Provider.objects.get()
    assert (row.base_url, row.cancel_stops_billing, row.pass_unknown) == (f"{URL}/2", False, True)
    assert key() == "sk-acme"


def test_a_key_takes_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider("add", "acme", "--base-url", URL).endswith("key: none\n")
    provider("add", "acme", "--api-key", "sk-acme")
    assert provider("add", "acme", "--api-key-env", "ACME_KEY").endswith("key: ACME_KEY, which is not set here\n")
    assert key() == ""
    monkeypatch.setenv("ACME_KEY", "sk-other")
    assert provider("add", "acme", "--base-url", f"{URL}/2").endswith("key: ACME_KEY\n")
    assert provider("add", "acme", "--api-key", "sk-new").endswith("key: stored\n")
    assert (key(), Provider.objects.get().api_key_env) == ("sk-new", "")
    assert provider("add", "acme", "--api-key", "").endswith("key: none\n")


def test_a_shipped_provider_that_moves_keeps_its_variable() -> None:
    call_command("catalog_seed", verbosity=0)
    provider("add", "deepseek", "--base-url", URL)
    row = Provider.objects.get(pk="deepseek")
    assert (row.base_url, row.base_url_env, row.api_key_env) == (URL, "", "DEEPSEEK_API_KEY")


def test_a_key_is_stored_without_the_blanks_around_it() -> None:
    provider("add", "acme", "--base-url", URL, "--api-key", " sk-acme\n")
    assert key() == "sk-acme"


@pytest.mark.parametrize("bad", ["sk\n-acme", "sk-\x07", "sk-ключ"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_told(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=r"^the API key must be printable ASCII") as refused:
        provider("add", "acme", "--base-url", URL, "--api-key", bad)
    assert bad not in str(refused.value)
    monkeypatch.setenv("ACME_KEY", bad)
    with pytest.raises(ImproperlyConfigured, match=r"^ACME_KEY must be printable ASCII"):
        provider("add", "acme", "--base-url", URL, "--api-key-env", "ACME_KEY")
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["acme"], "there is no provider 'acme'; a new one needs a base URL"),
        (["acme", "--base-url", "acme.example"], "must look like https://"),
        (["acme", "--base-url", URL, "--dialect", "morse"], "dialect 'morse' is not one of"),
        (["a/b", "--base-url", URL], "without a slash"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        provider("add", *arguments)
    assert not CatalogVersion.objects.exists()
