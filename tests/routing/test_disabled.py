"""What an operator takes out of service is off in a running gateway, and what it cost stays in the books."""

from tests.fakes.client import call
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, only_row
from tests.routing.failing import add_places
from tests.stand import Gateway

OK = Reply()


def test_a_disabled_provider_is_called_no_more_and_an_enabled_one_again(gateway: Gateway):
    places = add_places(gateway, OK, OK)
    gateway.manage("provider", "disable", places.providers[0])
    gateway.wait_for_catalog()
    assert places.ask().status == 200
    assert places.counts == [0, 1]
    gateway.manage("provider", "enable", places.providers[0])
    gateway.wait_for_catalog()
    assert places.ask().status == 200
    assert places.counts == [1, 1]


def test_a_disabled_model_is_in_no_list_and_its_callers_are_told(gateway: Gateway):
    places = add_places(gateway, OK)
    gateway.manage("model", "disable", places.model)
    gateway.wait_for_catalog()
    answer = places.ask()
    assert answer.status == 400
    assert answer.json["error"]["message"] == f"{places.model} is not served here at present."
    assert places.counts == [0]
    listed = call(gateway.url, "/v1/models", places.tenant.key).json["data"]
    assert places.model not in {model["id"] for model in listed}


def test_a_removed_model_leaves_its_calls_in_the_books(gateway: Gateway):
    places = add_places(gateway, OK)
    assert places.ask().status == 200
    charged = charge_of(places.calls(0)[0].billed)
    gateway.manage("provider", "remove", places.providers[0])
    gateway.wait_for_catalog()
    assert "There is no model" in places.ask().json["error"]["message"]
    row = only_row(places.tenant)
    assert (row.model, row.charge_nano) == (places.model, charged)
    assert_in_order(gateway, places.tenant, charged)
