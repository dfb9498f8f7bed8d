"""`/metrics`: what Prometheus reads, who may read it, and that several processes add up."""

import logging
from decimal import Decimal

import httpx
import pytest
from django.test import override_settings
from prometheus_client.parser import text_string_to_metric_families

from komilion.common import metrics
from komilion.common.errors import Forbidden, Unauthenticated
from komilion.common.logging import AlarmCounter
from komilion.metrics import check_access
from tests.stand import Gateway

TOKEN = "a-token-of-at-least-32-characters!"


def samples_of(text: str) -> dict[str, float]:
    """`name{labels}` -> value."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_says_what_the_ledger_holds(gateway: Gateway):
    gateway.tenant(credit="7.00")
    answer = httpx.get(f"{gateway.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    samples = samples_of(answer.text)
    assert samples["komilion_wallets_available_nano_usd[]"] >= 7_000_000_000
    assert samples["komilion_database_up[]"] == 1
    assert samples["komilion_ledger_accepting[]"] == 1


def test_a_post_is_refused(gateway: Gateway):
    answer = httpx.post(f"{gateway.url}/metrics")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_without_a_token_this_machine_may_read(host: str):
    check_access("", host)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1", "", "nonsense"])
def test_without_a_token_nobody_else_may(host: str):
    with pytest.raises(Forbidden):
        check_access("", host)


def test_behind_a_proxy_a_token_is_needed():
    with override_settings(BEHIND_PROXY=True), pytest.raises(Forbidden, match="METRICS_TOKEN"):
        check_access("", "127.0.0.1")


@override_settings(METRICS_TOKEN=TOKEN, BEHIND_PROXY=True)
def test_who_sends_the_token_may_read():
    check_access(f"Bearer {TOKEN}", "192.0.2.7")
    for wrong in ("", TOKEN, f"Bearer {TOKEN}x", "Bearer "):
        with pytest.raises(Unauthenticated):
            check_access(wrong, "127.0.0.1")


def test_the_numbers_of_several_processes_add_up(tmp_path, monkeypatch: pytest.MonkeyPatch):
    with override_settings(DATA_DIR=tmp_path):
        labels = ("acme/sum", "acme", "completed")
        for name in ("1-1", "2-2"):
            monkeypatch.setattr(metrics, "_process_name", lambda name=name: name)
            metrics.count("komilion_calls", labels, 2)
            metrics.observe("komilion_call_seconds", ("acme/sum", "acme"), 0.3)
            metrics.write()
        counters, histograms = metrics.read_all()
    assert counters["komilion_calls", labels] == 2 + 4
    values = histograms["komilion_call_seconds", ("acme/sum", "acme")]
    assert sum(values[:-1]) == 1 + 2
    assert values[-1] == pytest.approx(0.3 + 0.6)


def test_what_can_be_read_is_served_while_the_disk_is_full(gateway: Gateway):
    """A folder that takes no file, and a file that a power cut left empty."""
    folder = metrics.folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0-0.json").write_bytes(b"")
    drafts = folder / f"{metrics._process_name()}.new"
    drafts.mkdir()  # stands where this process would write
    try:
        with pytest.raises(IsADirectoryError):
            metrics.write()
        metrics.count("komilion_jobs", ("a job while the disk is full", "SUCCESS"))
        counters, _ = metrics.read_all()
        assert counters["komilion_jobs", ("a job while the disk is full", "SUCCESS")] == 1
        assert httpx.get(f"{gateway.url}/metrics").status_code == 200
    finally:
        drafts.rmdir()
        (folder / "0-0.json").unlink()


def test_a_duration_beyond_every_bucket_is_counted():
    metrics.observe("komilion_call_seconds", ("acme/slow", "acme"), 1_000.0)
    values = metrics._histograms["komilion_call_seconds", ("acme/slow", "acme")]
    assert values[len(metrics.SECONDS)] == 1


def test_calls_are_counted_as_their_usage_rows_say(gateway: Gateway):
    tenant = gateway.tenant()
    model = gateway.add_model("ok")
    for stream in (False, True):
        assert gateway.chat(tenant, model, stream=stream).status == 200
    charged = Decimal("10.00") - Decimal(gateway.wallet(tenant.email)["paid"])
    samples = samples_of(httpx.get(f"{gateway.url}/metrics").text)
    offer = [("model", model), ("provider", "up")]
    assert samples[f"komilion_calls_total{[*offer[:1], ('outcome', 'completed'), *offer[1:]]}"] == 2
    assert samples[f"komilion_charged_nano_usd_total{offer}"] == charged * 10**9
    assert samples[f"komilion_call_seconds_count{offer}"] == 2
    assert samples[f"komilion_first_content_seconds_count{offer}"] == 1
    assert samples[f"komilion_tokens_total{[('bucket', 'output'), *offer]}"] > 0


def test_refusals_are_counted_by_reason(gateway: Gateway):
    def refusals() -> float:
        series = "komilion_errors_total[('reason', 'invalid_api_key'), ('status', '401')]"
        return samples_of(httpx.get(f"{gateway.url}/metrics").text).get(series, 0)

    before = refusals()
    assert httpx.post(f"{gateway.url}/v1/chat/completions", json={}).status_code == 401
    assert refusals() == before + 1


def test_an_alarm_in_the_log_is_counted():
    def alarms() -> int:
        return metrics._counters["komilion_alarms", ("test_alarm",)]

    record = logging.getLogger("test").makeRecord(
        "test", logging.ERROR, "", 0, "m", (), None, extra={"alarm": "test_alarm"}
    )
    before = alarms()
    AlarmCounter().handle(record)
    AlarmCounter().handle(logging.makeLogRecord({"msg": "no alarm"}))
    assert alarms() == before + 1
