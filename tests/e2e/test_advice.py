"""From the advisor's letter to a call that follows its advice, as a person and her mail scanner walk it."""

import email
import email.policy
import re
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Browser, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation
from tests.e2e.steps import ask, key_of, owner
from tests.fakes.client import chat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALICE = "alice@example.com"
NOW, ADVISED = "acme/large", "acme/mini"
DIGEST = f"""
from accounts.models import Membership
from dataclasses import replace
from routing.actions.pins import Pinner, do_set_pin
from tests.advisor.letters.delivering import CHEAPER, asked, built, made, week_now
from tests.people import Person
row = Membership.objects.get(user__email={ALICE!r})
person = Person({ALICE!r}, row.organization_id, row.pk, None)
built(week_now())
do_set_pin(Pinner(row.organization_id, {ALICE!r}), "writing", {NOW!r})
asked(person, week_now(), old_model={NOW!r}, new_model={ADVISED!r})
made(person, week_now(), [replace(CHEAPER, subject={NOW!r}, model={ADVISED!r})])
"""
ARTICLE = "A ledger is a book in which every payment is written down once, in order, and never changed. " * 20
STATE = """
from advisor.models import Advice, MailWishes, SampleChoice, Upgrade, UsedLink
from routing.selection.models import Pin
counts = [model.objects.count() for model in (Pin, UsedLink, MailWishes, SampleChoice)]
told = f"{counts} {[row.state for model in (Advice, Upgrade) for row in model.objects.all()]}"
"""


@pytest.fixture
def site(install: Install, add_static_files: AddStaticFiles) -> Installation:
    """A running installation with two models."""
    installation = install("sqlite")
    add_static_files(installation)
    for model in (NOW, ADVISED):
        installation.add_model(model, "draining", "ok", context=200_000)
    installation.start()
    return installation


@pytest.fixture
def people(site: Installation) -> Iterator[Browser]:
    """A browser on it."""
    with browser(site.url) as running:
        yield running


def letter(site: Installation) -> EmailMessage:
    """What the command sent to Alice."""
    (path,) = (site.folder / "data" / "mail").glob(f"*{ALICE}.eml")
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def links_in(message: EmailMessage) -> dict[str, str]:
    """The addresses of the letter, by what the person reads there."""
    html = message.get_body(("html",))
    assert html is not None
    found = re.findall(r'<a [^>]*href="([^"]+)"[^>]*>([^<]+)</a>', html.get_content())
    return {words: url.replace("&amp;", "&") for url, words in found}


def scan(url: str) -> None:
    """Look at an address, and only ask for it, as mail scanners do."""
    for method in ("GET", "HEAD", "GET"):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
                answer.read()
        except HTTPError as error:
            error.read()
            raise AssertionError(f"{method} {url}: {error.code}") from error


def test_a_letter_leads_to_a_pin_that_calls_follow(site: Installation, people: Browser):
    cookies = owner(site, ALICE)
    key = key_of(site, ALICE)
    site.manage("shell", "--no-imports", "-c", DIGEST)
    assert "1 letters sent" in site.manage("advisor", "run", "--org", ALICE)
    message = letter(site)
    links = links_in(message)
    assert ask(site, STATE) == "[1, 0, 0, 0] ['open', 'asked']"
    for url in {*links.values(), message["List-Unsubscribe"].strip("<>")}:
        scan(url)
    assert ask(site, STATE) == "[1, 0, 0, 0] ['open', 'asked']"

    with people.person(cookies=cookies) as alice:
        visit = alice.visit(links["Test side by side"])
        expect(visit.page.get_by_label("Prompt").first).to_have_value(re.compile("Sum this up in one sentence"))
        chosen = visit.page.locator("select").evaluate_all("all => all.map(one => one.value)")
        assert {NOW, ADVISED} <= set(chosen)
        visit.check()
    with people.person() as somebody:  # on another device, where nobody is logged in
        visit = somebody.visit(links["Accept"])
        visit.look(360, "dark")
        visit.check()
        visit.page.get_by_role("button", name="Accept").click()
        expect(visit.page.get_by_role("heading", level=1)).to_have_text(f"{ADVISED} answers from now on")
        visit.check()
        again = somebody.visit(links["Accept"], status=409)
        expect(again.page.get_by_text("was used before")).to_be_visible()
        again.check()
    assert ask(site, STATE) == "[2, 1, 0, 0] ['accepted', 'asked']"
    with people.person() as somebody:
        for link, button, heading in (
            ("Try it", "Try it", f"{ADVISED} is on trial"),
            ("Read more, and answer", "Keep typical prompts", "Typical prompts are kept from now on"),
        ):
            visit = somebody.visit(links[link])
            visit.look(360, "dark")
            visit.check()
            visit.page.get_by_role("button", name=button).click()
            expect(visit.page.get_by_role("heading", level=1)).to_have_text(heading)
            visit.check()
    assert ask(site, STATE) == "[2, 3, 0, 1] ['accepted', 'trial']"

    asked = [{"role": "user", "content": f"Summarize the following article in three bullet points:\n\n{ARTICLE}"}]
    answer = chat(site.url, key, model="neo-mode", messages=asked, taskHint="summarization")
    assert answer.json["x_komilion"]["task_type"] == "summarization", answer.json["x_komilion"]
    assert (answer.json["model"], answer.json["x_komilion"]["rule"]) == (ADVISED, "pinned")
    with people.person(cookies=cookies) as alice:
        page = alice.visit(f"/dashboard/usage/{answer.headers['x-request-id']}").page
        expect(page.get_by_text("The organization pinned this model for the task type.").first).to_be_visible()
