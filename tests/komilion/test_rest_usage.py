"""Usage, credits and spending by the REST API, of calls that were really made."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.client import Answer, call
from tests.fakes.replies import Reply
from tests.routing.answers import key_of
from tests.routing.books import NANO, organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    return gateway.add_model(Reply())


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture(scope="module")
def charlie(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture(scope="module")
def manager(alice: Tenant) -> Any:
    """A key of Alice's that may manage keys."""
    return managing_key(alice)


@pytest.fixture(scope="module")
def calls(gateway: Gateway, alice: Tenant, model: str) -> list[str]:
    """Ids of five settled calls of Alice's first key, the newest first; the odd ones are tagged `odd`."""
    made = []
    for number in range(5):
        body = {"user": f"customer-{number % 2}", "metadata": {"tags": ["all", *(["odd"] if number % 2 else [])]}}
        answer = gateway.chat(alice, model, **body)
        assert answer.status == 200
        made.append(answer.json["id"])
    wait_until(lambda: len(usage_rows(alice)) == 5, what="five usage rows")
    return made[::-1]


def managing_key(tenant: Tenant, **terms: Any) -> Any:
    from accounts.actions.keys import Grantor, KeyTerms, do_grant_key
    from accounts.models import Membership

    membership = Membership.objects.get(organization_id=organization_id(tenant))
    return do_grant_key(
        Grantor(membership.organization_id, membership.pk, "test"), KeyTerms("m", can_manage=True, **terms)
    )


def get(gateway: Gateway, path: str, key: str) -> Any:
    """The JSON of a good answer, numbers as `Decimal`."""
    answer = call(gateway.url, path, key)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.body, parse_float=Decimal)


