"""The judge of every crash: three journals that know nothing of each other, compared call by call.

    provider   what the scripted upstream was asked, wrote and bills
    client     what each client received, to the last byte or not
    ledger     usage rows, entries, postings, holds and wallets

The rules are those of docs/charging-policy.md. `ledger verify` alone would not see a settlement that was lost.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.e2e.ledger_rows import LedgerRows, UsageRow
from tests.e2e.load import Received
from tests.fakes.journal import Call

INPUT_NANO, OUTPUT_NANO = 3_000, 15_000  # a token, at the prices that `Installation.add_model` gives every model
FEE_PERCENT = 25
BYTES_PER_TOKEN = 4
CRASH_SLACK_S = 1.5  # between a kill and the moment when a client notices, or a settlement that was about to be made
COUNTED = {"client_left", "provider_cut", "server_stopped", "insufficient_balance"}
REFUSED_BEFORE_THE_PROVIDER = {
    "ledger_unavailable",
    "insufficient_balance",
    "rate_limited",
    "too_many_parallel_requests",
}
SHOWN = 20


def price_nano(input_tokens: int, output_tokens: int) -> int:
    """What these tokens are charged, by the formula of docs/money.md."""
    cost = input_tokens * INPUT_NANO + output_tokens * OUTPUT_NANO
    return cost + -(-cost * FEE_PERCENT // 100)


@dataclass
class Case:
    """What the test did: when it killed web processes, and what it therefore has to put up with."""

    received: Sequence[Received]
    provider: Sequence[Call]
    crashes: Sequence[float] = ()
    may_be_pending: bool = False  # the database was away, or the process paused
    may_lose_holds: bool = False  # the database itself crashed: holds are committed without waiting for the disk
    may_have_debt: bool = False


@dataclass
class Verdict:
    """How the calls ended, for a report, and everything that should not be."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def expect(self, condition: object, call_id: str, message: str) -> None:
        """Note what is wrong."""
        if not condition:
            self.wrong.append(f"{call_id}: {message}")


def judge(case: Case, rows: LedgerRows) -> Counter[str]:
    """Compare the journals; the number of calls by how they ended. Fails with every disagreement."""
    verdict = Verdict()
    judge = _Judge(case, rows, verdict)
    for received in case.received:
        judge.call(received)
    judge.strangers()
    judge.holds()
    judge.wallets()
    report = "\n".join(verdict.wrong[:SHOWN])
    assert not verdict.wrong, f"{len(verdict.wrong)} disagreements, {dict(verdict.counts)}:\n{report}"
    return verdict.counts


