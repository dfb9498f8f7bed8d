"""Keys by the REST API: who may make them, what they may be given, and what becomes of them."""

from typing import Any

import pytest

from accounts.actions.members import do_change_role
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def charlie() -> Person:
    return new_owner("charlie@example.com")


@pytest.fixture
def api(alice: Person) -> Api:
    """Alice's session."""
    return Api(browser=alice.browser)


def error_of(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["code"] == status
    return error


class TestMaking:
    def test_a_key_is_shown_once(self, api: Api):
        made = api("POST", "/api/auth", {"name": "batch", "expires_in": 3600, "caps": {"day": "1.00"}})
        assert made.status_code == 201, made.content
        assert made["cache-control"] == "no-store"
        body = made.json()
        assert body["key"].startswith("ck_")
        assert (body["state"], body["manage"], body["models"], body["parent_id"]) == ("active", False, None, None)
        assert body["caps"] == {"day": "1.00"}
        assert b'"limit_usd":1.00,"limit_nano_usd":1000000000,"used_usd":0.00,"used_nano_usd":0' in made.content
        listed = api("GET", "/api/auth").json()
        assert [row["id"] for row in listed["data"]] == [body["id"]]
        assert body["key"] not in str(listed)
        one = api("GET", f"/api/auth/{body['id']}").json()
        assert {**one, "key": body["key"]} == body

    def test_a_key_that_may_not_manage_makes_none(self, alice: Person):
        plain = Api(alice.key().secret)
        for method, path in (("POST", "/api/auth"), ("GET", "/api/auth"), ("DELETE", "/api/auth/1")):
            assert error_of(plain(method, path, {"name": "x"}), 403)["reason"] == "forbidden"

    def test_a_managing_key_manages_while_its_maker_may(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "developer")
        secret = bob.key(can_manage=True).secret
        manager = Api(secret)
        child = manager("POST", "/api/auth", {"name": "child"}).json()["id"]
        alices = alice.key().row.pk

        def answers() -> list[int]:
            return [
                manager("GET", "/api/auth").status_code,
                manager("POST", "/api/auth", {"name": "x"}).status_code,
                manager("PATCH", f"/api/auth/{child}", {"name": "y"}).status_code,
                manager("POST", f"/api/auth/{child}/rotate").status_code,
                manager("GET", f"/api/usage?key={alices}").status_code,
            ]

        for role in ("viewer", "billing"):
            do_change_role(alice.organization_id, bob.membership_id, role, actor=alice.email)
            assert answers() == [403, 403, 403, 403, 404], role
            assert manager("GET", "/api/v1/key").json()["data"]["is_management_key"] is False
            assert manager("GET", "/api/usage").status_code == 200
        assert "its maker lost it" in error_of(manager("DELETE", f"/api/auth/{child}"), 403)["message"]
        do_change_role(alice.organization_id, bob.membership_id, "owner", actor=alice.email)
        assert answers() == [200, 201, 200, 200, 200]

    def test_a_managing_key_gives_no_more_than_it_has(self, alice: Person):
        manager = Api(alice.key(can_manage=True, models_allowed=frozenset({"acme/one"}), caps={"day": DOLLAR}).secret)
        assert error_of(manager("POST", "/api/auth", {"name": "x", "models": ["acme/two"]}), 403)["param"] == "models"
        refused = manager("POST", "/api/auth", {"name": "x", "caps": {"day": "1.01"}})
        assert error_of(refused, 403)["param"] == "caps.day"
        made = manager("POST", "/api/auth", {"name": "x", "caps": {"day": "0.50"}}).json()
        assert made["models"] == ["acme/one"]
        assert made["created_by"] == "alice@example.com"
        ids = [row["id"] for row in manager("GET", "/api/auth").json()["data"]]
        assert made["id"] in ids
        assert len(ids) == 2

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"name": "\u200b"}, "name"),
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 201}, "name"),
            ({"name": "a\x00b"}, "name"),
            ({"name": ["x"]}, "name"),
            ({"name": "x", "nme": 1}, "nme"),
            ({"name": "x", "expires_in": 0}, "expires_in"),
            ({"name": "x", "expires_in": "soon"}, "expires_in"),
            ({"name": "x", "expires_in": 10**30}, "expires_in"),
            ({"name": "x", "models": []}, "models"),
            ({"name": "x", "models": "acme/one"}, "models"),
            ({"name": "x", "caps": {"day": "-1"}}, "caps.day"),
            ({"name": "x", "caps": {"day": "1e3"}}, "caps.day"),
            ({"name": "x", "caps": {"day": "0.0000000001"}}, "caps.day"),
            ({"name": "x", "caps": {"day": True}}, "caps.day"),
            ({"name": "x", "caps": {"week": "1.00"}}, "week"),
            ({"name": "x", "caps": 5}, "caps"),
            ({"name": "x", "limits": {"requests": 5}}, "requests"),
            ({"name": "x", "limits": {"parallel": 33}}, "limits.parallel"),
            ({"name": "x", "limits": {"parallel": 10**40}}, "limits.parallel"),
            ({"name": "x", "manage": "perhaps"}, "manage"),
        ],
    )
    def test_a_wrong_field_is_named(self, api: Api, body: dict[str, Any], param: str):
        error = error_of(api("POST", "/api/auth", body), 422)
        assert (error["type"], error["reason"]) == ("invalid_request_error", "invalid_fields")
        assert error["param"] == param
        assert error["message"]

    def test_a_body_that_is_no_object(self, api: Api):
        for body in ([], "x", 5, None):
            answer = api("POST", "/api/auth", b"null" if body is None else body)
            assert error_of(answer, 422)["reason"] == "invalid_fields"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"name": "x", "name": "y"}',
            b'{"name": NaN}',
            b'{"name": "\xff"}',
            b"[" * 60_000,
            b'{"expires_in": ' + b"9" * 5_000 + b"}",
        ],
    )
    def test_a_body_that_is_no_json(self, api: Api, body: bytes):
        assert error_of(api("POST", "/api/auth", body), 422 if body == b"" else 400)

    def test_money_may_be_a_number_too_and_stays_exact(self, api: Api):
        made = api("POST", "/api/auth", b'{"name": "x", "caps": {"total": 0.100000001}}')
        assert made.json()["cap_use"]["total"]["limit_nano_usd"] == 100_000_001

    def test_a_body_that_is_too_long(self, api: Api):
        assert error_of(api("POST", "/api/auth", {"name": "x" * 70_000}), 413)["reason"] == "payload_too_large"

    def test_a_body_that_is_no_json_by_its_type(self, alice: Person):
        answer = alice.browser.post("/api/auth", {"name": "x"}, headers={"origin": "http://testserver"})
        assert error_of(answer, 415)["reason"] == "unsupported_media_type"


