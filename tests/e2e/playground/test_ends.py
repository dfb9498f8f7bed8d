"""Runs that do not end well: stopped, failed, never begun, without money, with a token that ended."""

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Browser, Person
from tests.e2e.playground.steps import ASK, add_tricky, column, rows_of, run, run_to_the_end
from tests.e2e.server import Installation
from tests.e2e.steps import owner
from tests.fakes.replies import Reply, ToolCall
from tests.fakes.upstream import Upstream
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_stopping_stops_the_provider_and_keeps_what_came(
    site: Installation, alice: Person, address: str, tricky: Upstream
):
    endless = add_tricky(site, tricky, Reply(frames=4_000, between_frames_s=0.02), "tricky/endless")
    visit = alice.visit(f"/playground?models={endless},{endless}&prompt=hello")
    page = visit.page
    run(page)
    expect(column(page, 2).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
    visit.check()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. What came until then may be charged")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
    wait_until(lambda: [row[1] for row in rows_of(site, address)] == ["client_left"] * 2, 10, "both to be settled")
    expect(column(page, 1).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
    visit.check()


def test_one_that_fails_says_why_beside_the_others(site: Installation, alice: Person, tricky: Upstream):
    failing = add_tricky(site, tricky, Reply(status=500), "tricky/failing")
    tools = add_tricky(site, tricky, Reply(tool_calls=(ToolCall("look", '{"at": "<b>"}'),)), "tricky/tools")
    visit = alice.visit(f"/playground?models={failing},{tools},acme/mini&prompt=hello")
    run(visit.page)
    expect(visit.page.get_by_text("1 of 3 failed")).to_be_visible()
    failed = column(visit.page, 1)
    expect(failed.locator("[data-part=error]")).to_be_visible()
    expect(failed).to_contain_text("Run it again in a moment, or choose another model.")
    expect(failed.get_by_role("button", name="Good")).to_be_hidden()
    failed.get_by_role("link", name="Details").click()
    expect(visit.page.get_by_role("heading", name="What it cost")).to_be_visible()
    visit.page.go_back()
    run(visit.page, first=False)
    expect(visit.page.get_by_text("1 of 3 failed")).to_be_visible()
    expect(column(visit.page, 2).locator("[data-part=tools]")).to_have_text('look({"at": "<b>"})')
    visit.check()


def test_one_that_was_never_begun_says_what_to_do(alice: Person):
    visit = alice.visit("/playground?models=acme/gone,acme/mini&prompt=hello")
    run(visit.page)
    expect(column(visit.page, 1)).to_contain_text("Choose another model. This call was not begun and costs nothing.")
    expect(column(visit.page, 1).get_by_role("link", name="Details")).to_be_hidden()
    visit.check()


def test_an_empty_wallet_is_said_once(people: Browser, site: Installation):
    with people.person(cookies=owner(site, "charlie@example.com", credit="0")) as person:
        visit = person.visit("/playground?models=acme/large,acme/mini&prompt=hello")
        visit.expected.add("status of 402")
        run(visit.page)
        expect(visit.page.get_by_role("alert").filter(has_text="Top it up")).to_be_visible()
        visit.check()


def test_a_new_token_is_fetched_where_the_old_one_ended(site: Installation, alice: Person, address: str):
    visit = alice.visit(ASK)
    visit.expected.add("status of 401")
    run_to_the_end(visit.page)
    routing = alice.visit("/dashboard/routing").page
    routing.get_by_role("button", name="Pin", exact=True).click()
    expect(routing.get_by_text("from now on")).to_be_visible()
    run_to_the_end(visit.page, first=False)
    assert len(rows_of(site, address)) == 6
