"""Every row of the endpoint table under every prefix: who gets in, who does not, and in which words."""

from datetime import timedelta

import pytest
from django.utils import timezone

from komilion.common.ids import new_api_key
from tests.fakes.client import PROMPT, Answer, RawCall, call
from tests.fakes.replies import Reply
from tests.routing.answers import PREFIXES, RATE_HEADERS, assert_error, key_of
from tests.routing.books import organization_id
from tests.routing.gates import Gate
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until


def billable_paths() -> list[str]:
    """Each billable row of the table under each of its prefixes."""
    from routing.gateway.endpoints import ENDPOINTS
    from routing.gateway.endpoints import PREFIXES as SERVED

    assert set(SERVED) == set(PREFIXES)
    return [prefix + endpoint.path for endpoint in ENDPOINTS if endpoint.is_billable for prefix in endpoint.prefixes]


BILLABLE = billable_paths()
FLAT = "/api/chat"  # the one that does not stream
COMPARE = "/api/compare"  # the one that takes several models
everywhere = pytest.mark.parametrize("path", BILLABLE)


def asked(path: str, model: str, **body: object) -> dict[str, object]:
    """A request for this model, as the path wants it."""
    return {"models": [model] * 2, **body} if path == COMPARE else {"model": model, **body}


def question(path: str, model: str, **body: object) -> dict[str, object]:
    """Likewise, with a question."""
    return asked(path, model, messages=PROMPT, **body)


