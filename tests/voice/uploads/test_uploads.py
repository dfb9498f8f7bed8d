"""Uploads over HTTP: tickets, the file itself, parts, and everything that can be wrong with it."""

import contextlib
import errno
import os

import psutil
import pytest

from tests.fakes.client import call
from tests.stand import Gateway, Tenant
from tests.voice.uploads.sending import UPLOAD, WAV, BrokenOff, ask_ticket, bearer, request, send, ticket
from tests.waiting import wait_until

HELLO = b"RIFF....WAVE hello"


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture(scope="module")
def charlie(gateway: Gateway) -> Tenant:
    return gateway.tenant()


@pytest.fixture
def where(gateway: Gateway, alice: Tenant) -> dict:
    return ticket(gateway, alice)


def state_of(gateway: Gateway, tenant: Tenant, where: dict):
    return call(gateway.url, f"{UPLOAD}/{where['audioKey']}", tenant.key)


def files() -> set[str]:
    from voice.uploads.folder import folder

    return set(os.listdir(folder()))


def content(where: dict) -> bytes:
    from voice.uploads.folder import path_of

    return path_of(where["audioKey"]).read_bytes()


def size(where: dict) -> int:
    from voice.uploads.folder import size_of

    return size_of(where["audioKey"])


# tickets


def test_anonymous(gateway: Gateway):
    assert call(gateway.url, UPLOAD, None, {"filename": "a.wav", "contentType": WAV}).status == 401
    assert request(gateway, "PUT", "/api/voice/audio/aud_nonsense", b"x").status == 404
    assert request(gateway, "HEAD", "/api/voice/audio/").status == 404


def test_a_ticket_says_where_to_and_how(gateway: Gateway, alice: Tenant):
    answer = ask_ticket(gateway, alice, contentType="Audio/WebM; codecs=opus")
    body = answer.json
    assert answer.status == 201
    assert set(body) == {"uploadUrl", "audioKey", "expiresAt", "maxBytes", "method", "headers"}
    assert body["maxBytes"] == 500_000_000
    assert body["headers"] == {"Content-Type": "audio/webm;codecs=opus"}
    assert body["audioKey"] in body["uploadUrl"]
    assert body["expiresAt"].endswith("Z")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "..",
        "a/b.wav",
        "a\\b.wav",
        "/etc/passwd",
        "",
        "  ",
        ".",
        "a\x00.wav",
        "a\u202egnp.wav",
        "x" * 201,
    ],
)
def test_a_filename_that_is_more_than_a_name_is_refused(gateway: Gateway, alice: Tenant, name: str):
    answer = ask_ticket(gateway, alice, filename=name)
    assert answer.status == 422
    assert answer.json["error"]["param"] == "filename"


def test_a_name_is_for_display_and_makes_no_path(gateway: Gateway, alice: Tenant):
    where = ticket(gateway, alice, filename="Besprechung \u00e4..b.wav")
    assert send(gateway, where, HELLO).status == 200
    assert state_of(gateway, alice, where).json["filename"] == "Besprechung \u00e4..b.wav"
    assert where["audioKey"] in files()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/html", 415),
        ("application/pdf", 415),
        ("audio", 422),
        ("audio/x\r\nX: 1", 422),
        ("audio/" + "x" * 150, 422),
    ],
)
def test_a_content_type_that_is_no_sound_is_refused(gateway: Gateway, alice: Tenant, kind: str, status: int):
    answer = ask_ticket(gateway, alice, contentType=kind)
    assert answer.status == status
    assert answer.json["error"]["param"] == "contentType"


def test_a_size_beyond_the_limit_is_refused_at_once(gateway: Gateway, alice: Tenant):
    answer = ask_ticket(gateway, alice, size=500_000_001)
    assert answer.status == 413
    assert "500 MB" in answer.json["error"]["message"]


def test_an_organization_has_only_so_many(gateway: Gateway, settings):
    settings.VOICE_UPLOADS_PER_ORGANIZATION = 1
    tenant = gateway.tenant()
    ticket(gateway, tenant)
    assert ask_ticket(gateway, tenant).status == 409


# sending


