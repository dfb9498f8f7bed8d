"""What there is to choose from: the catalogue, what is known of its models, and what all organizations show of them."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command

from accounts.models import Organization
from advisor.landscape import read_landscape, recent_landscape
from advisor.models import DayEvidence
from billing.actions.prices import do_record_price
from billing.prices import BASIS_POINTS
from routing.catalog.models import Model, Offer, OfferPrice, Provider
from routing.queries import catalog_rows, forget_catalog_rows
from routing.selection.quality import BLIND, REASONING, Strengths
from routing.selection.words import TASKS

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 3)
CHARGED = (BASIS_POINTS + 2_500) / BASIS_POINTS
DOLLAR = 10**9


@pytest.fixture(autouse=True)
def models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("acme/one", "acme/two"):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
    OfferPrice.objects.update(effective_from=datetime(2026, 10, 1, tzinfo=UTC))
    Model.objects.filter(pk="acme/two").update(
        created_at=datetime(2026, 10, 9, 23, 59, tzinfo=UTC), line="acme/one", deprecated_on=date(2026, 11, 1)
    )


def test_a_model_comes_with_what_callers_pay_and_what_it_can():
    landscape = read_landscape(TODAY)
    assert landscape.today == TODAY
    one, two = landscape.models["acme/one"], landscape.models["acme/two"]
    assert (one.id, one.maker, one.line, two.line) == ("acme/one", "acme", "acme/one", "acme/one")
    assert one.prices == {"input": 3 * DOLLAR * CHARGED, "output": 15 * DOLLAR * CHARGED}
    assert one.tiers == ()
    offer = catalog_rows().models["acme/one"].offer
    assert (one.context_length, one.max_output) == (offer.context_length, offer.max_output)
    assert one.capabilities == frozenset(offer.capabilities)
    assert two.first_seen_on == date(2026, 10, 9)
    assert (one.deprecated_on, two.deprecated_on, one.sunset_on, one.successor) == (None, date(2026, 11, 1), None, None)


def price(output: int, **values: Any) -> OfferPrice:
    """One more price of the first model, in dollars for a million tokens of output; $3 for input."""
    row = do_record_price({"input": 3 * DOLLAR, "output": output * DOLLAR})
    since = OfferPrice.objects.filter(offer__model="acme/one").latest("effective_from").effective_from
    offer = Offer.objects.get(model="acme/one")
    return OfferPrice.objects.create(**{"offer": offer, "price": row, "effective_from": since, **values})


def output_price() -> float:
    forget_catalog_rows()
    return read_landscape(TODAY).models["acme/one"].prices["output"] / DOLLAR / CHARGED


@pytest.mark.parametrize("hour", [2, 9])
def test_a_price_that_holds_at_times_counts_for_its_hours_whenever_one_looks(hour):
    price(30, from_minute=8 * 60 + 10, to_minute=12 * 60)  # and the ten minutes before, as calls may last
    with time_machine.travel(datetime(2026, 11, 3, hour, tzinfo=UTC), tick=False):
        assert output_price() == pytest.approx(15 + 15 * 4 / 24, rel=1e-6)


def test_a_price_that_holds_on_weekdays_counts_for_five_days_of_seven():
    price(30, from_minute=8 * 60 + 10, to_minute=12 * 60, weekdays_only=True)
    assert output_price() == pytest.approx(15 + 15 * 4 / 24 * 5 / 7, rel=1e-6)


@pytest.mark.parametrize(("in_days", "dollars", "counts"), [(29, 20, 20), (29, 10, 15), (31, 20, 15)])
def test_an_announced_price_counts_for_the_next_month_where_it_is_dearer(in_days, dollars, counts):
    midnight = datetime.combine(TODAY, time(), UTC)
    with time_machine.travel(midnight + timedelta(hours=9), tick=False):
        price(dollars, effective_from=midnight + timedelta(days=in_days))
        assert output_price() == counts


def test_tiers_by_length_come_with_their_fee():
    row = do_record_price(
        {"input": 3 * DOLLAR, "output": 15 * DOLLAR},
        tiers=[{"above_input": 200_000, "components": {"input": 6 * DOLLAR, "output": 30 * DOLLAR}}],
    )
    OfferPrice.objects.filter(offer__model="acme/one").update(price=row)
    ((above, prices),) = read_landscape(TODAY).models["acme/one"].tiers
    assert (above, prices) == (200_000, {"input": 6 * DOLLAR * CHARGED, "output": 30 * DOLLAR * CHARGED})


def test_strengths_are_those_that_the_choice_goes_by():
    unknown = Strengths.load().unknown
    one = read_landscape(TODAY).models["acme/one"]
    ahead = REASONING if one.is_reasoning else 0.0
    blind = {"vision": 0.0 if "vision" in one.capabilities else BLIND}
    assert list(one.strength) == list(one.error) == list(TASKS)
    for task, strength, error in zip(TASKS, unknown.strength, unknown.error, strict=True):
        assert one.strength[task] == pytest.approx(strength + ahead - blind.get(task, 0.0))
        assert one.error[task] == pytest.approx(error)


def test_a_retired_model_names_its_successor():
    Provider.objects.update(shipped="x")  # whose makers' dates hold; what an operator adds stays
    Model.objects.filter(pk="acme/two").update(sunset_on=date(2020, 1, 1), successor="acme/one")
    landscape = read_landscape(TODAY)
    assert landscape.retired["acme/two"] == "acme/one"
    assert "acme/two" not in landscape.models


def organizations(count: int, **values: Any) -> list[Organization]:
    return [Organization.objects.create(name=f"organization {number}", **values) for number in range(count)]


def put(organization: Organization, days_ago: int = 1, **values: Any) -> None:
    names = [field.name for field in DayEvidence._meta.concrete_fields]
    nothing = dict.fromkeys(names[names.index("requests") :], 0)
    key = {"day": TODAY - timedelta(days=days_ago), "organization_id": organization.pk, "model": "acme/one"}
    DayEvidence.objects.create(**{**nothing, **key, "task": "writing", "way": "named", "policy": "", **values})


def answers(tokens: int, calls: int = 100) -> dict[str, Any]:
    log = math.log(tokens)
    return {"answered": calls, "requests": calls, "log_output": calls * log, "log_output_square": calls * log * log}


def test_votes_of_many_who_pay_move_a_strength():
    before = read_landscape(TODAY).models
    for number, organization in enumerate(organizations(8)):
        for model, score in (("acme/one", 10.0), ("acme/two", 50.0)):
            put(organization, task="math", model=model, requests=60, rated=60, votes=60, score=score + number)
    after = read_landscape(TODAY).models
    assert after["acme/one"].strength["math"] < before["acme/one"].strength["math"] - 0.1
    assert after["acme/two"].strength["math"] > before["acme/two"].strength["math"] + 0.1
    assert after["acme/one"].error["math"] < before["acme/one"].error["math"]
    Organization.objects.update(tier="free")
    assert read_landscape(TODAY).models == before


def test_lengths_are_pooled_by_model_and_task_over_the_window():
    for number, organization in enumerate(organizations(5)):
        put(organization, **answers(100 + number))
        put(organization, days_ago=28, **answers(100 + number))
        put(organization, days_ago=29, **answers(9_999))
        put(organization, days_ago=0, **answers(9_999))
        put(organization, task="", **answers(9_999))
    outputs = read_landscape(TODAY).outputs
    assert list(outputs) == [("acme/one", "writing")]
    found = outputs["acme/one", "writing"]
    assert math.exp(found.log_mean) == pytest.approx(102, abs=0.5)
    assert found.calls == 5 * 200


def test_free_accounts_move_nothing():
    for organization in organizations(10, tier="free"):
        put(organization, failed=100, **answers(9_999))
        put(organization, days_ago=5, **answers(9_999))
    landscape = read_landscape(TODAY)
    assert landscape.outputs == {}
    assert landscape.health == {}


def test_what_two_organizations_show_in_three_days_is_nothing_of_a_model():
    for organization in organizations(2):
        put(organization, **answers(100))
    landscape = read_landscape(TODAY)
    assert landscape.outputs == {}
    assert landscape.health == {}


def test_jobs_that_look_at_one_organization_each_read_it_once_in_a_while(models):
    with time_machine.travel(datetime(2026, 11, 3, 9, tzinfo=UTC), tick=False) as clock:
        first = recent_landscape(TODAY)
        assert recent_landscape(TODAY) is first
        call_command("model", "add", "acme/new", "--provider", "acme", "--input-price", "1", "--output-price", "1")
        second = recent_landscape(TODAY)
        assert "acme/new" in second.models
        clock.shift(900)
        assert recent_landscape(TODAY) is not second


def test_health_is_the_last_days_against_those_before():
    for organization in organizations(6):
        for days_ago in (1, 2, 3):
            put(organization, days_ago=days_ago, requests=8, failed=2, passed_on=2, answered=6, log_ms=6 * 8.0)
        put(organization, days_ago=4, requests=50, failed=1, answered=49, log_ms=49 * 7.0)
    found = read_landscape(TODAY).health["acme/one"]
    assert (found.calls, found.failed, found.calls_before, found.failed_before) == (180, 72, 300, 6)
    assert (found.log_ms_mean, found.log_ms_before) == (pytest.approx(8.0), pytest.approx(7.0))