class _Judge:
    def __init__(self, case: Case, rows: LedgerRows, verdict: Verdict) -> None:
        self._case = case
        self._rows = rows
        self._verdict = verdict
        self._provider: dict[str, list[Call]] = {}
        for call in case.provider:
            self._provider.setdefault(call.call_id, []).append(call)
        self._usage: dict[str, list[UsageRow]] = {}
        for row in rows.usage:
            self._usage.setdefault(row.call_id, []).append(row)
        self._lost_at_provider = 0

    def call(self, received: Received) -> None:
        """One call in all three journals."""
        expect, call_id = self._verdict.expect, received.call_id
        calls, usage = self._provider.get(call_id, []), self._usage.get(call_id, [])
        expect(len(calls) <= received.kind.tries, call_id, f"providers were asked {len(calls)} times")
        expect(len(usage) <= 1, call_id, f"charged {len(usage)} times")
        call, row = (calls or [None])[-1], (usage or [None])[0]
        if row is not None:
            self._row(row, call, received)
        if received.is_answer:
            self._answer(received, call, row)
        elif received.whole:
            self._error(received, call, row)
        else:
            self._broken(received, call, row)

    # a call that was settled

    def _row(self, row: UsageRow, call: Call | None, received: Received) -> None:
        """The row agrees with its own entry, postings and hold, and with what the provider knows."""
        expect, call_id = self._verdict.expect, row.call_id
        settled = [entry for entry in self._rows.entries.get(row.request_id, []) if entry.kind == "settle"]
        expect(len(settled) == 1, call_id, f"{len(settled)} settlements")
        for entry in settled:
            expect(entry.amount == row.charge == entry.charged, call_id, f"{entry} beside a charge of {row.charge}")
        expect(self._rows.holds.get(row.request_id) == "settled", call_id, "its hold is not settled")
        expect(call is not None, call_id, "settled, but the provider never saw it")
        expect(row.streamed == received.kind.streamed, call_id, "streamed or not?")
        expect(received.request_id in {"", row.request_id}, call_id, "two request ids")
        tokens = row.usage.get("input", 0), row.usage.get("output", 0)
        expect(row.charge == price_nano(*tokens), call_id, f"{tokens} tokens are not {row.charge}")
        if call is None:
            return
        if row.source == "provider":
            expect(row.outcome == "completed", call_id, f"{row.outcome} by the provider's figures")
            expect(tokens == (call.whole.prompt, call.whole.completion), call_id, f"{tokens}, reported {call.whole}")
        elif row.source == "absent":
            expect(row.charge == 0, call_id, "charged for nothing")
        else:
            expect(row.outcome in COUNTED, call_id, f"counted, although {row.outcome}")
            sent = len(json.dumps(call.body, separators=(",", ":")))
            expect(tokens[0] <= -(-sent // BYTES_PER_TOKEN), call_id, f"{tokens[0]} input tokens in {sent} bytes")
            most = max(call.frames_written * 4, 1)
            expect(received.frames <= tokens[1] <= most, call_id, f"counted {tokens[1]}, got {received.frames}")

    # how it looked to the client

    def _answer(self, received: Received, call: Call | None, row: UsageRow | None) -> None:
        """Every answer received whole is charged exactly what it said."""
        expect, call_id = self._verdict.expect, received.call_id
        self._count("answered", call)
        expect(call is not None, call_id, "answered without a provider")
        if row is None:
            expect(row is not None, call_id, "answered and never charged")
            return
        expect(row.outcome == "completed", call_id, f"answered, but {row.outcome}")
        expect(received.charge == row.charge, call_id, f"said {received.charge}, charged {row.charge}")
        wanted = {"settled", "pending"} if self._case.may_be_pending else {"settled"}
        expect(received.settlement in wanted, call_id, f"settlement {received.settlement!r}")
        if received.settlement == "pending":
            self._count("answered with a pending settlement", call)

    def _error(self, received: Received, call: Call | None, row: UsageRow | None) -> None:
        """An error as a status costs nothing; one in the middle of a stream, what was delivered."""
        expect, call_id = self._verdict.expect, received.call_id
        self._count(f"error {received.status} {received.reason}", call)
        if received.status != 200:
            expect(row is None or row.charge == 0, call_id, f"status {received.status} was charged")
            if received.reason in REFUSED_BEFORE_THE_PROVIDER:
                expect(call is None, call_id, f"{received.reason}, but the provider was asked")
            return
        expect(row is not None and row.outcome in COUNTED, call_id, f"an error event, and {row}")
        expect(row is None or received.charge == row.charge, call_id, f"said {received.charge}, and {row}")

    def _broken(self, received: Received, call: Call | None, row: UsageRow | None) -> None:
        """The client left or was cut off. Without a row it costs nothing, and only a crash explains that."""
        expect, call_id = self._verdict.expect, received.call_id
        if call is None:
            self._count("never reached the provider", call)
            self._expect_crash(received, received.ended_at, unless=not received.is_connected or received.left)
            return
        if row is not None:
            self._count("left and charged" if received.left else "settled and lost", call)
            if not received.left:
                self._expect_crash(received, received.ended_at)
                expect(row.outcome != "provider_cut", call_id, "our crash is no fault of the provider")
            return
        self._count("lost with its process, not charged", call)
        self._lost_at_provider += 1
        self._expect_crash(received, max(received.ended_at, call.ended_at))
        if received.request_id and not self._case.may_lose_holds:
            state = self._rows.holds.get(received.request_id)
            expect(state == "expired", call_id, f"lost, and its hold is {state}")

    def _expect_crash(self, received: Received, until: float, *, unless: bool = False) -> None:
        """Somebody killed a web process between the beginning of the call and `until`."""
        window = received.started_at - CRASH_SLACK_S, until + CRASH_SLACK_S
        happened = any(window[0] <= crash <= window[1] for crash in self._case.crashes)
        self._verdict.expect(happened or unless, received.call_id, f"broken without a crash: {received}")

    def _count(self, name: str, call: Call | None) -> None:
        self._verdict.counts[name] += 1

    # what must hold for all of them together

    def strangers(self) -> None:
        """Nobody is charged, and no provider asked, for a call that no client made."""
        known = {received.call_id for received in self._case.received}
        for call_id in (*self._provider, *self._usage):
            self._verdict.expect(call_id in known, call_id, "a call that no client made")

    def holds(self) -> None:
        """Nothing is held any more, nothing is charged without a row, and lost calls had a hold."""
        expect = self._verdict.expect
        charged = {row.request_id for row in self._rows.usage}
        states = Counter(self._rows.holds.values())
        for request_id, state in self._rows.holds.items():
            expect(state != "open", request_id, "still held")
            expect((state == "settled") == (request_id in charged), request_id, f"{state}, but the usage row")
            kinds = Counter(entry.kind for entry in self._rows.entries.get(request_id, []))
            expect(kinds["settle"] <= 1 and kinds["void"] <= 1, request_id, f"happened twice: {kinds}")
        if not self._case.may_lose_holds:
            lost = self._lost_at_provider
            expect(lost <= states["expired"], "holds", f"{lost} calls lost at the provider, {states}")

    def wallets(self) -> None:
        """What was paid in is there, or was charged."""
        expect, rows = self._verdict.expect, self._rows
        charged = sum(row.charge for row in rows.usage)
        for wallet_id, wallet in rows.wallets.items():
            name = f"wallet {wallet_id}"
            expect(wallet.held == 0, name, f"holds {wallet.held}")
            expect(wallet.available == wallet.paid + wallet.promo, name, f"{wallet}")
            expect(wallet.available >= 0, name, f"overdrawn: {wallet}")
            expect(wallet.debt == 0 or self._case.may_have_debt, name, f"in debt: {wallet}")
        left = sum(wallet.paid - wallet.debt for wallet in rows.wallets.values())
        expect(rows.paid_in - charged == left, "wallets", f"{rows.paid_in} in, {charged} charged, {left} left")
