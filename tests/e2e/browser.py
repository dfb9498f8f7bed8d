"""Debian's Chromium, driven by Playwright: opens a page as a person would see it, and judges what it finds.

`browser()` starts one; `Browser.person` is somebody in it with a width and a colour scheme; `Person.visit` opens a
page. `Visit.check` raises `BadPage` where the console has an error, the policy refused something, a request failed, the
page is wider than its window, or axe-core finds fault with it. Clicking and typing is Playwright's own `Visit.page`.

Playwright runs an event loop in the calling thread, so Django refuses to touch the database there: tests with a browser
talk to an installation of processes (`install` of conftest.py) and read its books by plain SQL or by `manage`.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, Request, Response, sync_playwright

type Scheme = Literal["light", "dark"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTHS = (360, 1_440)
HEIGHT = 1_000
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PATIENCE_MS = 10_000
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class BadPage(AssertionError):
    """A page has faults; the message names each."""


@dataclass
class Visit:
    """A page that is open, and what went wrong on it so far."""

    page: Page
    faults: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)  # faults that the test brings about itself, by what they contain

    def accessibility(self, without: str = "") -> list[str]:
        """What axe-core finds, one line for each rule and element; not in what the selector `without` names."""
        context = {"include": [["html"]], "exclude": [[without]] if without else []}
        options: dict[str, Any] = {"runOnly": RULES, "resultTypes": ["violations"]}
        if without:  # its <main> would be counted all the same
            options["rules"] = {f"landmark-{rule}": {"enabled": False} for rule in ("no-duplicate-main", "one-main")}
        if self.page.evaluate("() => typeof window.axe === 'undefined'"):
            self.page.evaluate(AXE_SCRIPT)
        # Only violations come over: what passes is a hundred times as much.
        violations = self.page.evaluate(
            "([context, options]) => axe.run(context, options).then(found => found.violations)",
            [context, options],
        )
        return [
            f"axe {violation['id']}: {violation['help']}: {node['target']} {node['html'][:200]}"
            for violation in violations
            for node in violation["nodes"]
        ]

    def overflow(self) -> list[str]:
        """Whether the page, or a table that becomes cards, is wider than its place, and what makes it so."""
        script = """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll("body *")]
                .filter(e => e.getBoundingClientRect().right > width + 1 && !e.closest(".table-scroll, pre"))
                .slice(0, 5).map(e => `${e.tagName}.${e.className}`);
        }"""
        cut = """() => [...document.querySelectorAll(".table-scroll:has(> .table--cards)")]
            .filter(e => e.clientWidth < 640 && e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"""
        faults = [f"wider than the window: {name}" for name in self.page.evaluate(script)]
        return faults + [f"cards that are cut: {name}" for name in self.page.evaluate(cut)]

    def check(self, without: str = "") -> None:
        """Raise `BadPage` with everything that is wrong with the page as it is now.

        axe-core does not look at what `without` selects: a part that is not ours.
        """
        faults = [fault for fault in self.faults if not any(part in fault for part in self.expected)]
        faults += [*self.overflow(), *self.accessibility(without)]
        if faults:
            raise BadPage(f"{self.page.url}\n  " + "\n  ".join(faults))

    def look(self, width: int, scheme: Scheme) -> None:
        """Have the window another width and the page another colour scheme."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    def screenshot(self, path: Path, *, whole: bool = True) -> Path:
        """A picture of the page, of all of it or of what the window shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path


class Person:
    """A browser of her own: cookies, a width, a colour scheme, with or without JavaScript."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self._context = context
        self._base_url = base_url

    def visit(self, path: str = "/", *, status: int = 200) -> Visit:
        """Open a page and wait until all that it names is there; a whole address may be another's. Raises `BadPage`."""
        visit = Visit(self._context.new_page())
        visit.page.set_default_timeout(PATIENCE_MS)
        _watch(visit)
        if status >= 400:
            visit.expected.add(f"status of {status}")
        answer = visit.page.goto(urljoin(self._base_url, path), wait_until="load")
        if answer is None or answer.status != status:
            raise BadPage(f"{path}: status {answer.status if answer else None} instead of {status}")
        return visit

    def cookies(self) -> list[dict[str, Any]]:
        """Her cookies, for `Browser.person`."""
        return [dict(cookie) for cookie in self._context.cookies()]

    def leave(self) -> None:
        """Close her browser."""
        self._context.close()


class Browser:
    """One Chromium; everybody in it is a stranger to the others."""

    def __init__(self, chromium: Chromium, base_url: str) -> None:
        self._chromium = chromium
        self.base_url = base_url

    @contextmanager
    def person(
        self,
        *,
        width: int = WIDTHS[-1],
        scheme: Scheme = "light",
        scripts: bool = True,
        cookies: list[dict[str, Any]] | None = None,
    ) -> Iterator[Person]:
        """Somebody who visits; `cookies` are those of somebody who logged in before (`Person.cookies`)."""
        context = self._chromium.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
            locale="en-GB",
        )
        if cookies:
            context.add_cookies(cookies)  # type: ignore[arg-type]
        person = Person(context, self.base_url)
        try:
            yield person
        finally:
            person.leave()


def program() -> str:
    """Where Chromium lies. Skips the test where there is none, fails it where `CI` is set."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    if os.environ.get("CI"):
        pytest.fail("CI must test the pages: there is no chromium on the PATH")
    pytest.skip("needs chromium")


@contextmanager
def browser(
    base_url: str, playwright: Playwright | None = None, *, arguments: tuple[str, ...] = ()
) -> Iterator[Browser]:
    """A Chromium whose people visit the installation at `base_url`; `arguments` are more of its own."""
    if playwright is None:
        with sync_playwright() as started, browser(base_url, started, arguments=arguments) as running:
            yield running
        return
    chromium = playwright.chromium.launch(executable_path=program(), args=[*ARGUMENTS, *arguments], headless=True)
    try:
        yield Browser(chromium, base_url)
    finally:
        chromium.close()


def _watch(visit: Visit) -> None:
    """Collect what a page complains of. A refusal of the content security policy is an error of the console."""

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            visit.faults.append(f"console {message.type}: {message.text}")

    def failed(request: Request) -> None:
        if not re.search(r"ERR_ABORTED", request.failure or ""):
            visit.faults.append(f"request failed: {request.url} {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            visit.faults.append(f"status of {response.status}: {response.url}")

    visit.page.on("console", said)
    visit.page.on("pageerror", lambda error: visit.faults.append(f"script error: {error}"))
    visit.page.on("requestfailed", failed)
    visit.page.on("response", answered)