class TestChanging:
    def test_only_what_the_body_names_is_changed(self, api: Api):
        wanted = {"name": "x", "caps": {"day": "1.00", "month": "9.00"}, "limits": {"parallel": 2}, "expires_in": 60}
        made = api("POST", "/api/auth", wanted).json()
        path = f"/api/auth/{made['id']}"
        changed = api("PATCH", path, {"caps": {"day": "2.00", "month": None}, "expires_in": None}).json()
        assert changed["caps"] == {"day": "2.00"}
        assert (changed["name"], changed["limits"], changed["expires_at"]) == ("x", {"parallel": 2}, None)
        assert api("PATCH", path, {"limits": {}}).json()["limits"] == {}
        assert error_of(api("PATCH", path, {"nme": "x"}), 422)["param"] == "nme"
        assert api("PATCH", path, {}).json()["caps"] == {"day": "2.00"}

    def test_rotation_gives_a_new_secret_and_the_old_one_is_refused(self, alice: Person, api: Api):
        key = alice.key(can_manage=True)
        rotated = api("POST", f"/api/auth/{key.row.pk}/rotate").json()
        assert rotated["id"] == key.row.pk
        assert Api(key.secret)("GET", "/api/auth").status_code == 401
        assert Api(rotated["key"])("GET", "/api/auth").status_code == 200

    def test_revoking_ends_the_key_and_what_it_made(self, alice: Person, api: Api):
        manager = alice.key(can_manage=True)
        child = Api(manager.secret)("POST", "/api/auth", {"name": "child"}).json()
        revoked = api("DELETE", f"/api/auth/{manager.row.pk}")
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        assert Api(child["key"])("GET", "/api/usage").status_code == 401
        assert api("GET", f"/api/auth/{child['id']}").json()["state"] == "revoked"
        again = api("DELETE", f"/api/auth/{manager.row.pk}")
        assert again.json()["revoked_at"] == revoked.json()["revoked_at"]
        assert error_of(api("PATCH", f"/api/auth/{manager.row.pk}", {"name": "y"}), 409)["reason"] == "conflict"

    def test_a_key_cannot_touch_one_that_it_did_not_make(self, alice: Person):
        manager, other = Api(alice.key(can_manage=True).secret), alice.key()
        path = f"/api/auth/{other.row.pk}"
        for method, where in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate")):
            assert error_of(manager(method, where, {"name": "mine"}), 404)["reason"] == "not_found"
        other.row.refresh_from_db()
        assert (other.row.revoked_at, other.row.auth_epoch) == (None, 0)


