"""What the OpenAPI document has beyond the management views: the gateway's endpoints, errors, and who may ask."""

from functools import cache
from typing import Any, override

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator

from accounts.api.documented import TEXT, JsonSchema, nullable, thing
from advisor.api import documented as documented_advisor
from advisor.api.urls import urlpatterns as advisor_urls
from billing.api import documented, documented_usage
from billing.api.urls import urlpatterns as billing_urls
from komilion.common.errors import OPENAI_CODES
from komilion.web.rest.comparing import COMPARE_PATHS, COMPARE_SCHEMAS
from komilion.web.rest.inference import INFERENCE_PATHS, INFERENCE_SCHEMAS
from komilion.web.rest.speaking import SPEAKING_PATHS, SPEAKING_SCHEMAS
from routing.api import documented as documented_routing
from routing.api.urls import urlpatterns as routing_urls
from voice.api import documented as documented_voice
from voice.api.urls import urlpatterns as voice_urls

TAGS = [
    {"name": "advisor", "description": "What the organization could do better, and what it answered."},
    {
        "name": "inference",
        "description": "What OpenAI's clients call; also under `/api`, `/api/v1` and `/api/gateway`.",
    },
    {"name": "keys", "description": "API keys: make, list, change, rotate, revoke."},
    {"name": "routing", "description": "Which model answers which task type, and what was thought of answers."},
    {"name": "usage", "description": "What was called and what it cost, request by request and in sums."},
    {"name": "voice", "description": "What is heard and spoken: speech both ways, meetings, uploads, conversations."},
    {"name": "wallet", "description": "Credit: what there is, what was bought and used."},
]
KINDS = [
    *("invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error"),
    *("timeout_error", "conflict_error", "rate_limit_error", "api_error", "provider_error", "service_unavailable"),
]
REASON: JsonSchema = {"type": "string", "description": "stable; see the table of errors in the documentation"}


def _error(code: JsonSchema, *optional: str) -> JsonSchema:
    inner = {
        "message": TEXT,
        "type": {"type": "string", "enum": KINDS},
        "param": nullable(TEXT),
        "code": code,
        "reason": REASON,
    }
    return {"type": "object", "properties": {"error": thing(inner, *optional)}, "required": ["error"]}


ERROR_SCHEMAS: dict[str, JsonSchema] = {
    "Error": _error({"type": "integer", "description": "the HTTP status"}, "param"),
    "OpenAIError": _error(
        {"type": "string", "description": f"the reason, but {OPENAI_CODES} as OpenAI's clients expect"}
    ),
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the document names `KeyAuthentication`."""

    target_class = "accounts.api.authentication.KeyAuthentication"
    name = "apiKey"

    @override
    def get_security_definition(self, auto_schema: Any) -> JsonSchema:
        """An API key as a bearer token."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "ck_...",
            "description": "An API key. `x-api-key`, `x-litellm-api-key` and `api-key` take it too.",
        }


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the document names `SessionTokenAuthentication`."""

    target_class = "accounts.api.authentication.SessionTokenAuthentication"
    name = "sessionToken"

    @override
    def get_security_definition(self, auto_schema: Any) -> JsonSchema:
        """Likewise a bearer token."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "cs_...",
            "description": "A token of the playground, for a person, valid for a quarter of an hour.",
        }


class PersonScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the document names `PersonAuthentication`."""

    target_class = "accounts.api.authentication.PersonAuthentication"
    name = "session"

    @override
    def get_security_definition(self, auto_schema: Any) -> JsonSchema:
        """The session cookie; changes also need the CSRF token and an Origin of ours."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "komilion",
            "description": "The session of our pages. Changes also need `X-CSRFToken` and a same-origin `Origin`.",
        }


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document: the management views, and what `complete` adds. Made once, as anybody may ask for it."""
    generator = SchemaGenerator(patterns=[*billing_urls, *routing_urls, *voice_urls, *advisor_urls])  # type: ignore[no-untyped-call]
    found: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return found


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """The post-processing hook of drf-spectacular: the document with everything in it."""
    result["tags"] = TAGS
    result["servers"] = [{"url": "/"}]
    schemas = result["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema["additionalProperties"] = False  # accounts.api.base.Strict
    by_hand = (
        documented.COMPONENTS,
        documented_usage.COMPONENTS,
        documented_routing.COMPONENTS,
        documented_voice.COMPONENTS,
        documented_advisor.COMPONENTS,
    )
    for components in (ERROR_SCHEMAS, INFERENCE_SCHEMAS, COMPARE_SCHEMAS, SPEAKING_SCHEMAS, *by_hand):
        schemas.update(components)
    result["paths"] = {**INFERENCE_PATHS, **COMPARE_PATHS, **SPEAKING_PATHS, **result["paths"]}
    return result
