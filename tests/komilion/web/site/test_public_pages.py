"""The public pages over HTTP: what they say is what is charged, and everybody may read and keep them."""

import html
import re
from datetime import date
from fractions import Fraction
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from komilion.common.tiers import TIERS
from tests.fakes.client import Answer, call
from tests.stand import Gateway

PAGES = ["/", "/models", "/pricing", "/docs"]
TAGS = re.compile(r"<[^>]+>")


def page(gateway: Gateway, path: str, **headers: str) -> Answer:
    return call(gateway.url, path, headers=headers)


def words(answer: Answer) -> str:
    """What one reads on the page, in one line."""
    return " ".join(html.unescape(TAGS.sub(" ", answer.body.decode())).split())


def names(answer: Answer) -> list[str]:
    """The ids of the models in its table, in their order."""
    return re.findall(r'class="model__id">([^<]+)<', answer.body.decode())


@pytest.fixture
def models(gateway: Gateway) -> list[str]:
    """Three models of one vendor, which no other test has."""
    specs = {
        "cheap": {"input_price": "0.10", "output_price": "0.40", "context": 8_000, "capabilities": "tools"},
        "dear": {"input_price": "3.00", "output_price": "15.00", "context": 200_000, "capabilities": "tools,vision"},
        "clever": {"input_price": "1.00", "output_price": "30.00", "context": 64_000, "capabilities": "reasoning"},
    }
    from routing.catalog.models import Model

    for month, (name, spec) in enumerate(specs.items(), start=1):
        gateway.add_model(name=f"findable/{name}", max_output=4_096, **spec)  # type: ignore[arg-type]
        Model.objects.filter(pk=f"findable/{name}").update(released_on=date(2026, month, 1))
    gateway.add_provider("findable")  # so that everybody reads the days too
    return [f"findable/{name}" for name in specs]


@pytest.mark.parametrize("path", PAGES)
def test_anybody_may_read_and_keep_a_page(gateway: Gateway, path: str):
    first = page(gateway, path)
    assert first.status == 200
    assert "max-age=60" in first.headers["cache-control"]
    assert "public" in first.headers["cache-control"]
    assert "Cookie" in first.headers["vary"]
    assert "set-cookie" not in first.headers
    again = page(gateway, path, **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_lets_nothing_in_that_is_not_ours(gateway: Gateway, path: str):
    policy = page(gateway, path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "img-src 'self' data:" in policy


@pytest.mark.django_db
def test_a_page_for_somebody_who_is_logged_in_is_kept_by_nobody(client: Client):
    from accounts.models import User

    client.force_login(User.objects.create_user("alice@example.com", "a long password"))
    for path in PAGES:
        answer = client.get(path)
        assert "private" in answer["Cache-Control"]
        assert "max-age" not in answer["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", [*PAGES, "/models/findable/one"])
def test_a_page_asks_the_database_little(client: Client, path: str, django_assert_max_num_queries):
    from routing.actions.catalog import OfferSpec, ProviderSpec, do_put_offer, do_put_provider

    do_put_provider(ProviderSpec("findable", "https://api.findable.example/v1", api_key="sk"))
    do_put_offer(OfferSpec("findable/one", "findable", {"input": 10**9, "output": 10**9}))
    with django_assert_max_num_queries(12):  # once for each version of the catalogue
        assert client.get(path).status_code == 200
    with django_assert_max_num_queries(1):  # the catalogue is the same as before
        assert client.get(path).status_code == 200


def test_the_landing_page_brings_a_request_that_can_be_pasted(gateway: Gateway, models: list[str]):
    shown = html.unescape(page(gateway, "/").body.decode())
    assert "/v1/chat/completions" in shown
    assert "$KOMILION_API_KEY" in shown
    assert "plus 25 %" in words(page(gateway, "/"))


def test_prices_have_our_fee_in_them(gateway: Gateway, models: list[str]):
    listed = words(page(gateway, "/models?q=findable"))
    assert "findable/dear $3.75 $18.75 200K" in listed
    assert "findable/cheap $0.125 $0.50 8K" in listed
    alone = words(page(gateway, "/models/findable/dear"))
    assert "Input $3.00 $3.75" in alone
    assert "Output $15.00 $18.75" in alone


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=findable", ["cheap", "clever", "dear"]),
        ("q=FINDABLE+dear", ["dear"]),
        ("vendor=findable", ["cheap", "clever", "dear"]),
        ("vendor=findable&can=tools", ["cheap", "dear"]),
        ("vendor=findable&can=tools&can=vision", ["dear"]),
        ("vendor=findable&most=1.25", ["cheap", "clever"]),
        ("vendor=findable&most=1.24", ["cheap"]),
        ("vendor=findable&most=$0.125", ["cheap"]),
        ("vendor=findable&context=128000", ["dear"]),
        ("vendor=findable&sort=input", ["cheap", "clever", "dear"]),
        ("vendor=findable&sort=output", ["cheap", "dear", "clever"]),
        ("vendor=findable&sort=context", ["dear", "clever", "cheap"]),
        ("vendor=findable&sort=newest", ["clever", "dear", "cheap"]),
        ("vendor=findable&sort=nonsense", ["cheap", "clever", "dear"]),
    ],
)
def test_models_are_found_by_what_is_asked(gateway: Gateway, models: list[str], query: str, found: list[str]):
    assert names(page(gateway, f"/models?{query}")) == [f"findable/{name}" for name in found]


