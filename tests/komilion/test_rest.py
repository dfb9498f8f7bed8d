"""What all management endpoints have in common: who gets in, one shape of errors, exact numbers, a limit."""

from typing import Any

import pytest
from django.test import Client

from komilion.common.ids import new_api_key
from tests.people import Api, Person, new_owner

pytestmark = pytest.mark.django_db

READ_BY_ANY_KEY = ["/api/usage", "/api/v1/credits", "/api/v1/key", "/key/info", "/spend/keys", "/api/pins"]
READ_BY_MANAGERS = ["/api/auth", "/spend/tags"]
PATHS = [*READ_BY_ANY_KEY, *READ_BY_MANAGERS, "/api/auth/1", "/api/generation?id=x", "/api/v1/generation?id=x"]


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def error_of(answer: Any, path: str, status: int, reason: str) -> dict[str, Any]:
    """The error in the dialect of the path."""
    assert answer.status_code == status, answer.content
    assert answer["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["reason"] == reason
    assert error["message"]
    if path.startswith("/api/"):
        assert error["code"] == status
    else:
        assert isinstance(error["code"], str)
        assert "param" in error
    return error


class TestKeys:
    @pytest.mark.parametrize("path", PATHS)
    def test_nobody_is_refused(self, path: str):
        error_of(Api()("GET", path), path, 401, "invalid_api_key")

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("secret", ["sk-foreign", "ck_short", new_api_key()], ids=["foreign", "short", "unknown"])
    def test_a_key_that_is_none_is_refused(self, path: str, secret: str):
        error_of(Api(secret)("GET", path), path, 401, "invalid_api_key")

    @pytest.mark.parametrize("path", READ_BY_ANY_KEY)
    def test_any_key_reads_what_is_its_own(self, alice: Person, path: str):
        assert Api(alice.key().secret)("GET", path).status_code == 200

    @pytest.mark.parametrize("path", READ_BY_MANAGERS)
    def test_what_is_about_others_takes_the_right_to_manage(self, alice: Person, path: str):
        error_of(Api(alice.key().secret)("GET", path), path, 403, "forbidden")
        assert Api(alice.key(can_manage=True).secret)("GET", path).status_code == 200

    @pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-litellm-api-key", "api-key"])
    @pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer  {}"])
    def test_where_a_key_may_stand(self, alice: Person, header: str, form: str):
        secret = alice.key().secret
        assert Api()("GET", "/api/usage", **{header: form.format(secret)}).status_code == 200

    def test_two_that_differ_are_refused(self, alice: Person):
        answer = Api(alice.key().secret)("GET", "/api/usage", **{"x-api-key": alice.key().secret})
        assert "two different" in error_of(answer, "/api/usage", 401, "invalid_api_key")["message"]

    def test_a_key_that_is_no_text_is_refused(self):
        error_of(Api("ck_" + "\u00e4" * 38)("GET", "/api/usage"), "/api/usage", 401, "invalid_api_key")

    def test_a_bad_key_is_not_helped_by_a_session(self, alice: Person):
        answer = Api("sk-foreign", browser=alice.browser)("GET", "/api/usage")
        error_of(answer, "/api/usage", 401, "invalid_api_key")

    def test_a_suspended_organization_is_told_so(self, alice: Person):
        from accounts.actions.organizations import do_suspend
        from accounts.models import Organization

        secret = alice.key().secret
        do_suspend(Organization.objects.get(pk=alice.organization_id), actor="test")
        error_of(Api(secret)("GET", "/api/usage"), "/api/usage", 403, "organization_suspended")


class TestSessions:
    """A cookie alone proves that a browser of hers asks, not that she does."""

    @pytest.fixture
    def browser(self, alice: Person) -> Client:
        """Her browser, which checks CSRF tokens like a real one's server."""
        browser = Client(enforce_csrf_checks=True)
        browser.cookies = alice.browser.cookies
        return browser

    def post(self, browser: Client, **headers: str) -> Any:
        return browser.post("/api/auth", b'{"name": "x"}', "application/json", headers=headers)

    def token(self, browser: Client) -> str:
        page = browser.get("/dashboard/keys/new").content.decode()
        return page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]

    @pytest.mark.parametrize("path", ["/api/usage", "/api/auth", "/spend/keys", "/spend/tags", "/api/v1/credits"])
    def test_reading_takes_the_cookie_alone(self, browser: Client, path: str):
        assert browser.get(path).status_code == 200

    @pytest.mark.parametrize(
        "sender", [{"origin": "http://testserver"}, {"referer": "http://testserver/dashboard/keys"}]
    )
    def test_our_own_page_may_change_things(self, browser: Client, sender: dict[str, str]):
        answer = self.post(browser, **{"x-csrftoken": self.token(browser), **sender})
        assert answer.status_code == 201, answer.content

    @pytest.mark.parametrize(
        "sender",
        [
            {},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://testserver.evil.example"},
            {"referer": "https://evil.example/http://testserver/"},
            {"referer": "http://[broken"},
            {"origin": "https://evil.example", "referer": "http://testserver/"},
        ],
    )
    def test_another_page_may_not_even_with_the_token(self, browser: Client, sender: dict[str, str]):
        answer = self.post(browser, **{"x-csrftoken": self.token(browser), **sender})
        assert "own pages" in error_of(answer, "/api/auth", 403, "forbidden")["message"]

    @pytest.mark.parametrize("token", [None, "", "x" * 64])
    def test_our_own_page_may_not_without_the_token(self, browser: Client, token: str | None):
        self.token(browser)
        headers = {"origin": "http://testserver"} | ({} if token is None else {"x-csrftoken": token})
        assert "CSRF" in error_of(self.post(browser, **headers), "/api/auth", 403, "forbidden")["message"]

    @pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
    def test_every_changing_method_is_guarded(self, browser: Client, alice: Person, method: str):
        path = "/api/auth" if method == "POST" else f"/api/auth/{alice.key().row.pk}"
        error_of(browser.generic(method, path, b"{}", "application/json"), path, 403, "forbidden")

    def test_a_key_in_the_header_needs_neither(self, browser: Client, alice: Person):
        secret = alice.key(can_manage=True).secret
        assert self.post(browser, authorization=f"Bearer {secret}").status_code == 201

    def test_a_session_has_no_key_of_its_own(self, browser: Client):
        error_of(browser.get("/api/v1/key"), "/api/v1/key", 400, "invalid_request")
        error_of(browser.get("/key/info"), "/key/info", 400, "invalid_request")


