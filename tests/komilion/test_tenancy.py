"""Who gets what answer at every address: the table of tenancy.

A row is an address of Django's URL map and a method that it takes; a column is somebody who asks. An address without a
row fails a test, and so does a method. To add one, add its line to `TABLE`; an argument that no other route has gets
Alice's value in `tests.komilion.tenancy`, a query or a form that it takes to get past the first check in `QUERIES` or
`FORMS`. The gateway's own endpoints have their table in test_tenancy_of_the_gateway.py.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker

from tests.komilion.tenancy import (
    CANARY,
    LOGIN,
    METHODS,
    PEOPLE,
    World,
    answer_of,
    body_of,
    from_testcase,
    new_world,
    path_of,
    routes,
)

# Alice owns the organization that the address is about. Bob is in it too, with one of the other roles. Charlie owns
# another one: what is Alice's is 404 for him, and where an address names nothing he sees his own. A key opens no page,
# so pages answer it as they answer nobody, and have no columns for keys. `login`: sent to log in.
#                                                             nobody owner devel billing viewer charlie
PAGES = """
GET    dashboard                                              login 200 200 200 200 200
GET    dashboard/first-request                                login 204 204 204 204 200
GET    dashboard/usage                                        login 200 200 200 200 200
GET    dashboard/usage.csv                                    login 200 200 200 200 200
GET    dashboard/usage/<str:request_id>                       login 200 200 200 200 404
GET    dashboard/keys                                         login 200 200 200 200 200
GET    dashboard/keys/new                                     login 200 200 403 403 200
POST   dashboard/keys/new                                     login 422 422 403 403 422
GET    dashboard/keys/<id:key_id>                             login 200 200 200 200 404
POST   dashboard/keys/<id:key_id>                             login 422 422 403 403 404
POST   dashboard/keys/<id:key_id>/rotate                      login 200 200 403 403 404
POST   dashboard/keys/<id:key_id>/revoke                      login 302 302 403 403 404
GET    dashboard/routing                                      login 200 200 200 200 200
POST   dashboard/routing/pins                                 login 302 302 403 403 302
POST   dashboard/routing/pins/remove                          login 302 302 403 403 302
POST   dashboard/routing/successors                           login 302 302 403 403 302
GET    dashboard/advisor                                      login 200 200 200 200 200
POST   dashboard/advisor/accept                               login 302 302 403 403 302
POST   dashboard/advisor/dismiss                              login 302 302 403 403 302
POST   dashboard/advisor/upgrades                             login 302 302 403 403 302
POST   dashboard/advisor/upgrades/agree                       login 302 302 403 403 302
POST   dashboard/advisor/upgrades/decline                     login 302 302 403 403 302
POST   dashboard/advisor/samples                              login 302 302 403 403 302
POST   dashboard/advisor/samples/delete                       login 302 302 403 403 302
POST   dashboard/advisor/cases                                login 422 422 403 403 422
POST   dashboard/advisor/cases/delete                         login 302 302 403 403 302
GET    playground                                             login 200 200 200 200 200
POST   playground/token                                       login 200 200 403 403 200
GET    playground/shares                                      login 200 200 200 200 200
POST   playground/shares                                      login 400 400 403 403 400
GET    playground/shares/<str:share_id>                       login 200 200 200 200 404
POST   playground/shares/<str:share_id>/delete                login 302 403 403 403 404
GET    dashboard/voice                                        login 200 200 200 200 200
GET    dashboard/voice/meetings                               login 200 200 200 200 200
GET    dashboard/voice/meetings/<str:job_id>                  login 200 200 200 200 404
GET    dashboard/voice/meetings/<str:job_id>/audio            login 400 400 400 400 404
POST   dashboard/voice/meetings/<str:job_id>/export           login 200 200 200 200 404
POST   dashboard/voice/meetings/<str:job_id>/delete           login 302 302 403 403 404
GET    dashboard/voice/webhooks                               login 200 200 200 200 200
POST   dashboard/voice/webhooks/secret                        login 200 200 403 403 200
POST   dashboard/voice/webhooks/<str:delivery_id>/again       login 409 409 403 403 404
GET    dashboard/members                                      login 200 200 200 200 200
POST   dashboard/members                                      login 200 403 403 403 200
POST   dashboard/members/organization                         login 302 403 403 403 302
POST   dashboard/members/<id:membership_id>/role              login 302 403 403 403 404
GET    dashboard/members/<id:membership_id>/remove            login 200 403 403 200 404
POST   dashboard/members/<id:membership_id>/remove            login 302 403 403 302 404
POST   dashboard/members/invitations/<id:invitation_id>/again    login 302 403 403 403 404
POST   dashboard/members/invitations/<id:invitation_id>/revoke   login 302 403 403 403 404
GET    dashboard/organizations                                login 200 200 200 200 200
POST   dashboard/organizations                                login 200 200 200 200 200
POST   dashboard/organizations/<id:organization_id>/open      login 302 302 302 302 404
GET    dashboard/audit                                        login 200 403 403 403 200
GET    dashboard/account                                      login 200 200 200 200 200
POST   dashboard/account/time-zone                            login 302 302 302 302 302
POST   dashboard/account/letters/<id:organization_id>         login 302 302 302 302 404
POST   dashboard/account/sessions                             login 302 302 302 302 302
GET    dashboard/account/delete                               login 200 200 200 200 200
POST   dashboard/account/delete                               login 200 200 200 200 200
GET    dashboard/wallet                                       login 200 200 200 200 200
POST   dashboard/wallet/top-up                                login 503 403 503 403 503
GET    dashboard/wallet/checkout                              login 302 403 302 403 302
GET    dashboard/wallet/portal                                login 503 403 503 403 503
POST   dashboard/wallet/auto-recharge                         login 422 403 422 403 422
POST   dashboard/wallet/auto-recharge/stop                    login 302 403 302 403 302
POST   dashboard/wallet/alert                                 login 302 403 302 403 302
GET    dashboard/wallet/orders                                login 302 302 302 302 404
GET    dashboard/wallet/orders/<str:order_id>                 login 200 200 200 200 404
GET    dashboard/wallet/test-checkout/<str:order_id>          login 404 403 404 403 404
POST   dashboard/wallet/test-checkout/<str:order_id>          login 404 403 404 403 404
GET    dashboard/wallet/statement                             login 200 200 200 200 200
GET    dashboard/wallet/statement.csv                         login 200 200 200 200 200
GET    dashboard/wallet/receipts/<str:payment_id>             login 200 200 200 200 404
GET    dashboard/wallet/payments/<str:payment_id>/refund      login 200 403 200 403 404
POST   dashboard/wallet/payments/<str:payment_id>/refund      login 503 403 503 403 404
"""
# A session reads and changes as its role may. `key` is one of Alice's without the right to manage keys, made by
# `manager`, which has it and sees what it made; so they are the keys that the addresses name.
#                                        nobody owner devel billing viewer charlie key manager charlie's key
REST = """
GET    api/auth                          401 200 200 200 200 200 403 200 200
POST   api/auth                          401 422 422 403 403 422 403 422 422
GET    api/auth/<id:key_id>              401 200 200 200 200 404 403 200 404
PATCH  api/auth/<id:key_id>              401 200 200 403 403 404 403 200 404
DELETE api/auth/<id:key_id>              401 200 200 403 403 404 403 200 404
POST   api/auth/<id:key_id>/rotate       401 200 200 403 403 404 403 200 404
GET    api/usage                         401 200 200 200 200 404 200 200 404
GET    api/generation                    401 200 200 200 200 404 200 200 404
GET    api/v1/generation                 401 200 200 200 200 404 200 200 404
GET    api/pins                          401 200 200 200 200 200 200 200 200
POST   api/pins                          401 400 400 403 403 400 400 400 400
DELETE api/pins                          401 400 400 403 403 400 400 400 400
POST   api/advisor/accept                401 400 400 403 403 400 400 400 400
GET    api/advisor/recommendations       401 200 200 200 200 200 200 200 200
POST   api/advisor/dismiss               401 400 400 403 403 400 400 400 400
GET    api/advisor/upgrades              401 200 200 200 200 200 200 200 200
POST   api/advisor/upgrades/<id:upgrade_id>/agree    401 200 200 403 403 404 200 200 404
POST   api/advisor/upgrades/<id:upgrade_id>/decline  401 200 200 403 403 404 200 200 404
POST   api/feedback                      401 422 422 403 403 422 422 422 422
GET    api/voice/jobs                    401 200 200 200 200 200 200 200 200
GET    api/voice/jobs/<str:job_id>       401 200 200 200 200 404 404 200 404
DELETE api/voice/jobs/<str:job_id>       401 200 200 403 403 404 404 200 404
GET    api/voice/uploads                 401 200 200 200 200 200 200 200 200
POST   api/voice/upload                  401 422 422 403 403 422 422 422 422
GET    api/voice/upload/<str:audio_key>  401 200 200 200 200 404 200 200 404
DELETE api/voice/upload/<str:audio_key>  401 200 200 403 403 404 200 200 404
GET    api/v1/credits                    401 200 200 200 200 200 200 200 200
GET    api/v1/key                        401 400 400 400 400 400 200 200 200
GET    key/info                          401 200 200 200 200 404 200 200 404
GET    spend/keys                        401 200 200 200 200 200 200 200 200
GET    spend/tags                        401 200 200 200 200 200 403 200 200
"""
# Nobody's in particular: everybody gets the same answer.
PUBLIC = """
GET    *home*                            200
GET    models                            200
GET    models/<path:model_id>            200
GET    pricing                           200
GET    docs                              200
GET    docs/<slug:slug>                  200
GET    robots.txt                        200
GET    api/schema                        200
GET    api/docs                          200
POST   webhooks/stripe                   503
GET    webhooks/mail                     404
POST   webhooks/mail                     404
"""
# Who has the link of an invitation sees who invites her: the link is the right. Only the one whose address it is for
# can accept it; the others are told so. The links of the advisor's letters need no login at all.
LINKS = """
GET    invitations/<str:token>           200 200 200 200 200 200
POST   invitations/<str:token>           200 302 302 302 302 302
GET    advice/<str:link>                 200 200 200 200 200 200
POST   advice/<str:link>                 200 200 200 200 200 200
GET    advice/letters/<str:letters_link> 200 200 200 200 200 200
POST   advice/letters/<str:letters_link> 200 200 200 200 200 200
GET    advice/upgrades/<str:upgrade_link> 200 200 200 200 200 200
POST   advice/upgrades/<str:upgrade_link> 200 200 200 200 200 200
GET    advice/prompts/<str:prompts_link> 200 200 200 200 200 200
POST   advice/prompts/<str:prompts_link> 200 200 200 200 200 200
"""
# Sign-up, login and one's own account (allauth's), and the operator's pages: no address there names what is a tenant's.
OWN = ("auth/", "operator/")

QUERIES = {
    "api/usage": "?key={key_id}",
    "api/generation": "?id={request_id}",
    "api/v1/generation": "?id={request_id}",
    "key/info": "?key={key_id}",
    "dashboard/keys/<id:key_id>/rotate": "?epoch=0",
    "dashboard/wallet/orders": "?order={order_id}",
    "dashboard/wallet/statement.csv": "?first=2026-01-01&last=2026-01-31",
}
FORMS = {
    "dashboard/members/<id:membership_id>/role": "role=developer",
    "dashboard/voice/meetings/<str:job_id>/export": "format=srt",
}

PAGE_PEOPLE = PEOPLE[:6]


def rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Method, route and the answer for each asker."""
    for table, people in ((PAGES, PAGE_PEOPLE), (LINKS, PAGE_PEOPLE), (REST, PEOPLE), (PUBLIC, ("nobody",))):
        for line in table.strip().splitlines():
            method, route, *answers = line.split()
            assert len(answers) == len(people), line
            expected = dict(zip(people, answers, strict=True))
            if table is PUBLIC:
                expected |= dict.fromkeys(("owner", "charlie", "charlie's key"), answers[0])
            elif people is PAGE_PEOPLE:
                expected["key"] = answers[0]
            yield method, "" if route == "*home*" else route, expected


