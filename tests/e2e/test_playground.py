"""The playground in a real browser: runs, votes, pins, shares; and answers that try everything to be more than text."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import SCHEMES, WIDTHS, Browser, Person, Visit, browser
from tests.e2e.conftest import Install
from tests.e2e.server import Installation, UpstreamProcess
from tests.e2e.steps import invite, link_in_mail, make_key, sign_up, top_up
from tests.fakes.client import call, chat
from tests.fakes.replies import Reply, ToolCall
from tests.fakes.upstream import Upstream
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ALICE, BOB, CHARLIE = "alice@example.com", "bob@example.com", "charlie@example.com"
MODELS = ["acme/large", "acme/mini", "acme/slow"]
ASK = f"/playground?models={','.join(MODELS)}&prompt=What+is+quantum+computing%3F&task=coding"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860180345a2b3e0000000049454e44ae426082"
)


@pytest.fixture
def tricky() -> Iterator[Upstream]:
    """An upstream in this process, which answers what a test writes."""
    with Upstream() as running:
        yield running


@pytest.fixture
def site(install: Install, tricky: Upstream) -> Installation:
    """A running installation with three models."""
    installation = install("sqlite")
    installation.environment |= {"TEST_PAYMENTS": "1", "TRIAL_CREDIT": "0"}
    installation.manage("collectstatic", "--no-input", "--verbosity", "0")
    installation.add_provider("tricky", tricky.url, "--cancel-stops-billing")
    for model, script in zip(MODELS, ("ok", "ok,frames=5", "drip,gap=0.02,frames=40"), strict=True):
        installation.add_model(model, "draining", script, capabilities="tools,vision,json_schema")
    installation.start()
    return installation


@pytest.fixture
def people(site: Installation) -> Iterator[Browser]:
    with browser(site.url) as running:
        yield running


@pytest.fixture
def alice(site: Installation, people: Browser) -> Iterator[Person]:
    """The owner, with money."""
    with people.person() as person:
        top_up(site, sign_up(site, person, ALICE))
        yield person


def add_tricky(site: Installation, tricky: Upstream, reply: Reply, name: str) -> str:
    return site.add_model(name, "tricky", tricky.script(name.partition("/")[2], reply), capabilities="tools")


def run(page: Page, *, first: bool = True) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    if first:
        page.get_by_role("dialog", name="This costs money").get_by_role("button", name="Run").click()


def run_to_the_end(page: Page, *, first: bool = True) -> None:
    run(page, first=first)
    expect(page.get_by_text("Done. This run cost")).to_be_visible()


def column(page: Page, place: int) -> Any:
    return page.get_by_role("article", name=f"Model {place}")


def requests_of(visit: Visit) -> list[str]:
    """Every address that the page asks from now on."""
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    return asked


def rows_of(site: Installation) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(site.folder / "komilion.sqlite3", timeout=20)) as database:
        return database.execute(
            "SELECT model, outcome, key_id, app_title, app_url FROM billing_usagerow ORDER BY created_at"
        ).fetchall()


class TestRun:
    def test_three_models_are_asked_judged_and_pinned(self, site: Installation, alice: Person):
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
        rows = rows_of(site)
        expected = {(model, "completed", None, "Playground", "") for model in MODELS}
        assert set(rows) == expected, "the address of the page holds the prompt, so it must not be kept"
        routing = alice.visit("/dashboard/routing").page
        expect(routing.get_by_role("row", name="code-generation")).to_contain_text("acme/mini")

    def test_a_pinned_model_answers_the_policy_and_the_receipt_says_so(self, site: Installation, alice: Person):
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
        self, alice: Person, upstream: UpstreamProcess, site: Installation
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
        assert upstream.calls() == []
        assert [url for url in asked if "/static/" not in url] == []  # its icon may come late
        run_to_the_end(page)
        assert len(upstream.calls()) == 3
        run_to_the_end(page, first=False)
        assert [url for url in asked if url.endswith("/playground/token")] == [f"{site.url}/playground/token"]

    def test_what_is_filled_in_reaches_the_models(self, alice: Person, upstream: UpstreamProcess):
        page = alice.visit("/playground?models=acme/large,acme/mini&prompt=Look").page
        page.get_by_text("System prompt, pictures").click()
        page.get_by_label("System prompt").fill("Be brief.")
        page.get_by_label("Temperature").fill("0.5")
        page.get_by_label("Most output tokens").fill("77")
        page.get_by_label("Top p").fill("0.9")
        page.get_by_label("Tools, as JSON").fill('[{"type": "function", "function": {"name": "f"}}]')
        page.get_by_label("JSON schema of the answer").fill('{"type": "object"}')
        page.locator("#pictures").set_input_files({"name": "p.png", "mimeType": "image/png", "buffer": PIXEL})
        expect(page.get_by_role("button", name="Remove p.png")).to_be_visible()
        page.get_by_label("Prompt", exact=True).press("Control+Enter")
        page.get_by_role("dialog").get_by_role("button", name="Run").click()
        expect(page.get_by_text("Done. This run cost")).to_be_visible()
        for seen in upstream.calls():
            body = seen.body
            assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
            assert body.get("max_tokens") or body.get("max_completion_tokens") == 77
            assert body["messages"][0] == {"role": "system", "content": "Be brief."}
            kinds = [part["type"] for part in body["messages"][1]["content"]]
            assert kinds == ["text", "image_url"]
            assert body["tools"][0]["function"]["name"] == "f"
            assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}

    @pytest.mark.parametrize(
        ("label", "text", "said"),
        [
            ("Tools, as JSON", "[{", "This is no JSON"),
            ("Tools, as JSON", '{"name": "f"}', "Tools are a list"),
            ("Tools, as JSON", '[{"type": "function"}]', "Tool 1 needs"),
            ("JSON schema of the answer", "[]", "A JSON schema is an object"),
            ("Temperature", "hot", "Write a number from 0 to 2"),
            ("Most output tokens", "1.5", "Write a whole number"),
        ],
    )
    def test_what_is_wrong_is_said_beside_its_field(self, alice: Person, label: str, text: str, said: str):
        visit = alice.visit("/playground?prompt=hello")
        page = visit.page
        page.get_by_text("System prompt, pictures").click()
        field = page.get_by_label(label)
        field.fill(text)
        page.get_by_text("System prompt, pictures").click()  # closed again: it must open by itself
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_text(said)).to_be_visible()
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        visit.check()

    def test_pictures_have_limits(self, alice: Person):
        page = alice.visit("/playground?prompt=hello").page
        page.get_by_text("System prompt, pictures").click()
        field = page.locator("#pictures")
        field.set_input_files({"name": "p.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"})
        expect(page.get_by_text("p.svg is no PNG")).to_be_visible()
        field.set_input_files({"name": "text.png", "mimeType": "image/png", "buffer": b"only words"})
        expect(page.get_by_text("text.png is no PNG")).to_be_visible()
        field.set_input_files({"name": "nothing.png", "mimeType": "image/png", "buffer": b""})
        expect(page.get_by_text("nothing.png is no PNG")).to_be_visible()
        field.set_input_files({"name": "big.png", "mimeType": "image/png", "buffer": PIXEL + b"0" * 3_000_000})
        expect(page.get_by_text("big.png is too much")).to_be_visible()
        expect(page.locator(".picture")).to_have_count(0)

    def test_stopping_stops_the_provider_and_keeps_what_came(self, site: Installation, alice: Person, tricky: Upstream):
        endless = add_tricky(site, tricky, Reply(frames=4_000, between_frames_s=0.02), "tricky/endless")
        visit = alice.visit(f"/playground?models={endless},{endless}&prompt=hello")
        page = visit.page
        run(page)
        expect(column(page, 2).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
        visit.check()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped. What came until then may be charged")).to_be_visible()
        expect(page.get_by_role("button", name="Run", exact=True)).to_be_focused()
        wait_until(lambda: [row[1] for row in rows_of(site)] == ["client_left"] * 2, 10, "both to be settled")
        expect(column(page, 1).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
        visit.check()

    def test_one_that_fails_says_why_beside_the_others(self, site: Installation, alice: Person, tricky: Upstream):
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

    def test_one_that_was_never_begun_says_what_to_do(self, alice: Person):
        visit = alice.visit("/playground?models=acme/gone,acme/mini&prompt=hello")
        run(visit.page)
        expect(column(visit.page, 1)).to_contain_text(
            "Choose another model. This call was not begun and costs nothing."
        )
        expect(column(visit.page, 1).get_by_role("link", name="Details")).to_be_hidden()
        visit.check()

    def test_what_was_changed_in_a_call_is_said(self, site: Installation, alice: Person, tricky: Upstream):
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

    def test_a_model_that_is_added_is_one_that_is_not_there(self, alice: Person):
        page = alice.visit("/playground").page
        expect(page.get_by_role("button", name="Share")).to_be_disabled()  # nothing was answered yet
        for _ in range(4):
            page.get_by_role("button", name="Add a model").click()
        chosen = page.locator(".column__head select").evaluate_all("all => all.map(one => one.value)")
        assert chosen[:3] == ["neo-mode/frugal", "neo-mode/balanced", "neo-mode/premium"]
        assert len(set(chosen)) == 6

    def test_an_empty_wallet_is_said_once(self, people: Browser, site: Installation):
        with people.person() as person:
            sign_up(site, person, CHARLIE)
            visit = person.visit("/playground?models=acme/large,acme/mini&prompt=hello")
            visit.expected.add("status of 402")
            run(visit.page)
            expect(visit.page.get_by_role("alert").filter(has_text="Top it up")).to_be_visible()
            visit.check()

    def test_a_new_token_is_fetched_where_the_old_one_ended(self, site: Installation, alice: Person):
        visit = alice.visit(ASK)
        visit.expected.add("status of 401")
        run_to_the_end(visit.page)
        routing = alice.visit("/dashboard/routing").page
        routing.get_by_role("button", name="Pin", exact=True).click()
        expect(routing.get_by_text("from now on")).to_be_visible()
        run_to_the_end(visit.page, first=False)
        assert len(rows_of(site)) == 6


class TestShares:
    def test_a_run_is_opened_again_by_members_and_by_nobody_else(
        self, site: Installation, alice: Person, people: Browser
    ):
        page = alice.visit(ASK).page
        run_to_the_end(page)
        page.get_by_role("button", name="Share").click()
        link = page.get_by_role("link", name="/playground/shares/")
        expect(link).to_be_focused()
        path = link.inner_text().removeprefix(site.url)
        with people.person() as bob:
            theirs = sign_up(site, bob, BOB)
            invite(site, alice.visit("/dashboard/members").page, BOB, "viewer")
            theirs.goto(site.url + link_in_mail(site, BOB))
            theirs.get_by_role("button", name="Accept").click()
            opened = bob.visit(path)
            expect(opened.page.get_by_text("Shared by alice@example.com")).to_be_visible()
            expect(column(opened.page, 3).locator("[data-part=answer]")).to_contain_text("Quantum computing uses")
            expect(opened.page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
            opened.check()
            with people.person(scripts=False, cookies=bob.cookies()) as without:
                plain = without.visit(path)
                expect(plain.page.get_by_text("This page needs JavaScript")).to_be_visible()
                expect(plain.page.get_by_text("Quantum computing uses").first).to_be_visible()
        with people.person() as charlie:
            sign_up(site, charlie, CHARLIE)
            charlie.visit(path, status=404)
        shares = alice.visit("/playground/shares").page
        shares.locator("summary", has_text="Stop sharing").click()
        shares.get_by_role("button", name="Stop sharing").click()
        expect(shares.get_by_text("It is not shared any more.")).to_be_visible()
        alice.visit(path, status=404)


WORDS = "div p span strong em s a br ul ol li blockquote pre code table thead tbody tr th td"
KNOWN = frozenset(WORDS.split())  # the elements that an answer can become
HERE = "http://127.0.0.1:9/exfiltration"
TRICKS = f"""# A heading <script>window.hacked = 1</script>

