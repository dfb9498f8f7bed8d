"""The recording that a job was made from: it goes with the job, and counts as nobody's upload."""

import pytest

from tests.voice.meetings.conftest import JOBS, Meetings, talk
from tests.voice.meetings.jobs import finished, make_job, row_of, uploaded, work
from tests.voice.uploads.sending import bearer, files, request


def in_a_form(meetings: Meetings, who, **fields) -> str:
    answer = meetings.send(who, talk(), **{"async": "true", **fields})
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def deleted(meetings: Meetings, who, job_id: str) -> bool:
    answer = request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(who))
    return bool(answer.json["deleted"])


@pytest.mark.parametrize("make", [in_a_form, make_job])
def test_a_job_that_is_deleted_takes_its_recording_along(meetings: Meetings, nova: str, make):
    bob = meetings.gateway.tenant()
    job_id = make(meetings, bob, model=nova)
    assert work(job_id)
    key = row_of(job_id).upload_id
    assert key in files()
    assert deleted(meetings, bob, job_id)
    assert key not in files()
    assert request(meetings.gateway, "GET", f"/api/voice/upload/{key}", headers=bearer(bob)).status == 404


def test_a_recording_stays_while_another_job_was_made_from_it(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    key = uploaded(meetings, bob, talk())
    first, second = (meetings.ask(bob, audioKey=key, model=nova, **{"async": True}).json["id"] for _ in range(2))
    assert work(first)
    assert deleted(meetings, bob, first)
    assert work(second)
    finished(meetings, bob, second)
    assert deleted(meetings, bob, second)
    assert key not in files()


def test_a_job_whose_recording_cannot_be_deleted_now_stays_to_be_deleted_again(
    meetings: Meetings, nova: str, monkeypatch
):
    from komilion.common.errors import Unavailable
    from voice.uploads.store import Disk

    bob = meetings.gateway.tenant()
    job_id = in_a_form(meetings, bob, model=nova)
    assert work(job_id)

    def away(self, upload) -> None:
        raise Unavailable("The store of uploads does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "delete", away)
        assert request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(bob)).status == 503
    assert deleted(meetings, bob, job_id)
