"""The documents at /docs: Markdown files of the project, with the figures of this installation put in.

A page is a file of docs/site/, which is a Django template first and Markdown then, or one of the documents of the
project itself (charging policy, limits, ...), so that no figure stands in two places. Of these the site leaves out what
is for who works on the code: it stands between `<!-- repository -->` and `<!-- end -->`. Fences that say `bash run`,
`python run` or `js run` become tabs where they follow each other, and a test runs each against a live server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.template import Context, Engine
from django.utils.safestring import SafeString

from komilion.web.site.figures import error_rows, fee_percent, parameter_names
from komilion.web.site.markdown import to_html
from routing.selection.words import TASKS

FIRST = "quick-start"
FOLDER = Path("docs")
REPOSITORY_ONLY = re.compile(r"<!-- repository -->.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `file` is below docs/, and `is_template` those that are written for the site."""

    slug: str
    title: str
    summary: str
    file: str
    is_template: bool = True

    @property
    def href(self) -> str:
        """Its address."""
        return "/docs" if self.slug == FIRST else f"/docs/{self.slug}"


def _pages(*pages: Page) -> Mapping[str, Page]:
    return {page.slug: page for page in pages}


PAGES = _pages(
    Page(FIRST, "Quick start", "From nothing to an answer and its bill.", "site/quick-start.md"),
    Page("chat", "Chat completions", "The request, the answer, streams, and what is added to both.", "site/chat.md"),
    Page("choosing", "Choosing a model", "Policies, pins, receipts, and what they save.", "site/choosing.md"),
    Page("advisor", "The advisor", "What you could do better, and what it brought.", "site/advisor.md"),
    Page("compare", "Compare models", "One request, several models, side by side.", "site/compare.md"),
    Page("models", "Models and providers", "What can be called, and what it costs.", "site/models.md"),
    Page("keys", "API keys", "Make, list and revoke keys from a program.", "site/keys.md"),
    Page("usage", "Usage and spending", "What was called, what it cost, what is left.", "site/usage.md"),
    Page("simple-chat", "Simple chat", "One flat question, one flat answer.", "site/simple-chat.md"),
    Page("speech", "Speech", "Audio to text, text to audio.", "site/speech.md"),
    Page("meetings", "Meetings", "Long audio to minutes: uploads, jobs, webhooks.", "site/meetings.md"),
    Page("realtime", "Voice sessions", "A spoken conversation over a WebSocket.", "site/realtime.md"),
    Page("idempotency", "Repeating a request", "An Idempotency-Key makes a retry safe.", "site/idempotency.md"),
    Page("errors", "Errors", "Every status and reason, and what to do.", "site/errors.md"),
    Page("limits", "Limits", "How much you may ask for, and the headers that say so.", "limits.md", is_template=False),
    Page("charging-policy", "Charging policy", "What a call costs, however it ends.", "charging-policy.md", False),
    Page("failover", "Failover", "What happens when a provider does not answer.", "failover.md", is_template=False),
    Page("money", "Money", "Unit, prices, wallet, holds and ledger.", "money.md", is_template=False),
)
HREFS = {page.file: page.href for page in PAGES.values()} | {
    f"{slug}.md": PAGES[slug].href
    for slug in ("errors", "idempotency")  # the site has pages of its own on these
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a page names of this installation."""

    url: str
    model: str


def source_of(slug: str, figures: Figures) -> str:
    """The Markdown of a page, with its figures. Raises `KeyError`."""
    page = PAGES[slug]
    text = (settings.BASE_DIR / FOLDER / page.file).read_text()
    if not page.is_template:
        return REPOSITORY_ONLY.sub("", text)
    context = {
        "url": figures.url,
        "model": figures.model,
        "fee_percent": fee_percent(),
        "errors": error_rows(),
        "parameters": parameter_names(),
        "settings": settings,
        "tasks": TASKS,
    }
    return Engine.get_default().from_string(text).render(Context(context, autoescape=False))


@lru_cache(maxsize=64)
def render_page(slug: str, figures: Figures) -> SafeString:
    """The page as HTML. Raises `KeyError`."""
    return to_html(source_of(slug, figures), PAGES[slug].file, HREFS)
