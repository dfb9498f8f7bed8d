"""Who gets what answer at the gateway's own endpoints: the rest of the table of tests/komilion/test_tenancy.py.

Nothing at these addresses is named by an id of a tenant's; what is a tenant's there (wallet, models of a key) comes by
the key alone. A session is nobody: the gateway never reads cookies.
"""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from routing.selection.words import VIRTUAL_MODELS
from tests.fakes.client import Answer, call
from tests.fakes.replies import Reply
from tests.routing.answers import key_of
from tests.routing.books import organization_id
from tests.routing.test_session_tokens import token_of
from tests.stand import Gateway, Tenant

PEOPLE = ("nobody", "a session", "alice", "charlie", "a revoked key", "charlie's token", "a token that is over")
#                                        nobody session alice charlie revoked token over
TABLE = """
POST  /v1/chat/completions               401 401 200 200 401 200 401
POST  /api/chat                          401 401 200 200 401 200 401
POST  /api/compare                       401 401 200 200 401 200 401
POST  /api/estimate                      401 401 200 200 401 200 401
GET   /v1/models                         200 200 200 200 401 200 401
GET   /v1/models/{model}                 200 200 404 200 401 200 401
GET   /v1/providers                      200 200 200 200 401 200 401
GET   /api/wallet                        401 401 200 200 401 401 401
"""


def rows() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for line in TABLE.strip().splitlines():
        method, path, *answers = line.split()
        yield method, path, tuple(answers)


ROWS = list(rows())


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    return gateway.add_model(Reply())


@pytest.fixture(scope="module")
def keys(gateway: Gateway, model: str) -> dict[str, str | None]:
    """Alice's key may call another model only, so that it shows whose eyes a list is read with."""
    from accounts.actions.changes import raise_epoch
    from accounts.actions.keys import do_revoke_key

    alice, charlie = gateway.tenant(credit="1.00"), gateway.tenant(credit="2.00")
    another = gateway.add_model(Reply())
    revoked = key_of(alice)
    do_revoke_key(revoked.row, actor="test")
    tokens = {tenant: token_of(tenant.email) for tenant in (alice, charlie)}
    raise_epoch(organization_id(alice))
    return {
        "nobody": None,
        "a session": None,
        "alice": key_of(alice, models_allowed=[another]).secret,
        "charlie": charlie.key,
        "a revoked key": revoked.secret,
        "charlie's token": tokens[charlie],
        "a token that is over": tokens[alice],
        "alice's model": another,
    }


def ask(gateway: Gateway, name: str, keys: dict[str, str | None], method: str, path: str, model: str) -> Answer:
    own = keys["alice's model"] if name == "alice" else model
    whom = {"models": [own, own]} if path == "/api/compare" else {"model": own}
    body = {**whom, "messages": [{"role": "user", "content": "hi"}]} if method == "POST" else None
    headers = {"Cookie": "komilion=0123456789abcdefghijklmnopqrstuv"} if name == "a session" else {}
    return call(gateway.url, path.format(model=model), keys[name], body, headers)


@pytest.mark.parametrize(("method", "path", "expected"), ROWS, ids=[f"{method} {path}" for method, path, _ in ROWS])
def test_a_row_of_the_table(
    gateway: Gateway, keys: dict[str, str | None], model: str, method: str, path: str, expected: tuple[str, ...]
):
    answers = {name: ask(gateway, name, keys, method, path, model) for name in PEOPLE}
    assert {name: str(answer.status) for name, answer in answers.items()} == dict(zip(PEOPLE, expected, strict=True))


def test_no_endpoint_is_without_a_row():
    """Under the first of its prefixes each; tests/routing/test_endpoint_table.py proves that they answer alike."""
    from routing.gateway.endpoints import ENDPOINTS

    served = {(endpoint.method, endpoint.paths[0].replace("/*", "/{model}")) for endpoint in ENDPOINTS}
    assert {(method, path) for method, path, _ in ROWS} == served


def test_a_wallet_is_that_of_the_key(gateway: Gateway, keys: dict[str, str | None]):
    paid = {name: Decimal(call(gateway.url, "/api/wallet", keys[name]).json["paid"]) for name in ("alice", "charlie")}
    assert paid["alice"] <= 1 < paid["charlie"] <= 2


def test_a_key_sees_the_models_that_it_may_call(gateway: Gateway, keys: dict[str, str | None]):
    listed = [row["id"] for row in call(gateway.url, "/v1/models", keys["alice"]).json["data"]]
    assert listed == [*VIRTUAL_MODELS, keys["alice's model"]]


def test_sessions_are_not_read_even_when_they_are_real(gateway: Gateway, model: str):
    """A real cookie of a real person, which opens the dashboard, opens nothing here."""
    from django.conf import settings
    from django.contrib.sessions.backends.db import SessionStore

    from accounts.models import User

    tenant: Tenant = gateway.tenant()
    user = User.objects.get(email=tenant.email)
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.create()
    cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
    assert call(gateway.url, "/api/usage", headers=cookie).status == 200
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    assert call(gateway.url, "/v1/chat/completions", None, body, cookie).status == 401
    assert call(gateway.url, "/api/wallet", headers=cookie).status == 401