class TestPages:
    def test_the_list_comes_in_pages_without_gaps(self, alice: Person, api: Api):
        made = [alice.key(f"key {number}").row.pk for number in range(5)]
        seen, cursor = [], ""
        for _ in range(3):
            page = api("GET", f"/api/auth?limit=2{cursor}").json()
            seen += [row["id"] for row in page["data"]]
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == made[::-1]
        assert page["next_cursor"] is None

    @pytest.mark.parametrize(
        ("query", "param"),
        [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"),
         ("cursor=" + "9" * 30, "cursor"), ("page=2", "page"), ("limit=1&limit=2", "limit")],
    )  # fmt: skip
    def test_a_wrong_parameter_is_named(self, api: Api, query: str, param: str):
        error = error_of(api("GET", f"/api/auth?{query}"), 400)
        assert (error["param"], error["reason"]) == (param, "invalid_request")

    def test_parameters_where_there_are_none(self, api: Api, alice: Person):
        assert error_of(api("GET", f"/api/auth/{alice.key().row.pk}?x=1"), 400)["param"] == "x"


class TestKeyInfo:
    def test_a_child_that_is_narrowed_to_no_model_is_not_shown_as_one_with_all(self, alice: Person, api: Api):
        manager = alice.key(can_manage=True, models_allowed=frozenset({"acme/one", "acme/two"}))
        child = Api(manager.secret)("POST", "/api/auth", {"name": "child", "models": ["acme/one"]}).json()
        shown = Api(child["key"])
        assert shown("GET", "/key/info").json()["info"]["models"] == ["acme/one"]
        assert api("PATCH", f"/api/auth/{manager.row.pk}", {"models": ["acme/two"]}).status_code == 200
        assert shown("GET", "/key/info").json()["info"]["models"] == ["no-default-models"]
        assert Api(alice.key().secret)("GET", "/key/info").json()["info"]["models"] == []


class TestTenancy:
    @pytest.mark.parametrize("role", ["owner", "developer", "billing", "viewer"])
    def test_every_role_reads_keys_and_two_change_them(self, alice: Person, role: str):
        bob = Api(browser=new_member("bob@example.com", alice.organization_id, role).browser)
        key = alice.key()
        assert bob("GET", "/api/auth").json()["data"][0]["id"] == key.row.pk
        may = role in {"owner", "developer"}
        assert bob("POST", "/api/auth", {"name": "x"}).status_code == (201 if may else 403)
        assert bob("PATCH", f"/api/auth/{key.row.pk}", {"name": "y"}).status_code == (200 if may else 403)
        assert bob("POST", f"/api/auth/{key.row.pk}/rotate").status_code == (200 if may else 403)
        assert bob("DELETE", f"/api/auth/{key.row.pk}").status_code == (200 if may else 403)

    def test_a_stranger_finds_nothing(self, alice: Person, charlie: Person):
        key = alice.key()
        path = f"/api/auth/{key.row.pk}"
        for stranger in (Api(browser=charlie.browser), Api(charlie.key(can_manage=True).secret)):
            for method, where in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate")):
                assert error_of(stranger(method, where, {"name": "mine"}), 404)["reason"] == "not_found"
            assert key.row.pk not in {row["id"] for row in stranger("GET", "/api/auth").json()["data"]}

    def test_an_id_beyond_all_numbers_is_not_found(self, api: Api):
        assert error_of(api("GET", "/api/auth/" + "9" * 30), 404)
