"""Lines of the log: whose request they are about, and whom they do not name."""

import logging
from collections.abc import Iterator

import orjson
import pytest

from komilion.common.logging import JsonFormatter
from tests.fakes.client import call
from tests.stand import Gateway


class Lines(logging.Handler):
    """Keeps every line as production writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.kept: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(orjson.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("headers", [{}, {"Cookie": "komilion=a-session"}])
def test_what_django_logs_of_a_page_carries_the_id_of_its_answer(gateway: Gateway, lines: Lines, headers):
    ids = [call(gateway.url, "/nothing", headers=headers).headers["x-request-id"] for _ in range(2)]
    logged = [line.get("request_id") for line in lines.kept if line["logger"] == "django.request"]
    assert logged == ids


def test_outside_requests_no_line_has_an_id(lines: Lines):
    logging.getLogger("test").error("a job failed")
    assert "request_id" not in lines.kept[-1]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("SMTPRecipientsRefused: {'alice.b+x@example.com': (550, b'no')}", "{'a…@example.com': (550, b'no')}"),
        ("to\nalice@mail.example.com", "…@mail.example.com"),
        ("worker 8000@host is ready", "8000@host is ready"),
    ],
)
def test_an_address_is_not_written_out(lines: Lines, text: str, written: str):
    logging.getLogger("test").error("mail not sent", extra={"error": text})
    assert written in str(lines.kept[-1]["error"])
    assert "alice" not in str(lines.kept[-1])