TABLE = {(method, route): expected for method, route, expected in rows()}
SHOWN_BY_THE_LINK = {"invitations/<str:token>", "advice/<str:link>", "advice/letters/<str:letters_link>"}
SHOWN_BY_THE_LINK |= {"advice/upgrades/<str:upgrade_link>", "advice/prompts/<str:prompts_link>"}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker, valkey_url: str) -> Iterator[World]:
    """Both tenants, for all rows: what a request changes is undone with it, and they with the module."""
    from django.db import transaction

    with django_db_blocker.unblock(), from_testcase():
        yield new_world()
        transaction.set_rollback(True)


def address(route: str, world: World) -> str:
    return path_of(route, world) + QUERIES.get(route, "").format(**world.arguments)


@pytest.mark.parametrize(("method", "route"), TABLE)
def test_a_row_of_the_table(method: str, route: str, world: World):
    path, expected = address(route, world), TABLE[method, route]
    answers = {name: world.askers[name].ask(method, path, FORMS.get(route, "")) for name in expected}
    assert {name: answer_of(response) for name, response in answers.items()} == expected
    if route not in SHOWN_BY_THE_LINK:
        shown = [name for name in ("nobody", "charlie", "charlie's key") if name in answers]
        assert [name for name in shown if CANARY.encode() in body_of(answers[name])] == []


