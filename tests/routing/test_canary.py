"""Neither a key nor a prompt is kept: not in logs, not in the database, not in the journal."""

import json
import logging
import secrets
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from komilion.common.logging import JsonFormatter
from tests.billing.committing import Database
from tests.fakes.client import CHAT, RawCall, call
from tests.routing.books import (
    nothing_is_held,
    only_row,
    usage_rows,
)
from tests.routing.gates import Gate
from tests.routing.servers import second_server
from tests.stand import Gateway
from tests.waiting import wait_until


class Sink(logging.Handler):
    """Keeps every line as production would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.lines.append(self.format(record))


class TestCanary:
    """A key and a prompt that nobody else has are looked for wherever something is kept."""

    @pytest.fixture
    def sink(self):
        """Everything that is logged at any level."""
        handler, root = Sink(), logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        yield handler
        root.removeHandler(handler)
        root.setLevel(level)

    def kept(self) -> bytes:
        """The bytes of every file of the installation: database, journal, logs."""
        files = [path for path in Path(django_settings.DATA_DIR).rglob("*") if path.is_file()]
        assert files
        return b"".join(path.read_bytes() for path in files)

    def test_neither_is_kept_anywhere(
        self, gateway: Gateway, settings: object, sink: Sink, capfd: pytest.CaptureFixture[str]
    ):
        settings.FRAME_GAP_TIMEOUT_S = settings.COMMENT_FRAME_EVERY_S = 0.2
        canary = f"canary-{secrets.token_hex(12)}"
        tenant = gateway.tenant()
        scripts = ["ok", "cut", "500", "400", "echo-key-error", "usage-negative", "not-json", "html", "ok,error=2"]
        prompt = [{"role": "user", "content": f"My secret is {canary}."}]
        for script in scripts:
            model = gateway.add_model(script)
            for stream in (False, True):
                body = {"model": model, "messages": prompt, "stream": stream}
                call(gateway.url, CHAT, tenant.key, body)
        with RawCall(
            gateway.url, tenant.key, model=gateway.add_model(Gate(2).script), messages=prompt, stream=True
        ) as raw:
            raw.send().read_frames(2)
        for bad in ({"messages": prompt}, {"model": "a/b", "messages": prompt}, {"messages": prompt, "n": canary}):
            call(gateway.url, CHAT, tenant.key, bad)
        call(gateway.url, CHAT, tenant.key, b'{"messages": "' + canary.encode())
        wait_until(lambda: nothing_is_held(gateway, tenant), what="every call to be settled")
        rows = [json.dumps({k: str(v) for k, v in vars(row).items()}) for row in usage_rows(tenant)]
        captured = capfd.readouterr()
        assert len(rows) >= 10
        assert sink.lines
        seen = "\n".join([*sink.lines, *rows, captured.out, captured.err]).encode() + self.kept()
        assert canary.encode() not in seen
        assert tenant.key.encode() not in seen
        assert tenant.key[3:35].encode() not in seen

    def test_the_journal_holds_neither(
        self, gateway: Gateway, settings: object, database: Database, monkeypatch: pytest.MonkeyPatch
    ):
        from billing.ledger.journal import Journal

        canary = f"canary-{secrets.token_hex(12)}"
        written: list[bytes] = []
        append = Journal.append

        def spy(self: Journal, items: list) -> None:
            append(self, items)
            written.append(TestCanary.kept(self_))

        self_ = self
        monkeypatch.setattr(Journal, "append", spy)
        settings.SETTLEMENT_WAIT_S = 0.2
        gate = Gate()
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with second_server() as server:
            prompt = [{"role": "user", "content": canary}]
            with RawCall(server.url, tenant.key, model=model, messages=prompt) as raw:
                raw.send()
                gate.wait_for_call()
                database.is_away = True
                gate.open()
                assert raw.status == 200
            database.is_away = False
            only_row(tenant)
        assert any(model.encode() in kept for kept in written)
        assert not any(canary.encode() in kept or tenant.key.encode() in kept for kept in written)
