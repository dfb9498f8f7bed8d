"""The documents at /docs: complete, with the figures of this installation, and without anybody else's HTML."""

import inspect
import re

import pytest

from komilion.common import errors
from komilion.web.site.docs import PAGES, Figures, render_page, source_of
from komilion.web.site.figures import parameter_names
from komilion.web.site.markdown import runnable, to_html
from routing.gateway import notes
from routing.gateway.choice.selected import Selected
from routing.gateway.parameters import TABLE
from routing.selection.words import TASKS, VIRTUAL_MODELS

FIGURES = Figures("https://gateway.example", "acme/large")
LANGUAGES = ["bash", "python", "js"]
# What the gateway and the REST API answer to; a new endpoint is documented with examples before it is listed here.
ENDPOINTS = [
    *("/v1/chat/completions", "/v1/models", "/v1/models/acme/large", "/v1/providers", "/api/wallet"),
    *("/api/auth", "/api/usage", "/api/generation", "/api/v1/generation", "/api/v1/credits", "/api/v1/key"),
    *("/key/info", "/spend/keys", "/spend/tags", "/api/chat"),
]


@pytest.mark.parametrize("slug", PAGES)
def test_every_page_can_be_read(slug: str):
    body = render_page(slug, FIGURES)
    assert "{{" not in source_of(slug, FIGURES)
    assert "<h2" in body or "<p>" in body
    assert not re.search(r'href="[^"]*\.(md|py|lua)', body), "a link to a file that is not on the site"


@pytest.mark.parametrize("slug", PAGES)
def test_no_page_has_what_is_for_who_works_on_the_code(slug: str):
    text = render_page(slug, FIGURES)
    assert "&lt;!--" not in text
    found = re.findall(r"manage\.py|\w+/\w+\.(?:py|lua)|\btests/|\w\.md\b|DATA_DIR|journal|--cancel-stops|Redis", text)
    assert found == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_has_an_example_in_every_language(endpoint: str):
    examples = [tab for slug in PAGES for tab in runnable(source_of(slug, FIGURES))]
    # The SDK's calls name their addresses by method.
    spoken = {
        "/v1/chat/completions": "chat.completions",
        "/v1/models": "models.list",
        "/v1/models/acme/large": "models.retrieve",
    }
    for language in LANGUAGES:
        texts = [tab.text for tab in examples if tab.language == language]
        assert any(endpoint in text or spoken.get(endpoint, endpoint) in text for text in texts), language


@pytest.mark.parametrize(
    ("bash", "python", "js"),
    [
        ('body "$KOMILION_URL/api/auth/$id"', '.get(f"/api/auth/{', "fetch(`${url}/${made.id}`, { headers })"),
        ("-X PATCH", ".patch(", 'method: "PATCH"'),
        ("-X DELETE", ".delete(", 'method: "DELETE"'),
        ('$id/rotate"', "/rotate", "/rotate`"),
    ],
    ids=["read", "change", "revoke", "rotate"],
)
def test_everything_that_one_does_with_a_key_has_an_example(bash: str, python: str, js: str):
    examples = runnable(source_of("keys", FIGURES))
    for language, call in zip(LANGUAGES, (bash, python, js), strict=True):
        assert any(call in tab.text for tab in examples if tab.language == language), language


@pytest.mark.parametrize("slug", PAGES)
def test_examples_come_in_three_languages(slug: str):
    languages = [tab.language for tab in runnable(source_of(slug, FIGURES))]
    assert languages == LANGUAGES * (len(languages) // 3)


@pytest.mark.parametrize("slug", PAGES)
def test_examples_name_neither_a_key_nor_a_server(slug: str):
    for tab in runnable(source_of(slug, FIGURES)):
        assert "gateway.example" not in tab.text
        assert not re.search(r"ck_\w", tab.text)
        assert "KOMILION_URL" in tab.text


def test_every_reason_is_in_the_table():
    body = render_page("errors", FIGURES)
    reasons = {
        value.reason
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.KomilionError)
    }
    assert reasons
    assert {reason for reason in reasons if f"<code>{reason}</code>" not in body} == set()


def test_every_parameter_stands_in_one_place():
    groups = parameter_names()
    assert sorted(name for names in groups.values() for name in names) == sorted(TABLE)
    assert {"store", "audio", "web_search_options"} <= set(groups["refused"])
    assert {"temperature", "max_tokens", "tools"} <= set(groups["taken"])


def test_html_in_a_document_is_text():
    html = to_html("<b>bold</b>\n\n<script>alert(1)</script>\n", "x.md", {})
    assert "<b>" not in html
    assert "<script" not in html


def test_a_link_to_another_document_becomes_one_to_its_page():
    html = to_html("[a](b.md#c) [d](../src/e.py) [f](https://f.example)", "x.md", {"b.md": "/docs/b"})
    assert '<a href="/docs/b#c">a</a>' in html
    assert "e.py" not in html
    assert " d " in html
    assert '<a href="https://f.example">f</a>' in html


def test_headings_of_one_name_have_ids_of_their_own():
    html = to_html("## A b\n\n## A b\n", "x.md", {})
    assert 'id="a-b"' in html
    assert 'id="a-b-1"' in html


def test_tables_say_what_they_are():
    html = to_html("## Sizes\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n\n| c |\n|---|\n| 3 |\n", "x.md", {})
    assert "<caption" in html
    assert 'scope="col"' in html
    assert 'aria-label="Sizes"' in html
    assert 'aria-label="Sizes, table 2"' in html
    assert "style=" not in html


def test_every_field_that_is_added_to_an_answer_is_told():
    text = source_of("chat", FIGURES)
    fields = ["receipt", "joined", "stopped", "idempotency_kept", "workflow_wanted", *_added_to_an_answer()]
    assert [name for name in fields if f"`{name}`" not in text.replace("x_komilion.", "").replace("`.", "`")] == []


def _added_to_an_answer() -> list[str]:
    """By a call that a policy answered."""
    source = inspect.getsource(notes.annotate) + inspect.getsource(Selected.notes)
    return re.findall(r'^ +"(\w+)": ', source, re.MULTILINE)


def test_choosing_a_model_names_every_policy_and_task_type():
    text = source_of("choosing", FIGURES)
    assert [name for name in (*VIRTUAL_MODELS, *TASKS) if f"`{name}`" not in text] == []