# While an organization is suspended nothing of it changes, whoever asks; what belongs to a person alone does. These
# work all the same, or are GETs that begin a change and do not.
OWN_WHILE_SUSPENDED = {
    "dashboard/organizations",
    "dashboard/organizations/<id:organization_id>/open",
    "dashboard/account/time-zone",
    "dashboard/account/letters/<id:organization_id>",
    "dashboard/account/sessions",
    "dashboard/account/delete",
}
READS_BY_POST = {"dashboard/voice/meetings/<str:job_id>/export"}  # a form, for what no address should hold
CHANGES_BY_GET = {
    "dashboard/keys/new",
    "dashboard/members/<id:membership_id>/remove",
    "dashboard/wallet/checkout",
    "dashboard/wallet/portal",
    "dashboard/wallet/test-checkout/<str:order_id>",
    "dashboard/wallet/payments/<str:payment_id>/refund",
}


@pytest.mark.parametrize(
    ("method", "route"),
    [row for row in TABLE if row[1].startswith(("dashboard", "playground", "api/", "key/", "spend/"))],
)
def test_a_row_while_the_organization_is_suspended(method: str, route: str, world: World):
    reads = route in READS_BY_POST or (method == "GET" and route not in CHANGES_BY_GET)
    expected = TABLE[method, route]["owner"] if reads or route in OWN_WHILE_SUSPENDED else "403"
    answer = world.askers["owner"].ask(method, address(route, world), FORMS.get(route, ""), suspended=True)
    assert answer_of(answer) == expected
    if expected == "403":
        assert b"is suspended" in body_of(answer)


