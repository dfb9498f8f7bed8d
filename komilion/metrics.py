"""`GET /metrics` in Prometheus' text format: what all processes counted, and the state of money and machinery now.

Who may read it: with METRICS_TOKEN only who sends it (`Authorization: Bearer ...`); without one only this machine, and
nobody where a reverse proxy stands in front, because then every client looks like this machine.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from advisor.monitoring import Labelled, advisor_counts, advisor_state
from billing.monitoring import ledger_state
from komilion.common import metrics
from komilion.common.errors import Forbidden, Unauthenticated
from routing.gateway.exchange import Exchange
from routing.gateway.services import Services
from voice.monitoring import voice_state

BREAKERS_HELP = "1 for each offer that is out of order now; without a model, everything called with that credential."


async def serve_metrics(exchange: Exchange, client_host: str, services: Services) -> None:
    """Answer a scrape. Raises `Unauthenticated` or `Forbidden`."""
    check_access(exchange.header(b"authorization"), client_host)
    body = await asyncio.to_thread(_render, services)
    headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"content-length", b"%d" % len(body))]
    await exchange.start(200, headers)
    await exchange.write(body, last=True)


def check_access(authorization: str, client_host: str) -> None:
    """See above."""
    token = settings.METRICS_TOKEN
    if token:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise Unauthenticated("Send the METRICS_TOKEN as `Authorization: Bearer ...`.")
        return
    if settings.BEHIND_PROXY:
        raise Forbidden("Behind a proxy the metrics need METRICS_TOKEN to be set.")
    if not _is_loopback(client_host):
        raise Forbidden("Without METRICS_TOKEN only this machine may read the metrics.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _render(services: Services) -> bytes:
    return bytes(generate_latest(_Collector(services)))


class _Collector:
    """What `generate_latest` asks: `collect`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """All families."""
        counters, histograms = metrics.read_all()
        for name, metric in metrics.METRICS.items():
            if metric.kind == "counter":
                yield _counter(name, metric, counters)
            else:
                yield _histogram(name, metric, histograms)
        yield from self._state()

    def _state(self) -> Iterable[Metric]:
        services = self._services
        gauges: dict[str, tuple[str, float]] = {
            "komilion_running_calls": ("Calls that run in the process that was asked.", services.active),
            "komilion_open_voice_sessions": (
                "Conversations that are open in the process that was asked.",
                len(services.watchers),
            ),
            "komilion_ledger_accepting": ("1 while new holds are admitted.", int(services.committer.is_accepting)),
            "komilion_limits_degraded": (
                "1 while each process limits its share alone.",
                int(services.limiter.degraded),
            ),
        }
        labelled: dict[str, Labelled] = {}
        try:
            state = ledger_state() | voice_state() | advisor_state()
            labelled = advisor_counts()
            gauges |= {f"komilion_{name}": (text, value) for name, (text, value) in state.items()}
            is_up = 1
        except DatabaseError:
            is_up = 0
        finally:
            connection.close()
        gauges["komilion_database_up"] = ("1 where the database answered this scrape.", is_up)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value=value)
        for name, (text, labels, values) in labelled.items():
            family = GaugeMetricFamily(f"komilion_{name}", text, labels=labels)
            for series, value in values:
                family.add_metric(series, value)
            yield family
        breakers = GaugeMetricFamily("komilion_breaker_open", BREAKERS_HELP, labels=("provider", "model"))
        for provider, model in services.breakers.open_of(services.catalog):
            breakers.add_metric((provider, model), 1)
        yield breakers


def _counter(name: str, metric: metrics.Metric, series: Mapping[metrics.Series, int]) -> Metric:
    family = CounterMetricFamily(name, metric.help, labels=metric.labels)
    for (owner, labels), value in series.items():
        if owner == name:
            family.add_metric(labels, value)
    return family


def _histogram(name: str, metric: metrics.Metric, series: Mapping[metrics.Series, list[float]]) -> Metric:
    family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
    for (owner, labels), values in series.items():
        if owner == name:
            family.add_metric(labels, _cumulated(values), values[-1])
    return family


def _cumulated(values: list[float]) -> list[tuple[str, float]]:
    """Prometheus counts each bucket with all below it."""
    total = 0.0
    buckets = []
    for bound, hits in zip([*map(str, metrics.SECONDS), "+Inf"], values, strict=False):
        total += hits
        buckets.append((bound, total))
    return buckets