def refused(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.body
    return answer.json["error"]["reason"]


class TestUsage:
    def test_a_row_says_what_was_called_and_what_it_cost_exactly(
        self, gateway: Gateway, alice: Tenant, calls: list[str], model: str
    ):
        page = get(gateway, "/api/usage", alice.key)
        assert [row["id"] for row in page["data"]] == calls
        assert page["next_cursor"] is None
        row, stored = page["data"][0], usage_rows(alice)[-1]
        assert (row["model"], row["requested_model"], row["outcome"]) == (model, model, "completed")
        assert row["usage"] == stored.usage
        assert row["cost_nano_usd"] == stored.charge_nano > 0
        assert row["provider_cost_nano_usd"] + row["fee_nano_usd"] == row["cost_nano_usd"]
        for name in ("cost", "provider_cost", "fee", "savings"):
            assert row[f"{name}_usd"] * NANO == row[f"{name}_nano_usd"]

    def test_amounts_are_decimal_literals_without_exponents(self, gateway: Gateway, alice: Tenant, calls: list[str]):
        body = call(gateway.url, "/api/usage", alice.key).body.decode()
        literals = [part.partition(",")[0] for part in body.split('_usd":')[1:]]
        assert literals
        assert all(set(literal) <= set("0123456789.") for literal in literals)

    @pytest.mark.parametrize("limit", [1, 2, 3, 5])
    def test_pages_follow_each_other_without_gaps(self, gateway: Gateway, alice: Tenant, calls: list[str], limit: int):
        seen, cursor = [], ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            page = get(gateway, f"/api/usage?limit={limit}{more}", alice.key)
            assert len(page["data"]) <= limit
            seen += [row["id"] for row in page["data"]]
            cursor = page["next_cursor"]
        assert seen == calls

    @pytest.mark.parametrize(
        ("query", "picked"),
        [
            ("tag=odd", [1, 3]),
            ("tag=none", []),
            ("user=customer-0", [0, 2, 4]),
            ("user=customer-1&tag=odd", [1, 3]),
            ("model=acme/nothing", []),
            ("from=2099-01-01", []),
            ("to=2020-01-02T00:00:00Z", []),
            ("from=2020-01-01&to=2099-01-01", [0, 1, 2, 3, 4]),
        ],
    )
    def test_filters(self, gateway: Gateway, alice: Tenant, calls: list[str], query: str, picked: list[int]):
        found = [row["id"] for row in get(gateway, f"/api/usage?{query}", alice.key)["data"]]
        assert found == [calls[number] for number in picked]

    def test_by_key(self, gateway: Gateway, alice: Tenant, calls: list[str], manager: Any):
        first = usage_rows(alice)[0].key_id
        assert len(get(gateway, f"/api/usage?key={first}", manager.secret)["data"]) == 5
        assert get(gateway, f"/api/usage?key={manager.row.pk}", manager.secret)["data"] == []

    def test_a_plain_key_reads_its_own_calls_and_a_managing_one_all(
        self, gateway: Gateway, alice: Tenant, calls: list[str], manager: Any
    ):
        plain = key_of(alice)
        first = usage_rows(alice)[0].key_id
        assert get(gateway, "/api/usage", plain.secret)["data"] == []
        assert len(get(gateway, "/api/usage", manager.secret)["data"]) == 5
        assert refused(call(gateway.url, f"/api/usage?key={first}", plain.secret), 404) == "not_found"

    def test_a_stranger_sees_nothing(self, gateway: Gateway, alice: Tenant, charlie: Tenant, calls: list[str]):
        secret = managing_key(charlie).secret
        first = usage_rows(alice)[0].key_id
        assert get(gateway, "/api/usage", secret)["data"] == []
        assert refused(call(gateway.url, f"/api/usage?key={first}", secret), 404) == "not_found"


class TestGeneration:
    @pytest.mark.parametrize("path", ["/api/generation", "/api/v1/generation"])
    def test_one_call_whole(self, gateway: Gateway, alice: Tenant, calls: list[str], model: str, path: str):
        data = get(gateway, f"{path}?id={calls[0]}", alice.key)["data"]
        row = usage_rows(alice)[-1]
        assert (data["id"], data["model"], data["streamed"], data["cancelled"]) == (calls[0], model, False, False)
        assert data["total_cost"] * NANO == row.charge_nano
        assert data["tokens_prompt"] == row.usage["input"]
        assert data["tokens_completion"] == row.usage["output"]
        assert data["external_user"] == "customer-0"
        assert data["x_komilion"]["cost_nano_usd"] == row.charge_nano
        assert data["x_komilion"]["attempts"][0]["provider"] == row.provider

    def test_whose_it_is(self, gateway: Gateway, alice: Tenant, charlie: Tenant, calls: list[str], manager: Any):
        path = f"/api/generation?id={calls[0]}"
        assert get(gateway, path, manager.secret)["data"]["id"] == calls[0]
        for stranger in (key_of(alice).secret, charlie.key, managing_key(charlie).secret):
            assert refused(call(gateway.url, path, stranger), 404) == "not_found"
        assert refused(call(gateway.url, "/api/generation?id=gen-nothing", alice.key), 404) == "not_found"


class TestCredits:
    def test_what_was_bought_less_what_was_used_is_what_is_there(
        self, gateway: Gateway, alice: Tenant, calls: list[str]
    ):
        data = get(gateway, "/api/v1/credits", alice.key)["data"]
        spent = sum(row.charge_nano for row in usage_rows(alice))
        assert data["total_usage_nano_usd"] == data["total_usage"] * NANO == spent
        assert data["total_credits_nano_usd"] == data["total_credits"] * NANO == 10 * NANO

    def test_the_key_that_asks(self, gateway: Gateway, alice: Tenant, calls: list[str]):
        from accounts.models import ApiKey
        from billing.actions.caps import do_set_caps

        spent = sum(row.charge_nano for row in usage_rows(alice))
        data = get(gateway, "/api/v1/key", alice.key)["data"]
        assert data["label"] == f"{alice.key[:7]}...{alice.key[-4:]}"
        assert data["usage"] * NANO == data["usage_daily"] * NANO == data["usage_monthly"] * NANO == spent
        assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (None, None, None)
        key_id = ApiKey.objects.get(hint=data["label"]).pk
        do_set_caps(organization_id(alice), key_id, {"day": 3 * NANO, "total": 2 * NANO})
        data = get(gateway, "/api/v1/key", alice.key)["data"]
        assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (2, 2, None)
        do_set_caps(organization_id(alice), key_id, {"day": None, "total": None})


class TestSpending:
    def test_key_info(self, gateway: Gateway, alice: Tenant, charlie: Tenant, calls: list[str], manager: Any):
        spent = sum(row.charge_nano for row in usage_rows(alice))
        first = usage_rows(alice)[0].key_id
        own = get(gateway, "/key/info", alice.key)
        assert own["key"] == own["info"]["key_name"]
        assert own["info"]["spend"] * NANO == spent
        assert (own["info"]["models"], own["info"]["blocked"]) == ([], False)
        assert get(gateway, f"/key/info?key={first}", alice.key) == own
        assert refused(call(gateway.url, f"/key/info?key={manager.row.pk}", alice.key), 403) == "forbidden"
        assert refused(call(gateway.url, f"/key/info?key={first}", manager.secret), 404) == "not_found"
        assert refused(call(gateway.url, f"/key/info?key={first}", managing_key(charlie).secret), 404) == "not_found"

    def test_by_key(self, gateway: Gateway, alice: Tenant, calls: list[str], manager: Any):
        rows = get(gateway, "/spend/keys", alice.key)
        assert [row["key_name"] for row in rows] == [f"{alice.key[:7]}...{alice.key[-4:]}"]
        assert rows[0]["spend"] * NANO == sum(row.charge_nano for row in usage_rows(alice))

    def test_by_tag(self, gateway: Gateway, alice: Tenant, calls: list[str], manager: Any):
        charges = {row.request_id: row.charge_nano for row in usage_rows(alice)}
        rows = get(gateway, "/spend/tags", manager.secret)
        assert [(row["individual_request_tag"], row["log_count"]) for row in rows] == [("all", 5), ("odd", 2)]
        assert rows[1]["total_spend"] * NANO == charges[calls[1]] + charges[calls[3]]
        assert get(gateway, "/spend/tags?end_date=2020-06-01", manager.secret) == []
        assert get(gateway, "/spend/tags?start_date=9999-12-31", manager.secret) == []
        assert len(get(gateway, "/spend/tags?start_date=0001-01-01&end_date=9999-12-31", manager.secret)) == 2


class TestWhenUsed:
    def test_a_key_shows_when_it_was_used_last(self, gateway: Gateway, alice: Tenant, calls: list[str], manager: Any):
        from billing.key_usage import last_call_at, last_days

        row, organization = usage_rows(alice)[-1], organization_id(alice)
        assert last_call_at(organization, row.key_id) == row.created_at
        assert last_call_at(organization, manager.row.pk) is None
        assert last_days(organization, [row.key_id, manager.row.pk]) == {row.key_id: row.created_at.date()}


class TestEdges:
    """What the wrapper around Django adds to these answers."""

    def test_other_sites_may_read_with_a_key_and_not_with_a_session(self, gateway: Gateway, alice: Tenant):
        for path in ("/api/usage", "/key/info", "/spend/keys", "/api/nothing", "/key/nothing"):
            answer = call(gateway.url, path, alice.key)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers
            with_cookie = call(gateway.url, path, alice.key, headers={"Cookie": "a=b; komilion=x"})
            assert not [name for name in with_cookie.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("path", ["/api/nothing", "/key/nothing", "/spend/nothing", "/key", "/spend"])
    def test_an_unknown_address_is_an_error_in_the_dialect_of_the_path(self, gateway: Gateway, path: str):
        answer = call(gateway.url, path)
        assert answer.status == 404
        assert answer.json["error"]["code"] == (404 if path.startswith("/api") else "not_found")

    def test_an_error_keeps_its_own_words(self, gateway: Gateway, alice: Tenant):
        for path, words in (
            ("/api/usage?limit=0", "limit:"),
            ("/key/info?key=0", "key:"),
            ("/api/generation?id=x", "settled"),
        ):
            assert words in call(gateway.url, path, alice.key).json["error"]["message"]
        refused_body = call(gateway.url, "/api/auth", managing_key(alice).secret, {"nme": "x"})
        assert refused(refused_body, 422) == "invalid_fields"
        assert refused_body.json["error"]["param"] == "nme"

    def test_what_breaks_is_a_500_in_the_one_shape(
        self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
    ):
        def broken(_: bytes) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("accounts.api.authentication.access_asker", broken)
        for path in ("/api/usage", "/key/info"):
            answer = call(gateway.url, path, alice.key)
            assert refused(answer, 500) == "internal_error"
            assert b"Zero" not in answer.body

    def test_every_answer_has_a_request_id(self, gateway: Gateway, alice: Tenant):
        assert call(gateway.url, "/api/usage", alice.key).headers["x-request-id"].startswith("gen-")


class TestAtOnce:
    """Running servers hear of a change within a second; the next hold knows at once."""

    def test_a_rotated_secret_is_refused_and_the_new_one_let_in(self, gateway: Gateway, model: str):
        tenant = gateway.tenant()
        manager = managing_key(tenant)
        assert gateway.chat(Tenant(manager.secret, tenant.email), model).status == 200
        rotated = call(gateway.url, f"/api/auth/{manager.row.pk}/rotate", manager.secret, {})
        assert rotated.status == 200, rotated.body
        assert gateway.chat(Tenant(manager.secret, tenant.email), model).status == 401
        assert gateway.chat(Tenant(rotated.json["key"], tenant.email), model).status == 200

    def test_a_child_ends_with_its_parent(self, gateway: Gateway, model: str):
        from accounts.actions.keys import do_revoke_key

        tenant = gateway.tenant()
        manager = managing_key(tenant)
        child = call(gateway.url, "/api/auth", manager.secret, {"name": "child"}).json["key"]
        assert gateway.chat(Tenant(child, tenant.email), model).status == 200
        do_revoke_key(manager.row, actor="test")
        assert gateway.chat(Tenant(child, tenant.email), model).status == 401

    def test_calls_of_a_child_count_in_its_parents_limits(self, gateway: Gateway, model: str):
        tenant = gateway.tenant()
        manager = managing_key(tenant, limits={"requests_per_minute": 2})
        children = [
            Tenant(call(gateway.url, "/api/auth", manager.secret, {"name": name}).json["key"], tenant.email)
            for name in ("one", "two", "three")
        ]
        assert [gateway.chat(child, model).status for child in children] == [200, 200, 429]
        assert gateway.chat(tenant, model).status == 200

    def test_a_parents_cap_holds_for_its_children(self, gateway: Gateway, model: str):
        from billing.actions.caps import do_set_caps

        tenant = gateway.tenant()
        manager = managing_key(tenant)
        child = call(gateway.url, "/api/auth", manager.secret, {"name": "child"}).json["key"]
        assert gateway.chat(Tenant(child, tenant.email), model).status == 200
        do_set_caps(organization_id(tenant), manager.row.pk, {"total": 1})
        assert refused(gateway.chat(Tenant(child, tenant.email), model), 402)
        assert gateway.chat(tenant, model).status == 200
