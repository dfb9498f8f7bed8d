"""The walk of test_pages.py goes to every page that the URL map has."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve

from tests.e2e.site_pages import NOT_PAGES, NOT_WALKED, SITE_PAGES

ARGUMENT = re.compile(r"<(?:(\w+):)?\w+>")
SAMPLES = {"model": "acme/large", "key": "1"}
NAMES = {name: SAMPLES.get(name, "x") for page in SITE_PAGES for name in re.findall(r"{(\w+)}", page.path)}


def _routes() -> dict[str, str]:
    """Every address of the URL map as a pattern, with its name."""

    def walk(patterns: list[URLPattern | URLResolver], prefix: str, space: str) -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route, pattern.namespace or space)
            else:
                yield route, f"{space}:{pattern.name}" if space else str(pattern.name)

    return dict(walk(get_resolver().url_patterns, "", ""))


ROUTES = _routes()


def _walked() -> set[str]:
    """The addresses that the walk goes to; one that only leads on to where `then` ends up counts too."""
    routes = {name: route for route, name in ROUTES.items()}
    found = {routes[page.lands] for page in SITE_PAGES if page.lands}
    for page in SITE_PAGES:
        try:
            found.add(resolve(page.path.format(**NAMES).partition("?")[0]).route)
        except Resolver404:
            assert page.status == 404, page.path
    return found


def _answers_get(client: Client, route: str) -> bool:
    """Whether it is not for changes alone: nothing takes PUT, and who refuses it says what is taken."""
    path = ARGUMENT.sub(lambda match: "1" if match[1] in {"id", "int"} else "x", route)
    if "(?P" in route:
        return True
    answer = client.put(f"/{path}")
    return answer.status_code != 405 or "GET" in answer["Allow"]


@pytest.mark.django_db
def test_every_page_is_walked(client: Client):
    unknown = ROUTES.keys() - _walked() - NOT_WALKED.keys()
    missing = {route for route in unknown if not route.startswith(NOT_PAGES) and _answers_get(client, route)}
    assert missing == set(), "give each a line in SITE_PAGES, or in NOT_WALKED with the reason"


def test_no_exception_is_out_of_date():
    assert NOT_WALKED.keys() - ROUTES.keys() == set(), "no such address any more"
    assert NOT_WALKED.keys() & _walked() == set(), "it is walked"
