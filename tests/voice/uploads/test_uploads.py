"""Uploads over HTTP: the file itself, everything that can be wrong with it, and its end."""

import contextlib
import errno
import os
from datetime import timedelta
from typing import Any

import psutil
import pytest

from tests.stand import Gateway, Tenant
from tests.voice.uploads.sending import (
    HELLO,
    UPLOAD,
    WAV,
    BrokenOff,
    ask_ticket,
    bearer,
    content,
    files,
    request,
    send,
    size,
    state_of,
    ticket,
)
from tests.waiting import wait_until


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


def test_one_that_became_whole_meanwhile_is_not_sent_anew(gateway: Gateway, where: dict, monkeypatch):
    from voice.uploads import receive

    locked = receive.PartialFile

    def after_the_other(key: str) -> Any:
        monkeypatch.setattr(receive, "PartialFile", locked)
        assert send(gateway, where, HELLO).status == 200
        return locked(key)

    monkeypatch.setattr(receive, "PartialFile", after_the_other)
    assert send(gateway, where, b"another").status == 409
    assert content(where) == HELLO


def test_a_file_that_was_given_up_meanwhile_is_not_written_to(gateway: Gateway, where: dict, monkeypatch):
    import fcntl

    from voice.uploads.folder import path_of

    lock = fcntl.flock

    def given_up(file: int, how: int) -> None:
        path_of(where["audioKey"]).unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", given_up)
    assert send(gateway, where, HELLO).status == 409
    monkeypatch.undo()
    assert send(gateway, where, HELLO).status == 200
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


def test_what_is_free_is_looked_at_while_it_comes_as_others_come_too(gateway: Gateway, where: dict, settings):
    broken = BrokenOff(gateway, where, 2 * 2**20, b"x" * 2**20)
    wait_until(lambda: size(where) > 0)
    settings.VOICE_DISK_RESERVE_BYTES = 2**60
    broken.send(b"x" * 2**20)
    assert broken.read().startswith(b"HTTP/1.1 503 ")
    broken.hang_up()
    assert where["audioKey"] not in files()


def test_a_disk_that_fails_otherwise_is_our_fault(gateway: Gateway, where: dict, monkeypatch):
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    assert send(gateway, where, HELLO).status == 500
    assert where["audioKey"] not in files()


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
