"""When more meetings come than are prepared: who is refused, who is not, and what is asked before any work."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fakes.client import Answer
from tests.routing.books import usage_rows
from tests.stand import Tenant
from tests.voice.meetings.conftest import Meetings, talk
from tests.voice.meetings.jobs import make_job
from tests.voice.uploads.sending import bearer, request
from tests.waiting import wait_until


class Jam:
    """Every decoding begins and stays until `clear`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from voice.meetings import serve
        from voice.threads import Workshop

        self.begun = 0
        self._open = threading.Event()
        decode = serve.recording_of

        def wait_first(*arguments: Any) -> Any:
            self.begun += 1
            assert self._open.wait(30)
            return decode(*arguments)

        monkeypatch.setattr(serve, "recording_of", wait_first)
        monkeypatch.setattr(serve, "_workshop", Workshop("jam", threads=8, waiting=0, each=4))

    def clear(self) -> None:
        self._open.set()


@pytest.fixture
def jam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jam]:
    jam = Jam(monkeypatch)
    yield jam
    jam.clear()


def test_where_too_many_are_prepared_the_next_is_refused_and_chats_go_on(meetings: Meetings, nova: str, jam: Jam):
    gateway = meetings.gateway
    chats = gateway.add_model("ok")
    alice, bob, carol = (gateway.tenant() for _ in range(3))

    def send(who: Tenant) -> Answer:
        return meetings.send(who, talk(), model=nova)

    with ThreadPoolExecutor(8) as senders:
        waiting = [senders.submit(send, alice) for _ in range(4)]
        wait_until(lambda: jam.begun == 4)
        own = send(alice)
        assert (own.status, own.json["error"]["reason"]) == (429, "too_many_parallel_requests")
        waiting += [senders.submit(send, bob) for _ in range(4)]
        wait_until(lambda: jam.begun == 8)
        full = send(carol)
        assert (full.status, full.json["error"]["reason"]) == (503, "unavailable")
        assert own.headers["retry-after"] == full.headers["retry-after"] == "5"
        assert gateway.chat(carol, chats).status == 200
        jam.clear()
        assert [sent.result().status for sent in waiting] == [200] * 8
    assert usage_rows(alice)
    assert meetings.send(carol, talk(), model=nova).status == 200


def test_who_cannot_pay_for_a_second_has_nothing_decoded(meetings: Meetings, nova: str, jam: Jam):
    poor = meetings.gateway.tenant(credit="0.0000001")
    for more in ({}, {"async": "true"}):
        refused = meetings.send(poor, talk(), model=nova, **more)
        assert (refused.status, refused.json["error"]["reason"]) == (402, "insufficient_balance")
    assert jam.begun == 0


def test_who_has_no_room_for_a_job_has_nothing_decoded(meetings: Meetings, nova: str, jam: Jam, settings):
    settings.VOICE_OPEN_JOBS_PER_ORGANIZATION = 1
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert meetings.send(bob, talk(), model=nova).status == 409
    assert jam.begun == 0
    assert request(meetings.gateway, "DELETE", f"/api/voice/jobs/{job_id}", headers=bearer(bob)).status == 200
    jam.clear()
    assert meetings.send(bob, talk(), model=nova).status == 200
