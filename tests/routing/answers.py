"""What all answers of the gateway have in common, and more keys to ask with."""

from tests.fakes.client import Answer
from tests.routing.books import organization_id
from tests.stand import Tenant

PREFIXES = ("/v1", "/api", "/api/v1", "/api/gateway")
RATE_HEADERS = [
    *("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
]


def assert_error(answer: Answer, path: str, status: int, kind: str, reason: str) -> None:
    """The one shape of errors, in the dialect of the path."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == answer.headers["x-generation-id"]
    assert answer.headers["x-request-id"].startswith("gen-")
    error = answer.json["error"]
    assert (error["type"], error["reason"]) == (kind, reason)
    assert error["message"]
    if path.startswith("/api/"):
        assert error["code"] == status
    else:
        assert isinstance(error["code"], str)
        assert "param" in error


def key_of(tenant: Tenant, **options: object):
    """Another key of the tenant's, and its row."""
    from accounts.actions.keys import do_create_key
    from accounts.models import Membership

    membership = Membership.objects.get(organization_id=organization_id(tenant))
    return do_create_key(membership, "another", actor="test", **options)