<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 1"> <svg onload="window.hacked=1"></svg>
<iframe src="{HERE}"></iframe> <object data="{HERE}"></object> <embed src="{HERE}"> <base href="{HERE}">
<style>body {{ display: none }}</style> <link rel="stylesheet" href="{HERE}.css">
<meta http-equiv="refresh" content="0">
<form action="{HERE}"><input name="q"><button>Log in again</button></form>
<math><mtext><table><mglyph><style><img src=x>
<a href="javascript:window.hacked=1" onclick="window.hacked=1">click</a> <details open ontoggle=window.hacked=1>

[a](javascript:window.hacked=1) [b](JaVaScRiPt&colon;window.hacked=1)
[c](data:text/html,<script>window.hacked=1</script>)
[d](vbscript:x) [e](  javascript:window.hacked=1  ) [f](&#106;avascript:window.hacked=1)
[g](/auth/logout/) [h](//evil.example)
[i](https://ok.example/page "a title\\" onmouseover=\\"window.hacked=1")
<javascript:window.hacked=1> <https://auto.example>

![pixel]({HERE}.png?secret=prompt) ![data](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+)
![x](x" onerror="window.hacked=1)
[![nested]({HERE}.gif)](javascript:window.hacked=1) [ref] ![ref]

[ref]: {HERE}.ref.png "x"

| a | b <img src=x onerror=window.hacked=1> |
|--:|---|
| 1 | `<script>window.hacked=1</script>` |

> quote
> > deeper <b onmouseover=window.hacked=1>x</b>

1. one
   - two ~~three~~ **four** _five_

```html "><img src=x onerror=window.hacked=1>
<script>window.hacked = 1</script>
</code></pre><img src=x onerror=window.hacked=1>
```

~~~
a fence that never ends <script>window.hacked = 1</script> \u202e\u0000\ufeff ![z]({HERE}.z.png)
"""


class TestTricks:
    @pytest.mark.parametrize("frames", [1, 40, 400], ids=["at once", "in pieces", "almost by letter"])
    def test_an_answer_full_of_tricks_is_text(self, site: Installation, alice: Person, tricky: Upstream, frames: int):
        model = add_tricky(site, tricky, Reply(content=TRICKS, frames=frames), "tricky/html")
        visit = alice.visit(f"/playground?models={model},{model}&prompt=hello")
        page = visit.page
        asked = requests_of(visit)
        page.evaluate("""() => {
            window.seen = new Set();
            new MutationObserver(() => {
                for (const e of document.querySelectorAll('.answer *')) window.seen.add(e.localName);
            }).observe(document.body, {childList: true, subtree: true});
            addEventListener('securitypolicyviolation', e => window.seen.add(`violation ${e.violatedDirective}`));
        }""")
        run_to_the_end(page)
        page.get_by_text("Show how two answers differ").click()
        self.is_harmless(visit, asked, site)
        seen = set(page.evaluate("() => [...window.seen]"))
        assert seen <= KNOWN
        page.get_by_role("button", name="Share").click()
        link = page.get_by_role("link", name="/playground/shares/")
        again = alice.visit(link.inner_text().removeprefix(site.url))
        self.is_harmless(again, requests_of(again), site)

    def is_harmless(self, visit: Visit, asked: list[str], site: Installation) -> None:
        page = visit.page
        answer = column(page, 1).locator("[data-part=answer]")
        expect(answer).to_contain_text("<script>window.hacked = 1</script>")
        expect(answer).to_contain_text("a fence that never ends")
        expect(answer).to_contain_text("[picture: pixel]")
        assert page.evaluate("() => window.hacked") is None
        assert [url for url in asked if not url.startswith(site.url)] == []
        links = answer.locator("a").evaluate_all("links => links.map(a => [a.getAttribute('href'), a.rel, a.target])")
        assert {href.partition("?")[0] for href, _, _ in links} <= {
            "https://ok.example/page",
            "https://auto.example/",
            *(f"{HERE}{end}" for end in (".png", ".ref.png", ".gif", ".z.png")),
        }
        assert {(rel, target) for _, rel, target in links} == {("noopener noreferrer nofollow ugc", "_blank")}
        attributes = answer.evaluate(
            "root => [...new Set([...root.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name)))]"
        )
        known = {"class", "href", "target", "rel", "referrerpolicy", "tabindex", "role", "aria-label", "start"}
        assert set(attributes) <= known
        visit.check()

    def test_names_of_models_tools_and_errors_are_text_too(self, site: Installation, alice: Person, tricky: Upstream):
        body = json.dumps({"error": {"message": "<img src=x onerror=window.hacked=1>"}}).encode()
        failing = add_tricky(site, tricky, Reply(status=400, body=body), "tricky/words")
        thinking = add_tricky(site, tricky, Reply(reasoning="<script>window.hacked=1</script>"), "tricky/thinking")
        visit = alice.visit(f"/playground?models={failing},{thinking},%3Cb%3E&prompt=%3Ci%3E")
        run(visit.page)
        expect(visit.page.get_by_text("2 of 3 failed")).to_be_visible()
        column(visit.page, 2).get_by_text("What it thought").click()
        expect(column(visit.page, 2)).to_contain_text("<script>window.hacked=1</script>")
        assert visit.page.evaluate("() => window.hacked") is None
        visit.check()

    def test_a_page_of_another_site_gets_no_token(self, site: Installation, alice: Person):
        """Without the form's token nobody has one made, whatever cookies the browser sends along."""
        status = alice.visit("/playground").page.evaluate(
            "() => fetch('/playground/token', {method: 'POST'}).then(answer => answer.status)"
        )
        assert status == 403
        assert call(site.url, "/api/compare", "cs_forged", {"models": []}).status == 401
