"""Twenty clients insist on one Idempotency-Key while the process is killed: one charge, one answer for everybody."""

import http.client
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows, select
from tests.e2e.load import CHAT, PAUSE_S, prompt
from tests.e2e.oracle import price_nano
from tests.e2e.server import ENDED_PROPERLY, Installation, UpstreamProcess, has_ended
from tests.fakes.client import call
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 20
ROUNDS = int(os.environ.get("KOMILION_IDEMPOTENT_CRASHES", "12"))
LONGEST_LIFE_S = 1.2
PATIENCE_S = 60
EMAIL = "again@example.com"
PLACES = (
    *("after-hold-commit", "upstream-head", "before-settle-commit", "after-settle-commit"),
    *("first-byte", "last-byte"),
)
RETRIED = {0, 409, 502, 503}
CALLS = "SELECT idempotency_key, is_finished, request_id FROM billing_idempotentcall"


class Insisting:
    """Clients that repeat one call until each of them has a whole answer."""

    def __init__(self, installation: Installation, key: str, model: str, name: str, *, stream: bool) -> None:
        self._url = installation.url
        self._key = key
        self._headers = {"Idempotency-Key": name}
        self._body = {
            "model": model,
            "messages": [{"role": "user", "content": prompt(name)}],
            "max_tokens": 150,
            "user": name,
            "stream": stream,
        }
        self.name = name
        self.statuses: list[int] = []

    def answer(self, _: int) -> bytes:
        """One client's; the word by which the first answer may differ from its repetitions is made equal."""

        def ask() -> bytes:
            try:
                answer = call(self._url, CHAT, self._key, self._body, self._headers)
            except (OSError, http.client.HTTPException):
                status, body = 0, b""
            else:
                status, body = answer.status, answer.body
            self.statuses.append(status)
            assert status in {200, *RETRIED}, body
            if status != 200:
                threading.Event().wait(PAUSE_S)
                return b""
            return body.replace(b'"settlement":"pending"', b'"settlement":"settled"')

        return wait_until(ask, PATIENCE_S, f"a whole answer to {self.name}")


@contextmanager
def insisting(clients: Insisting) -> Iterator[list[Future[bytes]]]:
    """All of them, at the same time."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield [pool.submit(clients.answer, number) for number in range(CLIENTS)]


@pytest.fixture
def prepared(database: str, install: Install) -> tuple[Installation, str, str]:
    """An installation that is not started yet, a key, and a model that takes a second to answer."""
    installation = install(database)
    model = installation.add_model("cancelling/drip", "cancelling", "drip,frames=12,gap=0.05")
    return installation, installation.tenant(EMAIL, "100.00"), model


def assert_one_answer(answers: list[Future[bytes]], *, stream: bool) -> int:
    """What everybody got; returns the charge it names."""
    (body,) = {future.result() for future in answers}
    if not stream:
        return int(json.loads(body)["x_komilion"]["cost_nano_usd"])
    *_, last, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return int(json.loads(last.removeprefix(b"data: "))["x_komilion"]["cost_nano_usd"])


def assert_one_charge_each(installation: Installation, charges: dict[str, int]) -> None:
    """Every name was charged once, what its answer said; everything else is given back."""
    assert installation.web.terminate() in ENDED_PROPERLY
    installation.manage("holds", "reap")
    rows = LedgerRows.read(installation.database_url)
    assert sorted((row.call_id, row.charge) for row in rows.usage) == sorted(charges.items())
    assert all(row.charge == price_nano(row.usage["input"], row.usage["output"]) for row in rows.usage)
    (wallet,) = rows.wallets.values()
    assert (wallet.held, wallet.debt, wallet.paid) == (0, 0, rows.paid_in - sum(charges.values()))
    finished = {name: request_id for name, is_finished, request_id in select(installation.database_url, CALLS)}
    assert finished == {row.call_id: row.request_id for row in rows.usage}
    installation.manage("ledger", "verify")


def test_killed_at_random_moments(prepared: tuple[Installation, str, str], database: str, upstream: UpstreamProcess):
    installation, key, model = prepared
    random, charges, made_again = Random(database), {}, 0
    installation.start()
    for number in range(ROUNDS):
        stream = bool(number % 2)
        clients = Insisting(installation, key, model, f"random-{number}", stream=stream)
        with insisting(clients) as answers:
            threading.Event().wait(random.uniform(0, LONGEST_LIFE_S))
            installation.web.kill()
            installation.web.start_and_wait()
        charges[clients.name] = assert_one_answer(answers, stream=stream)
        made_again += sum(call.call_id == clients.name for call in upstream.calls()) > 1
    assert_one_charge_each(installation, charges)
    assert made_again, "never killed in the middle of a call"


def test_killed_at_every_place(prepared: tuple[Installation, str, str]):
    installation, key, model = prepared
    charges = {}
    for number, place in enumerate((*PLACES, *PLACES)):
        stream = number < len(PLACES)
        clients = Insisting(installation, key, model, f"{place}-{stream}", stream=stream)
        installation.web.start_and_wait(f"{place}=kill")
        with insisting(clients) as answers:
            wait_until(has_ended(installation.web), 20, f"the process to die at {place}")
            installation.web.start_and_wait()
        charges[clients.name] = assert_one_answer(answers, stream=stream)
        assert 0 in clients.statuses, "nobody noticed"
        installation.web.kill()
    installation.web.start_and_wait()
    assert_one_charge_each(installation, charges)
