"""From the landing page to the last cent, as a person walks it in a browser, with JavaScript and without.

Nothing here looks inside: mails are read as files, money by the statement's download and by `manage.py`.
"""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Browser, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation
from tests.e2e.steps import PASSWORD, make_key, sign_up, top_up
from tests.fakes.client import Answer, chat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MODEL = "acme/large"
CAP = "0.004"  # a handful of calls


@pytest.fixture
def site(install: Install, add_static_files: AddStaticFiles) -> Installation:
    """A running installation where test money pays."""
    installation = install("sqlite")
    installation.environment["TEST_PAYMENTS"] = "1"
    add_static_files(installation)
    installation.add_model(MODEL, "draining", "ok", context=200_000)
    installation.start()
    return installation


@pytest.fixture
def people(site: Installation) -> Iterator[Browser]:
    """A browser on it."""
    with browser(site.url) as running:
        yield running


def statement_of(site: Installation, page: Page) -> list[dict[str, str]]:
    """The statement's rows as it is downloaded."""
    page.goto(f"{site.url}/dashboard/wallet/statement")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    return list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))


def call_until_refused(site: Installation, key: str) -> tuple[list[Decimal], Answer]:
    """What each call cost, and the refusal."""
    costs = []
    for _ in range(100):
        answer = chat(site.url, key, model=MODEL, max_tokens=200)
        if answer.status != 200:
            return costs, answer
        costs.append(Decimal(answer.headers["x-komilion-cost"]))
    raise AssertionError("the cap was never reached")


def test_from_sign_up_to_the_statement(site: Installation, people: Browser):
    address = "alice@example.com"
    with people.person() as person:
        page = sign_up(site, person, address)
        assert site.wallet(address)["promo"] == Decimal("5.00")
        expect(page.get_by_text("Waiting for your first request.")).to_be_visible()

        top_up(site, page)
        assert site.wallet(address)["paid"] == Decimal("10.00")

        key = make_key(site, page, cap=CAP)
        page.goto(f"{site.url}/dashboard")
        expect(page.get_by_text("Waiting for your first request.")).to_be_visible()
        first = chat(site.url, key, model=MODEL, max_tokens=200)
        assert first.status == 200, first.body
        expect(page.get_by_role("link", name=MODEL).first).to_be_visible()  # the page looks by itself

        costs, refusal = call_until_refused(site, key)
        costs.append(Decimal(first.headers["x-komilion-cost"]))
        assert refusal.status == 402
        assert refusal.json["error"]["reason"] == "key_cap_reached"
        assert CAP in refusal.json["error"]["message"]
        assert sum(costs) <= Decimal(CAP)

        page.goto(f"{site.url}/dashboard/wallet/statement")
        expect(page.get_by_role("row").filter(has_text="Top-up")).to_have_count(1)
        rows = statement_of(site, page)
        calls = [Decimal(row["out_usd"]) for row in rows if row["kind"] == "settle"]
        assert sorted(calls) == sorted(costs)
        wallet = site.wallet(address)
        assert Decimal(rows[-1]["balance_usd"]) == wallet["paid"] + wallet["promo"] - wallet["debt"]
        assert wallet["paid"] + wallet["promo"] == Decimal("15.00") - sum(costs)
        site.manage("ledger", "verify")


def test_everything_that_matters_works_without_scripts(site: Installation, people: Browser):
    address = "bob@example.com"
    with people.person(scripts=False, width=360) as person:
        page = sign_up(site, person, address)
        top_up(site, page)
        assert site.wallet(address)["paid"] == Decimal("10.00")
        key = make_key(site, page, cap=CAP)
        assert chat(site.url, key, model=MODEL, max_tokens=20).status == 200
        page.goto(f"{site.url}/dashboard")
        expect(page.get_by_role("link", name=MODEL).first).to_be_visible()
    with people.person(scripts=False, width=360) as person:
        page = person.visit("/auth/login/").page
        page.get_by_label("Email").fill(address)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/dashboard**")
        page.goto(f"{site.url}/dashboard/keys")
        expect(page.get_by_text("the first one").first).to_be_visible()