class TestUnauthenticated:
    @everywhere
    @pytest.mark.parametrize(
        "key",
        [None, "sk-not-ours", "ck_short", new_api_key()[:-1] + "!", new_api_key(), "ck_" + "\u00e4" * 38],
        ids=["none", "foreign", "short", "checksum", "unknown", "not ascii"],
    )
    def test_no_good_key(self, gateway: Gateway, model: str, path: str, key: str | None):
        headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
        answer = call(gateway.url, path, None, question(path, model), headers)
        assert_error(answer, path, 401, "authentication_error", "invalid_api_key")

    @everywhere
    def test_revoked(self, gateway: Gateway, alice: Tenant, model: str, path: str):
        from accounts.actions.keys import do_revoke_key

        key = key_of(alice)
        assert call(gateway.url, path, key.secret, question(path, model)).status == 200
        do_revoke_key(key.row, actor="test")
        answer = call(gateway.url, path, key.secret, question(path, model))
        assert_error(answer, path, 401, "authentication_error", "invalid_api_key")

    @everywhere
    def test_expired(self, gateway: Gateway, alice: Tenant, model: str, path: str):
        key = key_of(alice, expires_at=timezone.now() - timedelta(seconds=1)).secret
        answer = call(gateway.url, path, key, question(path, model))
        assert_error(answer, path, 401, "authentication_error", "invalid_api_key")

    def test_a_key_expires_while_it_is_cached(self, gateway: Gateway, alice: Tenant, model: str):
        key = key_of(alice, expires_at=timezone.now() + timedelta(seconds=1.2)).secret
        assert call(gateway.url, BILLABLE[0], key, {"model": model, "messages": PROMPT}).status == 200
        assert call(gateway.url, "/v1/models", key).status == 200
        wait_until(lambda: call(gateway.url, "/v1/models", key).status == 401, what="the key to expire")

    @everywhere
    def test_two_that_differ(self, gateway: Gateway, alice: Tenant, model: str, path: str):
        headers = {"x-api-key": key_of(alice).secret}
        answer = call(gateway.url, path, alice.key, question(path, model), headers)
        assert_error(answer, path, 401, "authentication_error", "invalid_api_key")
        assert "two different" in answer.json["error"]["message"]

    def test_the_same_key_twice_is_fine(self, gateway: Gateway, alice: Tenant, model: str):
        headers = {"x-api-key": alice.key, "api-key": alice.key}
        assert call(gateway.url, BILLABLE[0], alice.key, {"model": model, "messages": PROMPT}, headers).status == 200

    def test_a_repeated_header_with_two_keys(self, gateway: Gateway, alice: Tenant, model: str):
        with RawCall(gateway.url, alice.key, model=model) as raw:
            line = f"\r\nAuthorization: Bearer {key_of(alice).secret}\r\nHost".encode()
            raw.send(raw.head.replace(b"\r\nHost", line, 1) + raw.body)
            assert raw.status == 401

    @pytest.mark.parametrize("name", ["Authorization", "x-api-key", "x-litellm-api-key", "api-key"])
    @pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer  {}"])
    def test_where_a_key_may_stand(self, gateway: Gateway, alice: Tenant, model: str, name: str, form: str):
        bare = form if name == "Authorization" else "{}"
        headers = {name: bare.format(alice.key)}
        answer = call(gateway.url, BILLABLE[0], None, {"model": model, "messages": PROMPT}, headers)
        assert answer.status == 200

    def test_cookies_are_never_read(self, gateway: Gateway, alice: Tenant, model: str):
        headers = {"Cookie": f"Authorization=Bearer {alice.key}; x-api-key={alice.key}; sessionid={alice.key}"}
        answer = call(gateway.url, BILLABLE[0], None, {"model": model, "messages": PROMPT}, headers)
        assert answer.status == 401
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("junk", [b"\x00", b"a\x00b"])
    def test_a_nul_in_the_key_is_a_bad_request(self, gateway: Gateway, model: str, junk: bytes):
        with RawCall(gateway.url, None, model=model) as raw:
            line = b"\r\nAuthorization: Bearer ck_" + junk + b"\r\nHost"
            raw.send(raw.head.replace(b"\r\nHost", line, 1) + raw.body)
            assert raw.status in {400, 401}

    @everywhere
    def test_suspended(self, gateway: Gateway, model: str, path: str):
        charlie = gateway.tenant()
        assert call(gateway.url, path, charlie.key, question(path, model)).status == 200
        gateway.suspend(charlie)
        answer = call(gateway.url, path, charlie.key, question(path, model))
        assert_error(answer, path, 403, "permission_error", "organization_suspended")


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "stream"),
        [(path, stream) for path in BILLABLE for stream in (False, True) if not stream or path != FLAT],
    )
    def test_402(self, gateway: Gateway, path: str, stream: bool):
        charlie, model = gateway.tenant(credit="0.00"), gateway.add_model(Reply())
        body = question(path, model, stream=stream)
        answer = call(gateway.url, path, charlie.key, body)
        assert_error(answer, path, 402, "billing_error", "insufficient_balance")
        assert set(RATE_HEADERS) <= set(answer.headers)
        assert gateway.calls_of(model) == []

    @everywhere
    def test_429(self, gateway: Gateway, model: str, path: str):
        """The free tier takes 5 requests a second and 30 a minute."""
        charlie = gateway.tenant(tier="free")
        body = question(path, model)
        answers = [call(gateway.url, path, charlie.key, body) for _ in range(31)]
        refused = next(answer for answer in answers if answer.status != 200)
        assert_error(refused, path, 429, "rate_limit_error", "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1
        assert set(RATE_HEADERS) <= set(refused.headers)
        assert refused.headers["x-ratelimit-limit"] == refused.headers["x-ratelimit-limit-requests"] == "30"

    def test_429_for_too_many_at_once(self, gateway: Gateway):
        from accounts.models import ApiKey

        tenant, gate = gateway.tenant(), Gate()
        ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits={"parallel": 1})
        model = gateway.add_model(gate.script)
        with RawCall(gateway.url, tenant.key, model=model) as raw:
            raw.send()
            gate.wait_for_call()
            answer = gateway.chat(tenant, model)
            gate.open()
            assert raw.status == 200
        assert_error(answer, "/v1", 429, "rate_limit_error", "too_many_parallel_requests")

    def test_429_that_no_waiting_helps(self, gateway: Gateway, model: str):
        from accounts.models import ApiKey

        tenant = gateway.tenant()
        ApiKey.objects.filter(organization_id=organization_id(tenant)).update(limits={"tokens_per_minute": 10})
        answer = gateway.chat(tenant, model)
        assert answer.status == 429
        assert "waiting does not help" in answer.json["error"]["message"]

    @everywhere
    def test_a_model_that_the_key_may_not_call(self, gateway: Gateway, alice: Tenant, model: str, path: str):
        key = key_of(alice, models_allowed=["acme/another"]).secret
        answer = call(gateway.url, path, key, question(path, model))
        assert_error(answer, path, 403, "permission_error", "model_not_allowed")

    @everywhere
    def test_an_unknown_model(self, gateway: Gateway, alice: Tenant, path: str):
        gateway.add_model(name=f"acme/near{path.replace('/', '-')}")
        wrong = f"acme/naer{path.replace('/', '-')}"
        answer = call(gateway.url, path, alice.key, question(path, wrong))
        assert_error(answer, path, 400, "invalid_request_error", "unknown_model")
        assert f"acme/near{path.replace('/', '-')}" in answer.json["error"]["message"]

    def test_a_model_like_no_other(self, gateway: Gateway, alice: Tenant):
        answer = gateway.chat(alice, "\u2603" * 30)
        assert "GET /v1/models" in answer.json["error"]["message"]

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
            ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, "response_format"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]}]},
             "messages"),
        ],
    )  # fmt: skip
    def test_what_the_model_cannot_do(self, gateway: Gateway, alice: Tenant, body: dict, param: str):
        answer = gateway.chat(alice, gateway.add_model(capabilities="reasoning"), **body)
        assert_error(answer, "/v1", 400, "invalid_request_error", "invalid_request")
        assert answer.json["error"]["param"] == param


