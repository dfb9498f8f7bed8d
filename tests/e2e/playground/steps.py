"""What the tests of the playground do on its page and read of its books."""

import sqlite3
from contextlib import closing

from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Visit
from tests.e2e.server import Installation
from tests.fakes.replies import Reply
from tests.fakes.upstream import Upstream

MODELS = ["acme/large", "acme/mini", "acme/slow"]
ASK = f"/playground?models={','.join(MODELS)}&prompt=What+is+quantum+computing%3F&task=coding"


def add_tricky(site: Installation, tricky: Upstream, reply: Reply, name: str) -> str:
    return site.add_model(name, "tricky", tricky.script(name.partition("/")[2], reply), capabilities="tools")


def run(page: Page, *, first: bool = True) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    if first:
        page.get_by_role("dialog", name="This costs money").get_by_role("button", name="Run").click()


def run_to_the_end(page: Page, *, first: bool = True) -> None:
    run(page, first=first)
    expect(page.get_by_text("Done. This run cost")).to_be_visible()


def column(page: Page, place: int) -> Locator:
    return page.get_by_role("article", name=f"Model {place}")


def requests_of(visit: Visit) -> list[str]:
    """Every address that the page asks from now on."""
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    return asked


def rows_of(site: Installation, address: str) -> list[tuple[str, ...]]:
    """The usage rows of somebody's organization."""
    with closing(sqlite3.connect(site.folder / "komilion.sqlite3", timeout=20)) as database:
        return database.execute(
            "SELECT model, outcome, key_id, app_title, app_url FROM billing_usagerow WHERE organization_id = ("
            "SELECT organization_id FROM accounts_membership JOIN accounts_user AS person ON person.id = user_id"
            " WHERE email = ?) ORDER BY created_at",
            [address],
        ).fetchall()
