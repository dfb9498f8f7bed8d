"""Uploads in a bucket: what is signed, and what is looked at before a file is used."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db.models import F

from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, PayloadTooLarge, StorageFull, Unavailable, UnsupportedMediaType
from tests.fakes.s3_signature import Signer, by_header, by_query
from tests.people import Api, Person, new_owner

UPLOAD = "/api/voice/upload"
RANGE = re.compile(r"bytes=(\d+)-(\d+)")
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
        self.knows_ranges = True
        self.ranges: list[str] = []
        self.sent = ""  # of the range that is being answered
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, kind, answer = service.answer(self.command, self.path, dict(self.headers.items()), body)
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", service.sent)
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
        if found is None:
            return 404, "application/xml", b""
        wanted = RANGE.fullmatch(headers.get("Range", ""))
        if wanted is None or not self.knows_ranges:
            return 200, found[1], found[0]
        self.ranges.append(wanted[0])
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(found[0]))
        self.sent = f"bytes {start}-{end - 1}/{len(found[0])}"
        return 206, found[1], found[0][start:end]

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


def test_a_file_of_another_size_than_its_ticket_s_is_deleted(where: dict[str, Any], service: Service):
    put(where, b"hello")
    service.objects[next(iter(service.objects))] = b"hello!", "audio/wav"
    with pytest.raises(BadRequest, match="6 bytes and its ticket 5"):
        store().demand_whole(upload_of(where))
    assert service.objects == {}


def test_a_player_gets_its_piece_and_nothing_else_is_copied(where: dict[str, Any], service: Service):
    put(where, b"hello")
    assert store().read(upload_of(where), 1, 3) == b"ell"
    assert service.ranges == ["bytes=1-3"]
    service.knows_ranges = False
    with pytest.raises(Unavailable, match="pieces"):
        store().read(upload_of(where), 1, 3)
    service.objects.clear()
    with pytest.raises(BadRequest, match="not uploaded"):
        store().read(upload_of(where), 1, 3)


def test_what_is_used_once_is_known_to_be_there(where: dict[str, Any], alice: Person):
    from voice.actions.uploads import do_take_in

    put(where, b"hello")
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").json()["complete"] is False
    do_take_in(upload_of(where))
    do_take_in(upload_of(where))
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").json()["complete"] is True


def test_what_is_sent_after_the_deletion_is_deleted_again_until_the_address_ends(
    where: dict[str, Any], service: Service, alice: Person, settings
):
    from voice.actions.uploads import do_sweep_uploads
    from voice.models import Upload

    path = f"{UPLOAD}/{where['audioKey']}"
    assert api(alice)("DELETE", path).status_code == 200
    assert put(where, b"hello") == 200  # nobody can take a signature back
    assert api(alice)("GET", path).status_code == api(alice)("DELETE", path).status_code == 404
    do_sweep_uploads()
    assert service.objects == {}
    put(where, b"hello")
    Upload.objects.update(created_at=F("created_at") - timedelta(hours=7), expires_at=utc_now())
    do_sweep_uploads()
    assert service.objects == {}
    assert not Upload.objects.exists()


def test_who_deletes_without_an_end_has_to_wait(service: Service, alice: Person, settings):
    settings.VOICE_UPLOADS_PER_ORGANIZATION = 1
    for _ in range(10):
        key = ticket(alice, size=5).json()["audioKey"]
        assert api(alice)("DELETE", f"{UPLOAD}/{key}").status_code == 200
    assert ticket(alice, size=5).status_code == 409


def test_a_service_that_refuses_us_is_the_operator_s_trouble_and_not_the_sender_s(
    where: dict[str, Any], alice: Person, settings, caplog: pytest.LogCaptureFixture
):
    put(where, b"hello")
    settings.VOICE_BUCKET_SECRET = "another"
    upload = upload_of(where)
    acts = (
        lambda: store().delete(upload),
        lambda: store().demand_whole(upload),
        lambda: store().read(upload, 0, 5),
        lambda: store().keep(upload, b"hello"),
        lambda: store().opened(upload).__enter__(),
    )
    for number, act in enumerate(acts, start=1):
        with pytest.raises(Unavailable) as refused:
            act()
        assert refused.type is Unavailable
        alarms = [each for each in caplog.records if getattr(each, "alarm", "") == "bucket_refused"]
        assert (len(alarms), alarms[-1].status) == (number, 403)
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").status_code == 503


def test_a_service_that_is_away(where: dict[str, Any], alice: Person, settings):
    settings.VOICE_BUCKET_ENDPOINT = "http://127.0.0.1:9"
    assert api(alice)("GET", f"{UPLOAD}/{where['audioKey']}").status_code == 503
