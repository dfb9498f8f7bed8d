"""The pages of models: other names, ends, prices to come and dear times of the day."""

import html
import re
from datetime import UTC, date, datetime

import pytest
import time_machine
from django.test import Client

from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider
from routing.catalog.models import Model, Offer, OfferPrice, Provider

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def acme() -> None:
    """A provider with two models; both cost the same."""
    with time_machine.travel(SINCE, tick=False):
        do_put_provider(ProviderSpec("acme", "https://api.acme.example/v1", api_key="sk"))
        for name in ("acme/old-1.0", "acme/new-2.0"):
            do_put_offer(OfferSpec(name, "acme", {"input": 10**9, "output": 2 * 10**9}))
    Provider.objects.filter(pk="acme").update(shipped="a mark")


def words(client: Client, path: str, status: int = 200) -> str:
    with time_machine.travel(NOW):
        answer = client.get(path)
    assert answer.status_code == status
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())).split())


def test_a_model_that_ends_says_when_and_names_its_successor(client: Client) -> None:
    Model.objects.filter(pk="acme/old-1.0").update(sunset_on=date(2026, 12, 24), successor="acme/new-2.0")
    assert "ends 24 Dec 2026" in words(client, "/models")
    page = words(client, "/models/acme/old-1.0")
    assert "It ends on 24 December 2026 (UTC). Its successor is acme/new-2.0" in page
    assert "old-1.0" not in words(client, "/").partition("Models")[2].partition("acme/new-2.0")[0]


def test_a_model_that_has_ended_is_404_and_names_its_successor(client: Client) -> None:
    Model.objects.filter(pk="acme/old-1.0").update(sunset_on=date(2026, 11, 1), successor="acme/new-2.0")
    page = words(client, "/models/old-1-0", status=404)
    assert "acme/old-1.0 was retired on 2026-11-01. Its successor is acme/new-2.0, which costs no more." in page
    assert "old-1.0" not in words(client, "/models")


def test_another_name_leads_to_the_page_of_the_model(client: Client) -> None:
    answer = client.get("/models/NEW-2.0")
    assert (answer.status_code, answer["Location"]) == (302, "/models/acme/new-2.0")


def test_a_model_without_a_key_is_not_shown(client: Client) -> None:
    Provider.objects.filter(pk="acme").update(api_key_env="ACME_API_KEY")
    assert "does not serve acme/new-2.0" in words(client, "/models/new-2.0", status=404)
    assert "new-2.0" not in words(client, "/models")


def test_prices_to_come_and_dear_times_are_shown_with_our_fee(client: Client) -> None:
    offer = Offer.objects.get(model="acme/new-2.0")
    dear = Offer.objects.get(model="acme/old-1.0").prices.get().price
    OfferPrice.objects.create(
        offer=offer,
        price=dear,
        effective_from=SINCE,
        from_minute=60,
        to_minute=240,
        weekdays_only=True,
    )
    OfferPrice.objects.create(offer=offer, price=dear, effective_from=datetime(2027, 1, 2, tzinfo=UTC))
    page = words(client, "/models/acme/new-2.0")
    assert "Input, 00:50 to 04:00 UTC, Monday to Friday $1.00 $1.25" in page
    assert "Output, from 2 January 2027 $2.00 $2.50" in page
