"""`/health*`: alive, ready, degraded or not ready, and why."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.db import OperationalError

from komilion.common.clock import utc_now
from komilion.env import free_port
from tests.fakes.client import Answer, call
from tests.routing.servers import second_server
from tests.services.valkey import ValkeyServer
from tests.stand import Gateway
from tests.waiting import wait_until


def readiness(url: str) -> Answer:
    """What `/health/readiness` says."""
    return call(url, "/health/readiness")


@pytest.fixture(autouse=True)
def _no_jobs(gateway: Gateway) -> None:
    """What other tests left in the queue would be told here."""
    from voice.models import TranscriptionJob

    TranscriptionJob.objects.all().delete()


@contextmanager
def model_server(status: int) -> Iterator[str]:
    """A local model server whose health is `status`; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_liveliness(gateway: Gateway):
    answer = call(gateway.url, "/health/liveliness")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert answer.headers["x-request-id"].startswith("gen-")


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/readiness", "/health/readiness/"])
def test_ready(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert set(answer.json["checks"].values()) == {"ok"}


def test_another_method(gateway: Gateway):
    answer = call(gateway.url, "/health/readiness", body={})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_redis_away_is_degraded(gateway: Gateway, settings: object, valkey_server: ValkeyServer):
    settings.REDIS_URL = valkey_server.url
    with second_server() as server:
        assert readiness(server.url).json["status"] == "ok"
        valkey_server.kill()
        wait_until(lambda: readiness(server.url).json["status"] == "degraded", what="the loss to be noticed")
        answer = readiness(server.url)
        assert answer.status == 200
        assert answer.json["checks"]["redis"] == "degraded"


def test_the_database_away_is_not_ready(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    class Away:
        def cursor(self) -> None:
            raise OperationalError

        def close(self) -> None:
            pass

    monkeypatch.setattr("komilion.health.connection", Away())
    answer = readiness(gateway.url)
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    assert answer.json["checks"]["database"] == "cannot be reached"


def test_settlements_in_the_journal_are_not_ready(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from billing.ledger.committer import Committer

    monkeypatch.setattr(Committer, "is_accepting", False)
    answer = readiness(gateway.url)
    assert answer.status == 503
    assert answer.json["checks"]["ledger"] == "settlements wait in the journal"


def test_jobs_that_no_worker_takes_are_told_and_keep_no_traffic_away(gateway: Gateway):
    from accounts.models import Organization
    from tests.routing.books import organization_id
    from voice.actions.jobs import NewJob, do_make_job, do_offer_jobs, do_take_job
    from voice.meetings.options import MeetingOptions
    from voice.models import TranscriptionJob

    def told() -> tuple[int, str, str]:
        answer = readiness(gateway.url)
        return answer.status, answer.json["status"], answer.json["checks"]["jobs"]

    organization = Organization.objects.get(pk=organization_id(gateway.tenant()))
    jobs = [do_make_job(NewJob(organization.pk, None, None, MeetingOptions())) for _ in range(2)]
    do_offer_jobs()
    assert told() == (200, "ok", "ok")
    waiting_since = utc_now() - timedelta(minutes=3)
    TranscriptionJob.objects.filter(pk__in=[job.pk for job in jobs]).update(created_at=waiting_since)
    assert told() == (200, "degraded", "no worker takes those that wait")
    assert do_take_job(jobs[0].pk, "worker-1") is not None
    assert told() == (200, "ok", "ok")


class TestUnderASupervisor:
    @pytest.fixture(autouse=True)
    def _marker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.marker = tmp_path / "ready"
        self.marker.touch()
        monkeypatch.setenv("KOMILION_READY_FILE", str(self.marker))

    def test_ready_when_the_models_and_the_start_are_done(self, gateway: Gateway, settings: object):
        with model_server(200) as settings.LOCAL_MODELS_URL:
            assert readiness(gateway.url).status == 200

    def test_not_ready_while_it_starts(self, gateway: Gateway, settings: object):
        self.marker.unlink()
        with model_server(200) as settings.LOCAL_MODELS_URL:
            answer = readiness(gateway.url)
        assert (answer.status, answer.json["checks"]["startup"]) == (503, "starting")

    def test_degraded_while_the_model_loads(self, gateway: Gateway, settings: object):
        with model_server(503) as settings.LOCAL_MODELS_URL:
            answer = readiness(gateway.url)
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert answer.json["checks"]["local_models"] == "loading"

    def test_degraded_without_the_model_server(self, gateway: Gateway, settings: object):
        settings.LOCAL_MODELS_URL = f"http://127.0.0.1:{free_port()}/v1"
        answer = readiness(gateway.url)
        assert (answer.status, answer.json["status"]) == (200, "degraded")
        assert answer.json["checks"]["local_models"] == "cannot be reached"
