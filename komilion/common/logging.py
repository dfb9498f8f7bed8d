"""Structured logs: one JSON object a line, with whatever `extra` a call names, and never a key.

Lines that are written while a request is answered carry its id. Nothing in this project logs a prompt or an answer.
Should a key slip into a message (a header in a traceback, say), the formatter takes it out by its shape; likewise the
signature of a link of a letter, which is the right to do what the link says and stands in the path of its page, and the
password in an address. Of an e-mail address (in what a mail server says, say) the first letter and the domain are left.
"""

import logging
import re
from datetime import UTC, datetime
from typing import override

import orjson

from komilion.common.ids import current_request_id
from komilion.common.metrics import count

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
SECRETS = re.compile(
    r"(ck_[0-9A-Za-z]{4})[0-9A-Za-z]{34}|(Bearer\s+)\S+|((?:sk|rk|ek|whsec)[-_][0-9A-Za-z]{0,4})[0-9A-Za-z_-]{6,}"
    r"|([a-z]\.\d+\.\d+\.\d+\.\d{8}(?::|%3[Aa]))[0-9A-Za-z_-]+"  # advisor.links; Django logs the paths of refused pages
    r"|(://[^\s/:@\"]*:)[^\s/@\"]+(?=@)"
)

ADDRESS = re.compile(r"([0-9A-Za-z])[0-9A-Za-z._%+'-]*@([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)+)")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if "request_id" not in line and (request_id := current_request_id.get()):
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        text = SECRETS.sub(lambda match: next(filter(None, match.groups())) + "***", text)
        return ADDRESS.sub(r"\1…@\2", text)


class AlarmCounter(logging.Handler):
    """Counts the records that carry an `alarm`, so that `/metrics` can wake somebody; the log says what happened."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        alarm = getattr(record, "alarm", None)
        if isinstance(alarm, str):
            count("komilion_alarms", (alarm,))