class TestAnswers:
    @everywhere
    def test_rate_headers_ride_on_every_answer(self, gateway: Gateway, alice: Tenant, model: str, path: str):
        for body in (question(path, model), asked(path, model), asked(path, model, stream=1)):
            answer = call(gateway.url, path, alice.key, body)
            assert set(RATE_HEADERS) <= set(answer.headers)
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")

    @pytest.mark.parametrize("prefix", PREFIXES)
    @pytest.mark.parametrize("origin", ["https://app.example", None])
    def test_any_origin_may_read_without_credentials(self, gateway: Gateway, prefix: str, origin: str | None):
        headers = {"Origin": origin} if origin else {}
        for path in (f"{prefix}/models", f"{prefix}/chat/completions", f"{prefix}/nothing"):
            answer = call(gateway.url, path, headers=headers)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["access-control-expose-headers"] == "*"
            assert "access-control-allow-credentials" not in answer.headers

    @pytest.mark.parametrize("path", [*BILLABLE, "/v1/models", "/v1/nothing"])
    def test_preflight(self, gateway: Gateway, path: str):
        answer = request(gateway, "OPTIONS", path, {"Access-Control-Request-Method": "POST"})
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers

    @everywhere
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_405(self, gateway: Gateway, path: str, method: str):
        answer = request(gateway, method, path)
        assert_error(answer, path, 405, "invalid_request_error", "method_not_allowed")
        assert answer.headers["allow"] == "POST"

    @everywhere
    def test_405_with_a_key_is_counted_like_any_answer(self, gateway: Gateway, path: str):
        bob = gateway.tenant()
        headers = {"Authorization": f"Bearer {bob.key}"}
        left = []
        for _ in range(2):
            answer = request(gateway, "GET", path, headers)
            assert_error(answer, path, 405, "invalid_request_error", "method_not_allowed")
            assert set(RATE_HEADERS) <= set(answer.headers)
            left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
        assert left[1] == left[0] - 1
        headers = {"Authorization": f"Bearer {bob.key[:-1]}!"}
        assert_error(request(gateway, "GET", path, headers), path, 401, "authentication_error", "invalid_api_key")

    @pytest.mark.parametrize("path", [f"{prefix}/nothing/here" for prefix in PREFIXES])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_404(self, gateway: Gateway, path: str, method: str):
        assert_error(request(gateway, method, path), path, 404, "not_found_error", "not_found")

    def test_a_page_that_is_not_there_is_not_rendered_as_an_api_error(self, gateway: Gateway):
        answer = request(gateway, "GET", "/nothing")
        assert answer.status == 404
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-request-id"].startswith("gen-")

    def test_the_request_id_of_the_client_is_kept_but_not_used(self, gateway: Gateway, model: str):
        from tests.routing.books import only_row

        tenant = gateway.tenant()
        headers = {"X-Request-Id": "mine-1", "HTTP-Referer": "https://app.example", "X-Title": "App\u00e9".encode()}
        answer = call(gateway.url, BILLABLE[0], tenant.key, {"model": model, "messages": PROMPT}, headers)
        assert answer.headers["x-request-id"] == answer.json["id"] != "mine-1"
        row = only_row(tenant)
        assert (row.client_request_id, row.request_id) == ("mine-1", answer.json["id"])
        assert (row.app_url, row.app_title) == ("https://app.example", "App\u00e9")

    def test_end_user_and_tags_are_kept(self, gateway: Gateway, model: str):
        from tests.routing.books import only_row

        tenant = gateway.tenant()
        headers = {"x-litellm-customer-id": "customer-7", "x-litellm-tags": "blue, green", "Referer": "https://a.b"}
        body = {"model": model, "messages": PROMPT, "user": "u", "metadata": {"tags": ["red"], "more": "x"}}
        answer = call(gateway.url, BILLABLE[0], tenant.key, body, headers)
        row = only_row(tenant)
        assert (row.end_user, row.tags) == ("customer-7", ["blue", "green", "red"])
        assert row.app_url == "https://a.b"
        assert {"param": "metadata", "action": "dropped"} in answer.json["x_komilion"]["adjusted"]


def request(gateway: Gateway, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """A request of any method, without a body."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()
