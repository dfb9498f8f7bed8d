"""A page that fails says so and no more: what a request cost is in the ledger, which this page has not read."""

from typing import Any

import pytest

from tests.people import Person


def test_the_page_of_an_error_claims_nothing_about_money(alice: Person, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("komilion.web.dashboard.usage.access_call", fail)
    alice.browser.raise_request_exception = False
    answer = alice.browser.get("/dashboard/usage/req_1")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.content.decode()
    assert "charged" not in answer.content.decode()
