"""Every page in a real browser: narrow and wide, light and dark, with nothing for axe-core to find."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.urls import resolve
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from tests.e2e.browser import SCHEMES, WIDTHS, BadPage, Browser, Person, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.page_steps import ALICE, NORA, ZOE
from tests.e2e.server import Installation
from tests.e2e.site_pages import SITE_PAGES, WHO, SitePage, Who
from tests.e2e.steps import MEETING, invite, make_key, make_letter, make_meeting, sign_up, top_up
from tests.fakes.client import chat
from tests.fakes.stripe import running_fake_stripe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODEL = "acme/large"


@pytest.fixture
def site(install: Install, add_static_files: AddStaticFiles) -> Installation:
    """A running installation with some models, its static files under the names that a start gives them."""
    installation = install("sqlite")
    installation.environment["TEST_PAYMENTS"] = "1"
    add_static_files(installation)
    installation.add_model(MODEL, "draining", "ok", context=200_000)
    installation.add_model("acme/mini", "draining", "ok", context=128_000, capabilities="tools")
    installation.start()
    return installation


@pytest.fixture(scope="module")
def url(gateway_url: str) -> str:
    """The server of this process, with two models of one vendor."""
    call_command("provider", "add", "pages", "--base-url", "https://api.pages.example/v1", stdout=StringIO())
    for name in ("pages/large", "pages/mini"):
        prices = ("--input-price", "3.00", "--output-price", "15.00")
        call_command("model", "add", name, "--provider", "pages", *prices, stdout=StringIO())
    return gateway_url


@pytest.fixture
def people(url: str) -> Iterator[Browser]:
    """A browser on it."""
    with browser(url) as running:
        yield running


@pytest.mark.timeout(1_200)  # a hundred pages, four looks at each
def test_no_page_has_a_fault_at_any_width_in_any_scheme(site: Installation):
    """Each page is loaded once and looked at in every width and scheme."""
    faults: list[BadPage] = []
    with browser(site.url) as people:
        cookies, names = _prepare(site, people)
        for who in WHO:
            pages = [page for page in SITE_PAGES if page.who == who]
            with _circumstances(who, site) as here, people.person(cookies=cookies.get(who)) as person:
                for page in pages:
                    faults += _faults(here, person, page, names)
    assert not faults, "\n".join(map(str, faults))


def _faults(site: Installation, person: Person, page: SitePage, names: dict[str, str]) -> Iterator[BadPage]:
    try:
        visit = person.visit(site.url + page.path.format(**names), status=page.status)
        visit.expected |= set(page.expects)
        if page.then is not None:
            visit.expected |= {f"status of {page.then_status}"} if page.then_status >= 400 else set()
            page.then(site, visit.page)
            visit.page.wait_for_url(lambda url: resolve(urlsplit(url).path).view_name == page.lands)
    except (AssertionError, PlaywrightError) as fault:
        yield BadPage(f"{page.who}, {page.path}: {fault}")
        return
    for scheme in SCHEMES:
        for width in WIDTHS:
            visit.look(width, scheme)
            try:
                visit.check(without=page.without)
            except BadPage as fault:
                yield BadPage(f"{page.who}, {width} px, {scheme}: {fault}")
    visit.page.close()


@contextmanager
def _circumstances(who: Who, site: Installation) -> Iterator[Installation]:
    """The server that somebody of this kind comes to."""
    if who == "customer":
        with running_fake_stripe() as stripe, _with_stripe(site, stripe.url) as other:
            yield other
    elif who == "unlucky":
        with closing(sqlite3.connect(site.folder / "komilion.sqlite3", timeout=20)) as database:
            database.execute("UPDATE billing_usagerow SET usage = '[]'")
            database.commit()
        yield site
    else:
        yield site


@contextmanager
def _with_stripe(site: Installation, stripe_url: str) -> Iterator[Installation]:
    """Another server for the same people, where money is paid at Stripe."""
    folder = site.folder / "stripe"
    folder.mkdir()
    other = Installation(folder, database_url=site.database_url, valkey_url=site.environment["REDIS_URL"])
    other.environment |= {
        "DATA_DIR": site.environment["DATA_DIR"],
        "STRIPE_SECRET_KEY": "sk_test_of_the_pages_0123456789",
        "STRIPE_WEBHOOK_SECRETS": "whsec_of_the_pages_0123456789",
        "STRIPE_API_BASE": stripe_url,
    }
    try:
        other.start()
        yield other
    finally:
        other.close()


def _prepare(site: Installation, people: Browser) -> tuple[dict[Who, Any], dict[str, str]]:
    """Alice has a history and invites Nora, who signed up, and Zoe: who has which cookies, what stands in the paths."""
    with people.person() as person:
        page = sign_up(site, person, ALICE)
        top_up(site, page)
        order = page.url.rsplit("/", 1)[1]
        page.get_by_role("link", name="Receipt").click()
        payment = page.url.rsplit("/", 1)[1]
        key = make_key(site, page, cap="1.00")
        for _ in range(3):
            answer = chat(site.url, key, model=MODEL, max_tokens=20)
        assert answer.status == 200, answer.body
        with people.person() as another:
            sign_up(site, another, NORA)
            newcomer = another.cookies()
        for address in (NORA, ZOE):
            invite(site, page, address, "viewer")
        owner = person.cookies()
    make_meeting(site, ALICE)
    names = {"model": MODEL, "payment": payment, "order": order, "request": answer.json["id"], "key": "1"}
    names |= {"meeting": MEETING, **make_letter(site, ALICE)}
    return {"newcomer": newcomer, "owner": owner, "customer": owner, "unlucky": owner}, names


def test_the_search_works_with_and_without_scripts(people: Browser):
    for scripts in (True, False):
        with people.person(scripts=scripts) as person:
            visit = person.visit("/models?vendor=pages")
            rows = visit.page.locator("#found tbody tr")
            assert rows.count() == 2
            visit.page.get_by_label("Search").fill("mini")
            if not scripts:
                visit.page.get_by_role("button", name="Show").click()
            visit.page.wait_for_url("**q=mini**")
            expect(rows).to_have_count(1)
            assert visit.faults == []


def test_tabs_follow_each_other_and_work_without_scripts(people: Browser):
    for scripts in (True, False):
        with people.person(scripts=scripts) as person:
            visit = person.visit("/docs/chat")
            visit.page.get_by_text("Python", exact=True).first.click()
            assert visit.page.get_by_text("from openai import OpenAI").first.is_visible()
            shown = visit.page.locator(".tabs__panel:visible").all_inner_texts()
            assert sum("import os" in text for text in shown) == (len(shown) if scripts else 1)


def test_a_chosen_scheme_is_there_before_the_first_paint_and_stays(people: Browser):
    with people.person(scheme="light") as person:
        visit = person.visit("/")
        switch = visit.page.get_by_role("button", name="Colours")
        grounds = [visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")]
        for _ in range(2):  # light, then dark
            switch.click()
            grounds.append(visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        assert grounds[0] == grounds[1] != grounds[2]
        again = person.visit("/pricing")
        assert again.page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert again.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == grounds[2]


def test_nothing_moves_while_a_page_loads(people: Browser):
    script = """() => new Promise(done => {
        let sum = 0;
        new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; })
            .observe({type: "layout-shift", buffered: true});
        setTimeout(() => done(sum), 200);
    })"""
    with people.person(width=360) as person:
        for path in ("/", "/models", "/pricing", "/docs/chat"):
            assert person.visit(path).page.evaluate(script) == 0, path
