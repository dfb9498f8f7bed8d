"""Jobs of a test: made, worked on here, looked at; and what they come to."""

from typing import Any

import numpy as np

from komilion.common.clock import utc_now
from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import usage_rows
from tests.stand import Tenant
from tests.voice.meetings.conftest import JOBS, Meetings, talk
from tests.voice.speech.stand import MS_PRICE_NANO
from tests.voice.uploads.sending import send, ticket

TEXT = SpeechReply().text
MINUTE_S = 60
RATE_HZ = 8_000


def charge_of(milliseconds: int) -> int:
    cost = milliseconds * MS_PRICE_NANO
    return cost + -(-cost // 4)


def long_talk(minutes: int, name_of_it: list[bytes] = []) -> bytes:  # noqa: B006 - made once
    """Noise with a second of silence in each half minute."""
    if not name_of_it:
        noise = np.random.default_rng(1).normal(0, 3_000, 30 * MINUTE_S * RATE_HZ).astype("<i2")
        for second in range(25, 30 * MINUTE_S, 30):
            noise[second * RATE_HZ : (second + 1) * RATE_HZ] = 0
        name_of_it.append(noise.tobytes())
    return sounds.wav(name_of_it[0][: minutes * MINUTE_S * RATE_HZ * 2], rate_hz=RATE_HZ)


def uploaded(meetings: Meetings, who: Tenant, audio: bytes) -> str:
    where = ticket(meetings.gateway, who)
    assert send(meetings.gateway, where, audio).status == 200
    return str(where["audioKey"])


def make_job(meetings: Meetings, who: Tenant, audio: bytes | None = None, **fields: Any) -> str:
    """A job that waits; its id."""
    key = uploaded(meetings, who, talk() if audio is None else audio)
    answer = meetings.ask(who, audioKey=key, **{"async": True, "diarize": False, **fields})
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"{JOBS}/{answer.json['id']}"
    assert answer.json["status"] == "queued"
    return str(answer.json["id"])


def work(job_id: str, owner: str = "worker-test") -> bool:
    from voice.meetings.work import work_on

    return work_on(job_id, owner)


def come_due(job_id: str) -> None:
    """A pause is over, or a lease."""
    type(row_of(job_id)).objects.filter(pk=job_id).update(lease_ends_at=utc_now())


def finished(meetings: Meetings, who: Tenant, job_id: str) -> dict[str, Any]:
    """The job, completed."""
    job = meetings.job(who, job_id).json
    assert (job["status"], job["progress"], job["error"]) == ("completed", 100, None), job
    return dict(job)


def row_of(job_id: str) -> Any:
    from voice.models import TranscriptionJob

    return TranscriptionJob.objects.get(pk=job_id)


def charged(who: Tenant) -> int:
    return sum(row.charge_nano for row in usage_rows(who))
