"""What the wrapper around gateway and Django answers by itself."""

import pytest

from tests.fakes.client import call
from tests.stand import Gateway


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing"])
def test_an_unknown_address_under_v1_is_an_error_as_openai_writes_it(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing"])
def test_an_unknown_address_under_api_is_an_error_as_we_write_it(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, 404)


@pytest.mark.parametrize("path", ["/nothing", "/v1x", "/apis"])
def test_an_unknown_address_elsewhere_is_a_page(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