def test_a_file_is_received_whole(gateway: Gateway, alice: Tenant, where: dict):
    before = state_of(gateway, alice, where).json
    assert (before["complete"], before["receivedBytes"]) == (False, 0)
    answer = send(gateway, where, HELLO)
    assert answer.status == 200
    assert answer.json == {"audioKey": where["audioKey"], "bytes": len(HELLO), "complete": True}
    assert answer.headers["access-control-allow-origin"] == "*"
    after = state_of(gateway, alice, where).json
    assert (after["complete"], after["receivedBytes"]) == (True, len(HELLO))
    assert content(where) == HELLO


def test_a_body_without_a_length_is_received_too(gateway: Gateway, where: dict):
    pieces = [b"x" * 70_000] * 40
    assert send(gateway, where, iter(pieces)).json["bytes"] == 2_800_000
    assert content(where) == b"".join(pieces)


def test_a_browser_may_send_it_from_any_page(gateway: Gateway, where: dict):
    path = where["uploadUrl"].partition("/api/")[2]
    answer = request(gateway, "OPTIONS", f"/api/{path}", headers={"Origin": "https://elsewhere.example"})
    assert answer.status == 204
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"].startswith("*")


@pytest.mark.parametrize("kind", ["audio/mpeg", "text/plain", "", None])
def test_another_content_type_than_the_ticket_s_is_refused(gateway: Gateway, where: dict, kind: str | None):
    answer = send(gateway, where, HELLO, content_type=kind)
    assert answer.status == 415
    assert WAV in answer.json["error"]["message"]
    assert size(where) == 0


def test_the_content_type_is_compared_by_its_meaning(gateway: Gateway, where: dict):
    assert send(gateway, where, HELLO, content_type="Audio/WAV").status == 200


def test_a_file_is_sent_once(gateway: Gateway, where: dict):
    assert send(gateway, where, HELLO).status == 200
    assert send(gateway, where, b"something else").status == 409
    assert content(where) == HELLO


def test_501_mb_are_refused_by_their_length(gateway: Gateway, alice: Tenant, where: dict):
    answer = send(gateway, where, b"", Content_Length=str(501 * 10**6))
    assert answer.status == 413
    assert state_of(gateway, alice, where).status == 404
    assert where["audioKey"] not in files()


def test_a_body_that_goes_on_beyond_the_limit_is_cut_and_deleted(
    gateway: Gateway, alice: Tenant, where: dict, settings
):
    settings.VOICE_UPLOAD_LIMIT_BYTES = 3 * 2**20
    with contextlib.suppress(OSError):  # the server hangs up on who goes on sending
        assert send(gateway, where, iter([b"x" * 2**20] * 64)).status == 413
    assert where["audioKey"] not in files()
    wait_until(lambda: state_of(gateway, alice, where).status == 404)


@pytest.mark.slow
def test_500_mb_come_in_without_being_held_in_memory_and_501_do_not(gateway: Gateway, alice: Tenant):
    whole, above = ticket(gateway, alice), ticket(gateway, alice)
    piece = bytes(10**6)
    held_before = psutil.Process().memory_info().rss
    assert send(gateway, whole, (piece for _ in range(500))).status == 200
    assert size(whole) == 500 * 10**6
    assert psutil.Process().memory_info().rss - held_before < 100 * 10**6
    with contextlib.suppress(OSError):
        assert send(gateway, above, (piece for _ in range(501))).status == 413
    assert above["audioKey"] not in files()
    request(gateway, "DELETE", f"{UPLOAD}/{whole['audioKey']}", headers=bearer(alice))
    assert whole["audioKey"] not in files()


def test_an_organization_has_only_so_much_room(gateway: Gateway, settings):
    settings.VOICE_UPLOADS_PER_ORGANIZATION_BYTES = 100
    tenant = gateway.tenant()
    first, second = ticket(gateway, tenant), ticket(gateway, tenant)
    assert send(gateway, first, b"x" * 80).status == 200
    assert send(gateway, second, b"x" * 21).status == 413
    assert ask_ticket(gateway, tenant, size=21).status == 413
    assert request(gateway, "DELETE", f"{UPLOAD}/{first['audioKey']}", headers=bearer(tenant)).status == 200
    assert send(gateway, ticket(gateway, tenant), b"x" * 100).status == 200