def test_an_own_membership_can_be_ended_while_the_organization_is_suspended(world: World):
    path = path_of("dashboard/members/<id:membership_id>/remove", world)
    assert answer_of(world.askers["viewer"].ask("POST", path, suspended=True)) == "302"


def test_no_address_is_without_a_row():
    known = {route for _, route in TABLE}
    assert [route for route in routes() if not route.startswith(OWN) and route not in known] == []
    assert [route for route in known if route not in routes()] == []


NO_IDS = (str(2**63 - 1), str(2**63), "9" * 20, "9" * 5_000)  # the last is longer than Python reads
WITH_AN_ID_IN_THE_QUERY = (
    "api/usage?key={}",
    "api/auth?cursor={}",
    "key/info?key={}",
    "dashboard/keys?before={}",
    "dashboard/audit?before={}",
    "dashboard/usage?key={}",
    "dashboard/wallet/statement?before={}",
)


def test_a_number_that_is_too_large_to_be_an_id_breaks_nothing(world: World):
    """SQLite takes whole numbers of 64 bits and raises for others."""
    owner = world.askers["owner"]
    for route in routes():
        if re.search(r"<(int|id):", route):
            for number in NO_IDS:
                path = "/" + re.sub(r"<\w+:\w+>", number, route)
                answers = {method: answer_of(owner.ask(method, path)) for method in METHODS}
                assert set(answers.values()) <= {"404", "405", LOGIN, "302"}, (route, len(number), answers)
    for query in WITH_AN_ID_IN_THE_QUERY:
        for number in NO_IDS:
            answer = answer_of(owner.ask("GET", "/" + query.format(number)))
            assert answer in {"200", "400", "404", "422"}, (query, len(number))
    key = world.arguments["key_id"]
    assert answer_of(owner.ask("POST", f"/dashboard/keys/{key}/rotate?epoch={NO_IDS[-1]}")) == "409"
    assert answer_of(owner.ask("POST", "/dashboard/organizations", f"invitation={NO_IDS[-1]}")) == "200"


def test_no_method_is_without_a_row(world: World):
    """Alice may do most; what has no row must refuse even her, and by the method, or lead to a page above it."""
    owner = world.askers["owner"]
    found = {
        (method, route)
        for route in {route for _, route in TABLE}
        for method in METHODS
        if (method, route) not in TABLE and not refuses(owner.ask(method, address(route, world)))
    }
    assert found == set()


def refuses(response: Any) -> bool:
    asked, is_page = response.wsgi_request.path, response.wsgi_request.method == "GET"
    return response.status_code == 405 or (is_page and asked.startswith(f"{response.headers.get('Location')}/"))


def test_the_operators_pages_are_for_operators(world: World):
    """None of these people is one; whatever the address, she is sent to log in or refused."""
    for route in routes():
        if route.startswith("operator/"):
            path = "/" + re.sub(r"<[^>]*>|\(\?P<[^)]*\)", "1", route).replace("^", "").replace("$", "")
            for name in ("nobody", "owner"):
                assert answer_of(world.askers[name].ask("GET", path)) in {LOGIN, "302", "403", "404"}, (path, name)


def test_ones_own_account_is_ones_own(world: World):
    """No page below /auth/ breaks, and none shows Charlie or nobody what is Alice's."""
    for route in routes():
        if route.startswith("auth/") and "(?P" not in route:
            for name in ("nobody", "charlie"):
                answer = world.askers[name].ask("GET", "/" + route)
                assert answer.status_code < 500, route
                assert CANARY.encode() not in body_of(answer), route


def test_the_table_is_about_sessions_that_work(world: World):
    """Guards the guard: with a browser that is not logged in every page would answer alike."""
    assert b"charlie@example.com" in body_of(world.askers["charlie"].ask("GET", "/dashboard/account"))
    assert CANARY.encode() in body_of(world.askers["viewer"].ask("GET", "/dashboard/keys"))
    assert isinstance(world.askers["owner"].person.browser, Client)
