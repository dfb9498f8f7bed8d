"""The OpenAPI document: sound, whole, without a warning, and true of the running server."""

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from komilion.web.rest.speaking import SPEAKING_SCHEMAS
from tests.fakes.client import call
from tests.stand import Gateway

CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
SEED = "20260301"
EXAMPLES = "15"  # for each operation and phase
JSON = "application/json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    from komilion.web.rest.openapi import document

    return document()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_it_is_made_without_a_warning(capfd: pytest.CaptureFixture[str]):
    from drf_spectacular.drainage import GENERATOR_STATS

    from komilion.web.rest.openapi import document

    document.cache_clear()
    with GENERATOR_STATS.silence():
        document()
        assert not GENERATOR_STATS
    assert capfd.readouterr().err == ""


def test_it_is_sound_by_the_schema_of_openapi(document: dict[str, Any]):
    from drf_spectacular.validation import validate_schema

    validate_schema(document)


def test_every_operation_says_who_may_ask_what_it_takes_and_every_answer(document: dict[str, Any]):
    tags = {tag["name"] for tag in document["tags"]}
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert set(operation["tags"]) <= tags, where
        assert operation["security"], where
        statuses = set(operation["responses"])
        good = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert good, where
        for response in good:
            check_content(response["content"], where)
        assert {"401", "429", "503"} <= statuses, where
        if "requestBody" in operation:
            assert {"413", "415"} <= statuses, where
            assert {"400", "422"} & statuses, where
            check_content(operation["requestBody"]["content"], where)


def check_content(content: dict[str, Any], where: str) -> None:
    """JSON has an example; a form says which of its fields is a file; what is no JSON has a schema all the same."""
    assert content, where
    for media_type, body in content.items():
        assert body["schema"], (where, media_type)
        if media_type == JSON:
            assert "example" in body or "examples" in body, where
        if media_type == "multipart/form-data":
            schema = body["schema"]
            fields = SPEAKING_SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
            assert any(field.get("format") == "binary" for field in fields["properties"].values()), where


def test_the_examples_fit_their_schemas(document: dict[str, Any]):
    import jsonschema

    def check(content: dict[str, Any], where: str) -> None:
        examples = [content["example"]] if "example" in content else []
        examples += [example["value"] for example in content.get("examples", {}).values()]
        for example in examples:
            jsonschema.validate(example, {**content["schema"], "components": document["components"]})
        assert examples, where

    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("2") and JSON in response["content"]:
                check(response["content"][JSON], f"{method} {path} {status}")
        if JSON in operation.get("requestBody", {}).get("content", {}):
            check(operation["requestBody"]["content"][JSON], f"{method} {path} request")


def test_every_endpoint_of_the_gateway_is_in_it(document: dict[str, Any]):
    """But for the addresses of uploads, which are signed and given out whole by the ticket that names their method."""
    from routing.gateway.endpoints import ENDPOINTS
    from voice.endpoints import VOICE_ENDPOINTS

    table = [endpoint for endpoint in (*ENDPOINTS, *VOICE_ENDPOINTS) if endpoint.paths[0] != "/api/voice/audio/*"]
    wanted = {endpoint.paths[0].replace("/*", "/{model_id}"): endpoint.method for endpoint in table}
    missing = {path for path, method in wanted.items() if method.lower() not in document["paths"].get(path, {})}
    assert missing == set()


def test_every_management_view_is_in_it(document: dict[str, Any]):
    from django.urls import get_resolver
    from rest_framework.schemas.generators import EndpointEnumerator

    paths = {path for path, _, _ in EndpointEnumerator(get_resolver().url_patterns).get_api_endpoints()}
    assert paths
    assert {path for path in paths if path not in document["paths"]} == set()


def test_anybody_may_read_it_and_see_the_explorer(gateway: Gateway):
    answer = call(gateway.url, "/api/schema")
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")
    assert call(gateway.url, "/api/schema", headers={"Accept": "application/vnd.oai.openapi+json"}).status == 200
    page = call(gateway.url, "/api/docs")
    assert page.status == 200
    assert "unsafe" not in page.headers["content-security-policy"]
    assert b"<script>" not in page.body


@pytest.mark.slow
def test_the_explorer_works_under_our_policy_and_for_everybody(gateway: Gateway, document: dict[str, Any]):
    """What the content security policy refuses is a fault of the visit; Swagger UI's own parts are looked at too."""
    from tests.e2e.browser import SCHEMES, WIDTHS, browser

    with browser(gateway.url) as running:
        for width, scheme in product(WIDTHS, SCHEMES):
            with running.person(width=width, scheme=scheme) as person:
                visit = person.visit("/api/docs")
                visit.page.wait_for_selector(".opblock")
                assert visit.page.locator(".opblock").count() == len(operations(document))
                visit.check()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_answers_as_the_document_says(gateway: Gateway, tmp_path: Path):
    """schemathesis: examples, edge cases and random requests against every operation."""
    from tests.komilion.test_rest_usage import managing_key

    tenant = gateway.tenant()
    model = gateway.add_model()
    assert gateway.chat(tenant, model).status == 200
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/api/schema"),
            *("--header", f"Authorization: Bearer {managing_key(tenant).secret}"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