def test_a_price_that_is_none_is_said_at_its_field_and_hides_nothing(gateway: Gateway, models: list[str]):
    answer = page(gateway, "/models?vendor=findable&most=cheap")
    assert "An amount in US dollars, such as 2.50." in words(answer)
    assert len(names(answer)) == 3


def test_where_nothing_fits_the_page_says_what_to_do(gateway: Gateway, models: list[str]):
    answer = page(gateway, "/models?q=no-such-model")
    assert names(answer) == []
    assert "Take a filter away" in words(answer)


def test_what_is_searched_for_is_text_to_the_page(gateway: Gateway):
    answer = page(gateway, "/models?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert b"<script>alert" not in answer.body


@pytest.mark.parametrize("path", ["/models/nobody/nothing", "/docs/nothing", "/nothing", "/models/"])
def test_what_is_not_there_is_404_in_our_looks(gateway: Gateway, path: str):
    answer = page(gateway, path)
    assert answer.status == 404
    assert "text/html" in answer.headers["content-type"]
    assert b'class="masthead"' in answer.body


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_read_and_nothing_else(gateway: Gateway, path: str):
    assert call(gateway.url, path, body={"a": 1}).status in {403, 405}


def test_the_worked_example_adds_up(gateway: Gateway, models: list[str]):
    """Each figure on the page, recomputed as exact fractions from the two prices and counts beside them."""
    text = words(page(gateway, "/pricing"))
    steps = re.findall(r"([\d,]+) tokens . \$([\d.]+) a million ([\d.]+)", text)
    assert len(steps) == 2
    products = [Fraction(tokens.replace(",", "")) * Fraction(price) / 10**6 for tokens, price, _ in steps]
    assert products == [Fraction(amount) for _, _, amount in steps]
    cost, fee, charge = (
        Fraction(re.search(rf"{label} ([\d.]+)", text)[1])  # type: ignore[index]
        for label in ("the sum, rounded up to a billionth", "25 % of that, rounded up to a billionth", "Charged")
    )
    nano = Fraction(1, 10**9)
    assert 0 <= cost - sum(products) < nano
    assert 0 <= fee - cost / 4 < nano
    assert charge == cost + fee


def test_the_limits_are_those_that_hold(gateway: Gateway):
    text = words(page(gateway, "/pricing"))
    for name, limits in TIERS.items():
        figures = (limits.requests_per_minute, limits.tokens_per_minute, limits.parallel, limits.burst_per_s)
        assert f"{name} {' '.join(f'{figure:,}' for figure in figures)}" in text


def test_search_engines_are_kept_from_what_is_private(gateway: Gateway):
    answer = page(gateway, "/robots.txt")
    assert "Disallow: /dashboard" in answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")


def test_every_link_between_the_public_pages_leads_somewhere(gateway: Gateway, models: list[str]):
    """Also to the heading that its fragment names."""
    seen: dict[str, str] = {}
    wanted = {"/"}
    links: set[tuple[str, str, str]] = set()
    while wanted:
        path = wanted.pop()
        answer = page(gateway, path)
        assert answer.status == 200, path
        seen[path] = answer.body.decode()
        for href in re.findall(r'<a[^>]* href="([^"]+)"', seen[path]):
            target = urlsplit(urljoin(path, html.unescape(href)))
            if target.netloc or not re.match(r"/($|models|pricing|docs)", target.path):
                continue
            links.add((path, target.path, target.fragment))
            if target.path not in seen and not target.path.startswith("/models/"):
                wanted.add(target.path)
    assert {"/docs/errors", "/docs/charging-policy", "/docs/limits", "/docs/keys"} <= set(seen)
    dead = [link for link in links if link[2] and link[1] in seen and f'id="{link[2]}"' not in seen[link[1]]]
    assert dead == []


@pytest.mark.parametrize("path", ["/", "/models"])
def test_a_policy_can_be_found_where_models_are_looked_for(gateway: Gateway, path: str):
    answer = page(gateway, path)
    for name in ("neo-mode/frugal", "neo-mode/balanced", "neo-mode/premium", "auto"):
        assert name in words(answer)
    assert b'href="/docs/choosing"' in answer.body
