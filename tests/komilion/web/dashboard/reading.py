"""Reading a page as a person does: its text, its tables, its links."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any, override
from urllib.parse import unquote

from django.db import connection
from django.test.utils import CaptureQueriesContext

from routing.queries import catalog_rows
from tests.people import Person

QUERIES = 12


def open_page(person: Person, address: str, status: int = 200) -> str:
    """The page as HTML; it must come with few queries, however much there is to show."""
    catalog_rows()  # which a process reads once for each version of the catalogue
    with CaptureQueriesContext(connection) as queries:
        response = person.browser.get(address)
    assert response.status_code == status, response.content.decode()
    assert len(queries) <= QUERIES, [query["sql"][:100] for query in queries]
    return response.content.decode()


def text_of(html: str) -> str:
    """What can be read, in one line."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_cell = False

    @override
    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
            self._is_cell = True

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._is_cell = False

    @override
    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


def tables_of(html: str) -> list[list[str]]:
    """The rows of all tables, as texts of their cells."""
    parser = _Tables()
    parser.feed(html)
    return parser.rows


def link_of(html: str, text: str) -> str:
    """Where the link with this text leads."""
    found = re.search(rf'<a [^>]*href="([^"]*)"[^>]*>{re.escape(text)}</a>', html)
    assert found is not None, text
    return unquote(unescape(found.group(1))) if "%" not in found.group(1) else unescape(found.group(1))
