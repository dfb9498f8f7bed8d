"""What the OpenAPI document says of errors and amounts; `komilion.web.rest.openapi` adds the components named here."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

type JsonSchema = dict[str, Any]

ERRORS: Mapping[int, str] = {
    400: "A query parameter is wrong or unknown, or the body is not JSON.",
    401: "The API key is missing, unknown, expired or revoked, and there is no session.",
    402: "The wallet or a cap of the key does not cover the request.",
    403: "The key or the role may not do that, or the organization is suspended.",
    404: "There is no such thing in this organization.",
    405: "The address does not take that method.",
    406: "The Accept header leaves no room for JSON.",
    408: "The body came too slowly, or the provider did not answer in time.",
    409: "It was changed, used or revoked meanwhile, or there are too many.",
    413: "The body is too long.",
    415: "The body is not declared as JSON.",
    422: "A field of the body is missing, unknown or wrong; the message names it.",
    429: "Too many requests; wait for `Retry-After` seconds.",
    500: "Something is wrong on our side.",
    502: "The provider failed.",
    503: "The database or the provider cannot be reached; try again later.",
}
READ = (400, 401, 403, 406, 429, 503)
READ_ONE = (*READ, 404)
WRITE = (*READ, 409, 413, 415, 422)
WRITE_ONE = (*WRITE, 404)


def ref(name: str) -> JsonSchema:
    """A component by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def errors(*statuses: int, dialect: str = "Error") -> dict[int, OpenApiResponse]:
    """Responses of these statuses, in `Error` (under `/api/`) or `OpenAIError`."""
    return {status: OpenApiResponse(ref(dialect), ERRORS[status]) for status in sorted(statuses)}


def answer(schema: JsonSchema, description: str, example: Any) -> OpenApiResponse:
    """A response with an example."""
    return OpenApiResponse(schema, description, [OpenApiExample("example", value=example)])


def thing(properties: Mapping[str, JsonSchema], *optional: str) -> JsonSchema:
    """An object with these properties, all required but the `optional` ones, and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: JsonSchema) -> JsonSchema:
    """The same or null."""
    return {**schema, "type": [schema["type"], "null"]}


def listing(item: JsonSchema) -> JsonSchema:
    """A page of a keyset."""
    return thing({"data": {"type": "array", "items": item}, "next_cursor": nullable(TEXT)})


def money(*names: str, null: bool = False) -> dict[str, JsonSchema]:
    """For each name the exact decimal number `NAME_usd` and the integer `NAME_nano_usd`."""
    return {
        f"{name}_{unit}": nullable(schema) if null else schema
        for name in names
        for unit, schema in (("usd", USD), ("nano_usd", NANO))
    }


TEXT: JsonSchema = {"type": "string"}
FLAG: JsonSchema = {"type": "boolean"}
COUNT: JsonSchema = {"type": "integer"}
MOMENT: JsonSchema = {"type": "string", "format": "date-time"}
USD: JsonSchema = {"type": "number", "description": "US dollars, an exact decimal literal"}
NANO: JsonSchema = {"type": "integer", "description": "nano-USD (10^-9 $)"}
DOLLARS: JsonSchema = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2,9}$", "description": "US dollars"}
