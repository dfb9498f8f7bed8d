"""Runs: the models are asked, their answers judged, pinned and shared."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import SCHEMES, WIDTHS, Browser, Person
from tests.e2e.playground.steps import ASK, MODELS, column, requests_of, rows_of, run_to_the_end
from tests.e2e.server import Installation
from tests.e2e.steps import invite, link_in_mail, make_key, owner, sign_up
from tests.fakes.client import chat
from tests.fakes.journal import Call
from tests.fakes.replies import Reply
from tests.fakes.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_three_models_are_asked_judged_and_pinned(site: Installation, alice: Person, address: str):
    visit = alice.visit(ASK)
    page = visit.page
    run_to_the_end(page)
    for place in (1, 2, 3):
        expect(column(page, place).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
        expect(column(page, place).locator("[data-figure=cost]")).to_contain_text("$0.00")
        expect(column(page, place).locator("[data-figure=first]")).to_contain_text("ms")
    expect(column(page, 3).locator("[data-figure=speed]")).to_contain_text("tokens/s")
    expect(column(page, 2).locator("[data-figure=speed]")).to_have_text("-")  # five tokens are no measure
    page.get_by_text("Show how two answers differ").click()
    expect(page.locator("#difference-text del")).to_have_count(1)
    column(page, 1).get_by_role("button", name="Bad").click()
    expect(column(page, 1)).to_contain_text("Noted, thank you.")
    winner = column(page, 2)
    winner.get_by_role("button", name="Good").click()
    expect(winner.get_by_role("button", name="Good")).to_have_attribute("aria-pressed", "true")
    winner.get_by_text("Pin", exact=True).click()
    winner.get_by_role("button", name="Pin it").click()
    expect(winner).to_contain_text("acme/mini answers “code-generation” from now on.")
    column(page, 3).get_by_role("button", name="Good").click()
    expect(column(page, 3)).to_contain_text("Noted, thank you.")
    for scheme in SCHEMES:
        for width in WIDTHS:
            visit.look(width, scheme)
            visit.check()
    rows = rows_of(site, address)
    expected = {(model, "completed", None, "Playground", "") for model in MODELS}
    assert set(rows) == expected, "the address of the page holds the prompt, so it must not be kept"
    routing = alice.visit("/dashboard/routing").page
    expect(routing.get_by_role("row", name="code-generation")).to_contain_text("acme/mini")


def test_a_pinned_model_answers_the_policy_and_the_receipt_says_so(site: Installation, alice: Person):
    page = alice.visit("/dashboard/routing").page
    page.get_by_label("Task type").select_option("code-generation")
    page.get_by_label("Model", exact=True).select_option("acme/mini")
    page.get_by_role("button", name="Pin", exact=True).click()
    expect(page.get_by_role("button", name="Remove the pin of code-generation")).to_be_visible()
    key = make_key(site, page, cap="1.00")
    prompt = "Write a Python function that sorts a list"  # a hint alone is no order: the prompt must agree
    asked = {
        "messages": [{"role": "user", "content": prompt}],
        "taskHint": "coding",
        "x_komilion": {"explain": True},
    }
    answer = chat(site.url, key, model="neo-mode", **asked)
    assert answer.status == 200, answer.body
    assert (answer.json["model"], answer.json["x_komilion"]["rule"]) == ("acme/mini", "pinned")
    query = f"models=neo-mode,acme/large&task=coding&prompt={prompt.replace(' ', '+')}"
    visit = alice.visit(f"/playground?{query}")
    run_to_the_end(visit.page)
    first = column(visit.page, 1)
    expect(first).to_contain_text("answered by acme/mini")
    first.get_by_text("Why this model").click()
    expect(first.locator("[data-part=receipt]")).to_contain_text("pinned")
    visit.check()
    visit.page.get_by_role("button", name="Share").click()
    link = visit.page.get_by_role("link", name="/playground/shares/")
    again = alice.visit(link.inner_text().removeprefix(site.url))
    shared = column(again.page, 1)
    shared.get_by_text("Why this model").click()
    expect(shared.locator("[data-part=receipt]")).to_contain_text("pinned")
    again.check()


def test_a_link_never_starts_a_run_and_the_first_one_asks(
    alice: Person, calls: Callable[[], list[Call]], site: Installation
):
    visit = alice.visit(ASK)
    asked = requests_of(visit)
    page = visit.page
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("What is quantum computing?")
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="This costs money")
    expect(dialog).to_contain_text("3 models")
    expect(dialog).to_contain_text("$1")  # what the wallet has
    visit.check()
    dialog.get_by_role("button", name="Not now").click()
    assert calls() == []
    assert [url for url in asked if "/static/" not in url] == []  # its icon may come late
    run_to_the_end(page)
    assert len(calls()) == 3
    run_to_the_end(page, first=False)
    assert [url for url in asked if url.endswith("/playground/token")] == [f"{site.url}/playground/token"]


def test_what_was_changed_in_a_call_is_said(site: Installation, alice: Person, tricky: Upstream):
    plain = site.add_model("tricky/plain", "tricky", tricky.script("plain", Reply()), capabilities="no_sampling")
    visit = alice.visit(f"/playground?models={plain},acme/mini&prompt=hello")
    page = visit.page
    page.get_by_text("System prompt, pictures").click()
    page.get_by_label("Temperature").fill("0.5")
    run_to_the_end(page)
    said = "temperature was left out: this model does not take it."
    expect(column(page, 1).get_by_role("list", name="What was changed")).to_have_text(said)
    expect(column(page, 2).get_by_role("list", name="What was changed")).to_be_hidden()
    for width in WIDTHS:
        visit.look(width, "dark")
        visit.check()


def test_a_run_is_opened_again_by_members_and_by_nobody_else(
    site: Installation, alice: Person, people: Browser, address: str
):
    page = alice.visit(ASK).page
    run_to_the_end(page)
    page.get_by_role("button", name="Share").click()
    link = page.get_by_role("link", name="/playground/shares/")
    expect(link).to_be_focused()
    path = link.inner_text().removeprefix(site.url)
    bob_s = f"bob-of-{address}"
    with people.person() as bob:
        theirs = sign_up(site, bob, bob_s)
        invite(site, alice.visit("/dashboard/members").page, bob_s, "viewer")
        theirs.goto(site.url + link_in_mail(site, bob_s))
        theirs.get_by_role("button", name="Accept").click()
        opened = bob.visit(path)
        expect(opened.page.get_by_text(f"Shared by {address}")).to_be_visible()
        expect(column(opened.page, 3).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
        expect(opened.page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
        opened.check()
        with people.person(scripts=False, cookies=bob.cookies()) as without:
            plain = without.visit(path)
            expect(plain.page.get_by_text("This page needs JavaScript")).to_be_visible()
            expect(plain.page.get_by_text("Quantum computing uses").first).to_be_visible()
    with people.person(cookies=owner(site, f"charlie-of-{address}")) as charlie:
        charlie.visit(path, status=404)
    shares = alice.visit("/playground/shares").page
    shares.locator("summary", has_text="Stop sharing").click()
    shares.get_by_role("button", name="Stop sharing").click()
    expect(shares.get_by_text("It is not shared any more.")).to_be_visible()
    alice.visit(path, status=404)