class TestErrors:
    @pytest.mark.parametrize("path", ["/api/usage", "/key/info"])
    def test_405_names_what_is_allowed(self, alice: Person, path: str):
        answer = Api(alice.key().secret)("PUT", path)
        error_of(answer, path, 405, "method_not_allowed")
        assert "GET" in answer["allow"]

    @pytest.mark.parametrize("path", ["/api/usage", "/key/info"])
    def test_406_where_json_is_not_wanted(self, alice: Person, path: str):
        error_of(Api(alice.key().secret)("GET", path, accept="text/csv"), path, 406, "not_acceptable")

    @pytest.mark.parametrize("path", ["/api/usage", "/key/info"])
    def test_503_where_the_database_is_gone(self, alice: Person, path: str, monkeypatch: pytest.MonkeyPatch):
        from django.db import OperationalError

        def gone(_: bytes) -> None:
            raise OperationalError("the database is gone: postgres://secret@host")

        monkeypatch.setattr("accounts.api.authentication.access_asker", gone)
        answer = Api(alice.key().secret)("GET", path)
        error_of(answer, path, 503, "ledger_unavailable")
        assert b"postgres" not in answer.content

    def test_what_nobody_foresaw_is_not_hidden_from_the_log(self, alice: Person, monkeypatch: pytest.MonkeyPatch):
        def broken(_: bytes) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("accounts.api.authentication.access_asker", broken)
        with pytest.raises(ZeroDivisionError):
            Api(alice.key().secret)("GET", "/api/usage")

    @pytest.mark.parametrize(
        ("path", "param"),
        [
            ("/api/usage?from=yesterday", "from"),
            ("/api/usage?to=0001-01-01T00:00:00%2B14:00", "to"),
            ("/api/usage?from=9999-12-31T23:59:59-14:00", "from"),
            ("/api/usage?from=1999-12-31", "from"),
            ("/api/usage?cursor=not-ours", "cursor"),
            ("/api/usage?user=a%00b", "user"),
            ("/api/usage?key=x", "key"),
            ("/api/generation", "id"),
            ("/api/generation?id=", "id"),
            ("/api/generation?id=x&id=y", "id"),
            ("/key/info?key=x", "key"),
            ("/spend/tags?start_date=2026-13-01", "start_date"),
            ("/spend/keys?api_key=x", "api_key"),
            ("/api/v1/credits?format=html", "format"),
        ],
    )
    def test_400_names_the_parameter(self, alice: Person, path: str, param: str):
        answer = Api(alice.key(can_manage=True).secret)("GET", path)
        assert error_of(answer, path, 400, "invalid_request")["param"] == param


class TestLimit:
    @pytest.fixture
    def counted(self, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Redis is there, and nobody has asked yet: other tests had the same ids."""
        from komilion.common.redis import PREFIX, shared_client

        monkeypatch.setattr("accounts.api.throttling._Redis.gone_until_s", 0.0)
        client = shared_client(valkey_url)
        for key in client.scan_iter(f"{PREFIX}api:*"):
            client.delete(key)

    def test_a_key_has_so_many_requests_a_minute(self, alice: Person, counted: None, settings):
        settings.API_REQUESTS_PER_MINUTE = 3
        api, other = Api(alice.key().secret), Api(alice.key().secret)
        assert [api("GET", "/api/usage").status_code for _ in range(3)] == [200] * 3
        answer = api("GET", "/key/info")
        error_of(answer, "/key/info", 429, "rate_limited")
        assert 1 <= int(answer["retry-after"]) <= 60
        assert other("GET", "/api/usage").status_code == 200

    def test_a_persons_sessions_count_together(self, alice: Person, counted: None, settings):
        settings.API_REQUESTS_PER_MINUTE = 1
        assert alice.browser.get("/api/usage").status_code == 200
        assert alice.browser.get("/api/usage").status_code == 429

    def test_nothing_is_blocked_while_redis_is_gone(self, alice: Person, settings, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("accounts.api.throttling._Redis.gone_until_s", 0.0)
        settings.REDIS_URL = "unix:///nowhere/valkey.sock"
        settings.API_REQUESTS_PER_MINUTE = 0
        api = Api(alice.key().secret)
        assert [api("GET", "/api/usage").status_code for _ in range(3)] == [200] * 3
