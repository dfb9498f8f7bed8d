"""Counters and histograms of this process: plain numbers in dictionaries, cheap enough for the path of a request.

Several processes serve one installation, and a scrape reaches one of them. So each writes its numbers to a small file
in `DATA_DIR/run/metrics` every few seconds, and `komilion.metrics` adds the files up. A process that is gone leaves its
file behind, or sums would fall; the supervisor clears the folder at its start.
"""

import logging
import os
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from django.conf import settings

from komilion.common.clock import unix_ms

log = logging.getLogger(__name__)

WRITE_EVERY_S = 5.0
MOST_SERIES = 5_000  # labels come from the catalogue and from our own words; this bounds what a mistake could cost
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

type Series = tuple[str, tuple[str, ...]]  # metric, values of its labels in order


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric says, and the names of its labels."""

    kind: Literal["counter", "histogram"]
    help: str
    labels: tuple[str, ...]


METRICS: dict[str, Metric] = {
    "komilion_calls": Metric("counter", "Settled calls.", ("model", "provider", "outcome")),
    "komilion_call_seconds": Metric("histogram", "From the first header to the settled end.", ("model", "provider")),
    "komilion_first_content_seconds": Metric("histogram", "Until the first content came.", ("model", "provider")),
    "komilion_tokens": Metric("counter", "Units used, by bucket.", ("model", "provider", "bucket")),
    "komilion_charged_nano_usd": Metric("counter", "Charged to wallets, our fee included.", ("model", "provider")),
    "komilion_fee_nano_usd": Metric("counter", "The part of it that is our fee.", ("model", "provider")),
    "komilion_errors": Metric("counter", "Requests that were refused or failed.", ("status", "reason")),
    "komilion_attempts": Metric("counter", "Tries of an offer that failed.", ("model", "provider", "reason")),
    "komilion_breakers": Metric("counter", "Breakers that opened and closed.", ("provider", "model", "change")),
    "komilion_pages": Metric("counter", "Pages and REST calls served by Django.", ("status",)),
    "komilion_alarms": Metric("counter", "Log records that somebody should read, by their `alarm`.", ("alarm",)),
    "komilion_webhook_events": Metric("counter", "Events that were posted as Stripe's.", ("outcome",)),
    "komilion_mails": Metric("counter", "E-mails, by whether the mail server took them.", ("outcome",)),
    "komilion_voice_sessions": Metric("counter", "Conversations that ended, by how.", ("code", "reason")),
    "komilion_jobs": Metric("counter", "Jobs that ended.", ("task", "state")),
}

_counters: defaultdict[Series, int] = defaultdict(int)
_histograms: dict[Series, list[float]] = {}  # one count per bucket, one beyond, then the sum


def count(name: str, labels: tuple[str, ...], amount: int = 1) -> None:
    """Add to a counter."""
    series = (name, labels)
    if series not in _counters and len(_counters) >= MOST_SERIES:
        return
    _counters[series] += amount


def observe(name: str, labels: tuple[str, ...], seconds: float) -> None:
    """Add one duration to a histogram."""
    series = (name, labels)
    buckets = _histograms.get(series)
    if buckets is None:
        if len(_histograms) >= MOST_SERIES:
            return
        buckets = _histograms[series] = [0.0] * (len(SECONDS) + 2)
    buckets[bisect_left(SECONDS, seconds)] += 1
    buckets[-1] += seconds


def folder() -> Path:
    """Where the processes of this installation leave their numbers."""
    return settings.DATA_DIR / "run" / "metrics"


def write() -> None:
    """Replace this process' file. Raises `OSError`."""
    target = _file()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_suffix(".new")
    draft.write_bytes(orjson.dumps(_content()))
    draft.replace(target)


def _content() -> dict[str, list[list[Any]]]:
    return {
        "counters": [[name, labels, value] for (name, labels), value in list(_counters.items())],
        "histograms": [[name, labels, values] for (name, labels), values in list(_histograms.items())],
    }


def read_all() -> tuple[dict[Series, int], dict[Series, list[float]]]:
    """Counters and histograms of all processes, added up: ours as they are now, the others' a few seconds old.

    Nothing is written, so that a full disk hides no numbers; a file that cannot be read is left out, with a warning.
    """
    counters: defaultdict[Series, int] = defaultdict(int)
    histograms: dict[Series, list[float]] = {}
    others = (_read(path) for path in sorted(folder().glob("*.json")) if path != _file())
    for content in (_content(), *others):
        for name, labels, value in content["counters"]:
            counters[name, tuple(labels)] += value
        for name, labels, values in content["histograms"]:
            sums = histograms.setdefault((name, tuple(labels)), [0.0] * len(values))
            histograms[name, tuple(labels)] = [a + b for a, b in zip(sums, values, strict=True)]
    return dict(counters), histograms


def _read(path: Path) -> dict[str, list[list[Any]]]:
    try:
        return orjson.loads(path.read_bytes())  # type: ignore[no-any-return]  # as `write` left it
    except (OSError, orjson.JSONDecodeError) as error:
        log.warning("numbers of a process not read", extra={"path": str(path), "error": str(error)})
        return {"counters": [], "histograms": []}


def _file() -> Path:
    return folder() / f"{_process_name()}.json"


_started_ms = unix_ms()


def _process_name() -> str:
    """Unique for each process that ever wrote here, be its pid used again."""
    return f"{os.getpid()}-{_started_ms}"
