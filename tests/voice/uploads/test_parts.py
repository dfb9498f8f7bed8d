"""Uploads in parts, of lines that break and of senders that meet."""

import os

import pytest

from tests.stand import Gateway, Tenant
from tests.voice.uploads.sending import (
    HELLO,
    UPLOAD,
    BrokenOff,
    bearer,
    content,
    not_conflicting,
    request,
    send,
    size,
    state_of,
    ticket,
)
from tests.waiting import wait_until


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


def test_where_the_organization_has_no_room_what_came_stays_until_there_is(gateway: Gateway, settings):
    bob = gateway.tenant()
    first, second = ticket(gateway, bob), ticket(gateway, bob)
    assert send(gateway, first, HELLO).status == 200
    assert send(gateway, second, HELLO[:5], Content_Range="bytes 0-4/18").status == 308
    settings.VOICE_UPLOADS_PER_ORGANIZATION_BYTES = 20
    rest = {"Content_Range": "bytes 5-17/18"}
    refused = send(gateway, second, HELLO[5:], **rest)
    assert (refused.status, refused.json["error"]["reason"]) == (413, "payload_too_large")
    assert size(second) == 5
    request(gateway, "DELETE", f"{UPLOAD}/{first['audioKey']}", headers=bearer(bob))
    assert send(gateway, second, HELLO[5:], **rest).status == 200
    assert content(second) == HELLO


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("bytes 5-18/18", "Content-Range is no part of a file of 18 bytes: bytes 5-18/18."),
        ("bytes 0-5/18", "Content-Range names 6 bytes, and the body has 5."),
    ],
)
def test_a_part_that_does_not_fit_is_told_why(gateway: Gateway, where: dict, part: str, said: str) -> None:
    refused = send(gateway, where, HELLO[:5], Content_Range=part)
    assert (refused.status, refused.json["error"]["message"]) == (400, said)