def test_a_disk_without_room_takes_nothing(gateway: Gateway, alice: Tenant, where: dict, settings):
    settings.VOICE_DISK_RESERVE_BYTES = 2**60
    answer = send(gateway, where, HELLO)
    assert (answer.status, answer.json["error"]["reason"]) == (503, "storage_full")
    assert where["audioKey"] not in files()
    settings.VOICE_DISK_RESERVE_BYTES = 0
    assert send(gateway, where, HELLO).status == 200


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(gateway: Gateway, alice, where: dict, monkeypatch):
    written = os.pwrite

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if offset:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(file, data[:10], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    answer = send(gateway, where, HELLO)
    assert (answer.status, answer.json["error"]["reason"]) == (503, "storage_full")
    assert where["audioKey"] not in files()
    monkeypatch.undo()
    assert send(gateway, where, HELLO).status == 200


def test_a_disk_that_fails_otherwise_is_our_fault(gateway: Gateway, where: dict, monkeypatch):
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    assert send(gateway, where, HELLO).status == 500
    assert where["audioKey"] not in files()


# parts


def test_a_file_comes_in_parts(gateway: Gateway, where: dict):
    first = send(gateway, where, HELLO[:5], Content_Range=f"bytes 0-4/{len(HELLO)}")
    assert (first.status, first.headers["range"], first.headers["upload-offset"]) == (308, "bytes=0-4", "5")
    last = send(gateway, where, HELLO[5:], Content_Range=f"bytes 5-{len(HELLO) - 1}/{len(HELLO)}")
    assert (last.status, last.json["complete"]) == (200, True)
    assert content(where) == HELLO


def test_where_to_go_on_is_told(gateway: Gateway, where: dict):
    asked = send(gateway, where, Content_Range="bytes */18")
    assert (asked.status, "range" in asked.headers, asked.json["bytes"]) == (308, False, 0)
    send(gateway, where, HELLO[:5], Content_Range="bytes 0-4/18")
    assert send(gateway, where, Content_Range="bytes */18").headers["range"] == "bytes=0-4"
    head = send(gateway, where, method="HEAD")
    assert (head.status, head.headers["upload-offset"], head.headers["upload-complete"]) == (200, "5", "?0")
    send(gateway, where, HELLO[5:], Content_Range="bytes 5-17/18")
    assert send(gateway, where, Content_Range="bytes */18").status == 200
    assert send(gateway, where, method="HEAD").headers["upload-complete"] == "?1"


@pytest.mark.parametrize("start", [0, 3, 9])
def test_a_part_that_does_not_follow_is_not_taken(gateway: Gateway, where: dict, start: int):
    send(gateway, where, HELLO[:5], Content_Range="bytes 0-4/18")
    answer = send(gateway, where, HELLO[start:], Content_Range=f"bytes {start}-17/18")
    assert (answer.status, answer.headers["range"]) == (308, "bytes=0-4")
    assert size(where) == 5


@pytest.mark.parametrize(
    "text", ["bytes 5-4/18", "bytes 0-18/18", "bytes 0-3/18", "bytes 0-4/*", "0-4/18", "bytes 0-4", "bytes a-b/c"]
)
def test_a_range_that_does_not_fit_is_refused(gateway: Gateway, where: dict, text: str):
    assert send(gateway, where, HELLO[:5], Content_Range=text).status == 400


def test_a_total_beyond_the_limit_is_refused_with_the_first_part(gateway: Gateway, where: dict):
    assert send(gateway, where, b"x", Content_Range=f"bytes 0-0/{501 * 10**6}").status == 413


def test_what_came_before_a_connection_broke_stays(gateway: Gateway, alice: Tenant, where: dict):
    whole = os.urandom(2**20 + 100)
    broken = BrokenOff(gateway, where, len(whole), whole[: 2**20 + 7])
    wait_until(lambda: size(where) >= 2**20)
    broken.hang_up()
    there = wait_until(lambda: state_of(gateway, alice, where).json["receivedBytes"] > 2**20 and size(where))
    missing = f"bytes {there}-{len(whole) - 1}/{len(whole)}"
    answer = wait_until(lambda: not_conflicting(send(gateway, where, whole[there:], Content_Range=missing)))
    assert answer.status == 200
    assert content(where) == whole


def not_conflicting(answer):
    return None if answer.status == 409 else answer


def test_one_request_at_a_time_writes(gateway: Gateway, where: dict):
    broken = BrokenOff(gateway, where, 3 * 2**20, b"x" * 2**20)
    wait_until(lambda: size(where) > 0)
    answer = send(gateway, where, HELLO)
    assert (answer.status, answer.headers["retry-after"]) == (409, "1")
    broken.hang_up()
    assert wait_until(lambda: not_conflicting(send(gateway, where, HELLO))).status == 200
    assert content(where) == HELLO


def test_a_sender_that_stalls_is_sent_away_and_what_came_stays(gateway: Gateway, where: dict, settings):
    settings.VOICE_UPLOAD_STALL_S = 0.2
    broken = BrokenOff(gateway, where, len(HELLO), HELLO[:7])
    assert broken.read().startswith(b"HTTP/1.1 408 ")
    broken.hang_up()
    assert size(where) == 7


# whose


def test_another_tenant_finds_nothing(gateway: Gateway, charlie: Tenant, where: dict):
    for method in ("GET", "DELETE"):
        answer = request(gateway, method, f"{UPLOAD}/{where['audioKey']}", headers=bearer(charlie))
        assert answer.status == 404


def test_a_key_that_nobody_made_is_not_found(gateway: Gateway, alice: Tenant):
    for key in ("aud_" + "x" * 32, "..", "aud_", "x" * 500):
        assert call(gateway.url, f"{UPLOAD}/{key}", alice.key).status == 404


@pytest.mark.parametrize("how", [lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"), lambda url: url + "x"])
def test_a_signature_is_checked(gateway: Gateway, where: dict, how):
    assert send(gateway, {"uploadUrl": how(where["uploadUrl"])}, HELLO).status == 404


def test_a_signature_ends(gateway: Gateway, where: dict, settings):
    settings.VOICE_UPLOAD_URL_LIFETIME_S = -1
    answer = send(gateway, where, HELLO)
    assert answer.status == 403
    assert "over" in answer.json["error"]["message"]


# the end


def test_an_upload_is_deleted_on_request(gateway: Gateway, alice: Tenant, where: dict):
    send(gateway, where, HELLO)
    answer = request(gateway, "DELETE", f"{UPLOAD}/{where['audioKey']}", headers=bearer(alice))
    assert answer.json == {"object": "upload", "audioKey": where["audioKey"], "deleted": True}
    assert where["audioKey"] not in files()
    assert state_of(gateway, alice, where).status == 404
    assert send(gateway, where, HELLO).status == 404


def test_one_that_is_deleted_while_it_comes_leaves_nothing(gateway: Gateway, alice: Tenant, where: dict):
    broken = BrokenOff(gateway, where, 2**20 + 1, b"x" * 2**20)
    wait_until(lambda: size(where) > 0)
    request(gateway, "DELETE", f"{UPLOAD}/{where['audioKey']}", headers=bearer(alice))
    broken.send(b"x")
    assert broken.read().startswith(b"HTTP/1.1 404 ")
    broken.hang_up()
    assert where["audioKey"] not in files()


def test_a_day_later_it_is_deleted(gateway: Gateway, alice: Tenant, where: dict):
    from datetime import timedelta

    from komilion.common.clock import utc_now
    from voice.models import Upload
    from voice.tasks import sweep_uploads
    from voice.uploads.folder import STRAY_AFTER_S, folder, path_of

    other = ticket(gateway, alice)
    send(gateway, where, HELLO)
    send(gateway, other, HELLO)
    Upload.objects.filter(pk=where["audioKey"]).update(expires_at=utc_now() - timedelta(seconds=1))
    stray = path_of("aud_" + "y" * 32)
    stray.write_bytes(b"x")
    scrap = folder() / "tmpkilled"
    scrap.write_bytes(b"x")
    os.utime(scrap, (0, 0))
    young = path_of("aud_" + "z" * 32)
    young.write_bytes(b"x")
    os.utime(stray, (0, utc_now().timestamp() - STRAY_AFTER_S - 60))
    assert send(gateway, where, HELLO).status == 404
    sweep_uploads()
    assert where["audioKey"] not in files()
    assert files().isdisjoint({stray.name, scrap.name})
    assert {other["audioKey"], young.name} <= files()
    assert state_of(gateway, alice, where).status == 404
    young.unlink()
