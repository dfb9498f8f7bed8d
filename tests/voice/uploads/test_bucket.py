"""Uploads in a bucket: what is signed, and what is looked at before a file is used."""

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from komilion.common.errors import BadRequest, PayloadTooLarge, StorageFull, Unavailable, UnsupportedMediaType
from tests.fakes.s3_signature import Signer, by_header, by_query
from tests.people import Api, Person, new_owner

UPLOAD = "/api/voice/upload"
REGION, KEY_ID, SECRET = "auto", "AKIDEXAMPLE", "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"


def test_the_judge_agrees_with_the_example_of_the_specification():
    """Signature Version 4, "Authenticating Requests: Using Query Parameters", the example of GET."""
    signer = Signer("us-east-1", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    target = (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=unknown"
    )
    signature = by_query(signer, "GET", target, {"host": "examplebucket.s3.amazonaws.com"})
    assert signature == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


class Service:
    """A bucket that checks what it is asked with, as S3 does: the signature over what came, nothing else."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.is_full = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, kind, answer = service.answer(self.command, self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_PUT = do_HEAD = do_DELETE = _serve

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        path, _, _ = target.partition("?")
        if not self._is_signed(method, target, {name.lower(): value for name, value in headers.items()}):
            return 403, "application/xml", b"<Code>SignatureDoesNotMatch</Code>"
        if method == "PUT":
            if self.is_full:
                return 507, "application/xml", b""
            self.objects[path] = body, headers["Content-Type"]
            return 200, "application/xml", b""
        if method == "DELETE":
            self.objects.pop(path, None)
            return 204, "application/xml", b""
        found = self.objects.get(path)
        return (404, "application/xml", b"") if found is None else (200, found[1], found[0])

    def _is_signed(self, method: str, target: str, headers: dict[str, str]) -> bool:
        signer = Signer(REGION, KEY_ID, SECRET)
        expected = by_query(signer, method, target, headers)
        if expected is not None:
            return f"X-Amz-Signature={expected}" in target
        return headers["authorization"].endswith(f"Signature={by_header(signer, method, target, headers)}")


@pytest.fixture
def service(settings) -> Iterator[Service]:
    with closing(Service()) as running:
        settings.VOICE_BUCKET = "calls"
        settings.VOICE_BUCKET_ENDPOINT = running.endpoint
        settings.VOICE_BUCKET_REGION = REGION
        settings.VOICE_BUCKET_KEY_ID = KEY_ID
        settings.VOICE_BUCKET_SECRET = SECRET
        yield running


@pytest.fixture
def alice(db) -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def where(service: Service, alice: Person) -> dict[str, Any]:
    return ticket(alice, size=5).json()


def api(person: Person) -> Api:
    return Api(person.key().secret)


def ticket(person: Person, **more: Any) -> Any:
    return api(person)("POST", UPLOAD, {"filename": "a.wav", "contentType": "audio/wav", **more})


def put(where: dict[str, Any], body: bytes, **headers: str) -> int:
    import http.client

    parts = urlsplit(where["uploadUrl"])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    sent = {**where["headers"], **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("PUT", f"{parts.path}?{parts.query}", body, sent)
    status = connection.getresponse().status
    connection.close()
    return status


def upload_of(where: dict[str, Any]):
    from voice.models import Upload

    return Upload.objects.get(pk=where["audioKey"])


def store():
    from voice.uploads.store import store

    return store()


def test_the_size_must_be_told(service: Service, alice: Person):
    answer = ticket(alice)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "size"


def test_the_address_is_signed_for_object_media_type_and_size(where: dict[str, Any], alice: Person, service: Service):
    assert where["headers"] == {"Content-Type": "audio/wav", "Content-Length": "5"}
    assert f"/calls/audio/{alice.organization_id}/{where['audioKey']}?" in where["uploadUrl"]
    assert put(where, b"hello", Content_Type="audio/mpeg") == 403
    assert put(where, b"hello!", Content_Length="6") == 403
    assert service.objects == {}
    assert put(where, b"hello") == 200


def test_it_is_looked_at_before_it_is_used(where: dict[str, Any], service: Service, alice: Person, settings):
    with pytest.raises(BadRequest, match="not uploaded"):
        store().demand_whole(upload_of(where))
    put(where, b"hello")
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").json()["receivedBytes"] == 5
    assert store().demand_whole(upload_of(where)) == 5
    with store().opened(upload_of(where)) as path:
        assert path.read_bytes() == b"hello"
    path_in_bucket = next(iter(service.objects))
    service.objects[path_in_bucket] = b"hello", "text/html"
    with pytest.raises(UnsupportedMediaType):
        store().demand_whole(upload_of(where))
    assert service.objects == {}
    put(where, b"hello")
    settings.VOICE_UPLOAD_LIMIT_BYTES = 4
    with pytest.raises(PayloadTooLarge):
        store().demand_whole(upload_of(where))
    assert service.objects == {}
    with pytest.raises(BadRequest), store().opened(upload_of(where)):
        pass


def test_what_we_send_ourselves(where: dict[str, Any], service: Service):
    store().keep(upload_of(where), b"hello")
    assert store().demand_whole(upload_of(where)) == 5
    service.is_full = True
    with pytest.raises(StorageFull):
        store().keep(upload_of(where), b"hello")


def test_the_object_goes_with_the_upload(where: dict[str, Any], service: Service, alice: Person):
    put(where, b"hello")
    assert api(alice)("DELETE", f"{UPLOAD}/{where['audioKey']}").status_code == 200
    assert service.objects == {}


def test_a_service_that_refuses_us_or_is_away(where: dict[str, Any], alice: Person, settings):
    settings.VOICE_BUCKET_SECRET = "another"
    with pytest.raises(Unavailable):
        store().delete(upload_of(where))
    settings.VOICE_BUCKET_ENDPOINT = "http://127.0.0.1:9"
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").status_code == 503
