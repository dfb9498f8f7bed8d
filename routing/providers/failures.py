"""What a provider's refusal means to our caller: status, words and shape of the body -> one `KomilionError`.

    context too long, in any vendor's words     ContextLengthExceeded  400
    refused by content rules                    ContentFiltered        400
    our money or quota there is gone, 402, 412  ProviderClosedToUs     503 (402 is for the caller's own wallet)
    our credential is refused: 401, and 403     ProviderRefusedUs      502
      that names key, permission or account
    404, 410 that names the model               ModelNotFound          404
    404, 410 that names one of those            ProviderClosedToUs     503
    403, 404, 410 that does not say why         ProviderUnavailable    503
    400, 422                                    BadRequest             400, with the provider's words
    413                                         PayloadTooLarge        413
    408, 409, 425, 429, 498                     RateLimited            429, always with Retry-After
    503, 529                                    ProviderUnavailable    503
    504, 522, 524                               ProviderTimeout        503
    3xx (never followed), all else              ProviderError          502

Upstream words reach a caller only where the request itself is at fault, and then without addresses,
credentials and account names, on one line and short. Who knows a credential that must not get out scrubs
the body first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from komilion.common import clock
from komilion.common.errors import (
    BadRequest,
    ContentFiltered,
    ContextLengthExceeded,
    KomilionError,
    ModelNotFound,
    PayloadTooLarge,
    ProviderClosedToUs,
    ProviderError,
    ProviderRefusedUs,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)

BODY_READ_BYTES = 256 * 2**10  # an error body above this is not looked into
WORDS_READ_CHARACTERS = 4_000
MESSAGE_CHARACTERS = 300
MESSAGE_READ_CHARACTERS = 1_000
RETRY_AFTER_DEFAULT_S = 5
RETRY_AFTER_MOST_S = 3_600

# Each alternative is one vendor's wording; matched against lower-case "code type message".
TOO_LONG = re.compile(
    r"context_length_exceeded|context[ _]window"
    r"|prompt (?:is )?too long|input is too long"
    r"|maximum context length"
    r"|exceeds? the (?:maximum number of tokens|available context size)"
    r"|max_new_tokens\W{0,3}must be"
    r"|current length is \d+ while limit is"
    r"|reduce the length of the (?:messages|prompt)"
)
FILTERED = re.compile(
    r"content_policy_violation|content_filter|responsibleaipolicyviolation|content management policy"
    r"|data_inspection_failed|flagged_input|input_sensitive|output_sensitive"
    r"|requires moderation|flagged (?:for|by|as)"
    r"|violates (?:our |the )?usage (?:guidelines|policies)|failed check: safety|safety_check_type"
)
OUR_MONEY = re.compile(
    r"insufficient[_ ]quota|insufficient[_ ]balance|insufficient[_ ]credits"
    r"|exceeded_current_quota|exceeded your current quota"
    r"|credit balance is too low|billing_hard_limit|billing_not_active|account is suspended"
)
OUR_CREDENTIAL = re.compile(r"invalid_api_key|api_key_invalid|incorrect api key|api key not valid|invalid api key")
# A 403 or 404 that names none of these may be about this one request: it must not close an offer to everybody.
OUR_STANDING = re.compile(
    r"\bkeys?\b|api.?key|permission|account|credential|\bauth|unauthori[sz]ed|organi[sz]ation|project"
)
NOT_OUR_MODEL = re.compile(r"model_not_found|access to (?:the |this )?model|permission.{0,40}\bmodel\b")
# What is said of us, in words that are said of prompts too.
OUR_CLOSURE = re.compile(
    r"account_deactivated|(?:account|organi[sz]ation|api key|project) "
    r"(?:was|is|has been|violates)\b.{0,60}(?:flagged|disabled|suspended|banned|terminated|revoked|polic)"
)
TOKENS_A_MINUTE = re.compile(r"rate_limit|tokens per minute|\btpm\b")
RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9})(?:\.\d+)?s"')

# What must not be quoted: addresses, credentials, account names, hosts. Every run is bounded, so that no
# text makes the search slow.
PRIVATE = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,20}://\S+"
    r"|\bbearer\s+\S+"
    r"|\b(?:sk|pk|rk|ck|gsk|xai)[-_][\w.*-]{6,}"
    r"|\bAIza[\w-]{10,}"
    r"|\b(?:org|proj|acct|req|key|user)[-_](?=[\w-]{0,100}\d)[\w-]{12,}"
    r"|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]+"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\b(?=[\w+/-]{0,200}\d)(?=[\w+/-]{0,200}[A-Za-z])[\w+/-]{32,}=*",
    re.IGNORECASE,
)
FIELD = re.compile(r"[\w.\[\]]{1,100}")

# Errors that come without a status, inside a 200 or a stream: MiniMax's codes, and words in type or code.
MINIMAX_STATUS = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1013: 500, 1039: 429, 2013: 400, 2049: 401}
MINIMAX_FILTERED = frozenset({1026, 1027})
STATUS_BY_WORD = (
    ("insufficient_quota", 402),
    ("rate_limit", 429),
    ("overloaded", 529),
    ("unavailable", 503),
    ("timeout", 504),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_request", 400),
    ("bad_request", 400),
    ("badrequest", 400),
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A provider's error body, whatever its shape; empty strings for what it did not say."""

    message: str = ""
    kind: str = ""
    code: str = ""
    param: str | None = None
    hints: str = ""  # OpenRouter's moderation reasons and the like: read, never quoted

    @property
    def words(self) -> str:
        """All of it in lower case, for the patterns."""
        return f"{self.code} {self.kind} {self.message} {self.hints}".lower()


def _text(value: object) -> str:
    return str(value)[:WORDS_READ_CHARACTERS] if isinstance(value, str | int) else ""


def _details(value: object) -> str:
    """FastAPI's `detail`: a text, or a list of {loc, msg}."""
    if not isinstance(value, list):
        return _text(value)
    items = [item for item in value[:5] if isinstance(item, dict)]
    places = (".".join(map(_text, loc)) if isinstance(loc := item.get("loc"), list) else "" for item in items)
    return "; ".join(f"{place}: {_text(item.get('msg'))}" for place, item in zip(places, items, strict=True))


def complaint_of(payload: Any) -> Complaint:
    """Read {"error": {}}, {"error": "text", "code"}, a list of it, {"detail"}, {"message"}, {"base_resp"}."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return Complaint()
    base = payload.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return Complaint(_text(base.get("status_msg")), "", _text(base["status_code"]))
    error = payload.get("error")
    if not isinstance(error, dict):
        message = _text(error) or _text(payload.get("message")) or _details(payload.get("detail"))
        return Complaint(message, _text(payload.get("type")), _text(payload.get("code")))
    metadata = error.get("metadata")
    hints = ""
    if isinstance(metadata, dict):
        hints = " ".join((*metadata, _text(metadata.get("raw"))))  # the names of its fields tell enough
    kind = _text(error.get("type")) or _text(error.get("status"))
    param = error.get("param")
    return Complaint(
        message=_text(error.get("message")),
        kind=kind,
        code=_text(error.get("code")),
        param=param if isinstance(param, str) and FIELD.fullmatch(param) else None,
        hints=hints[:WORDS_READ_CHARACTERS],
    )


def _complaint_in(body: bytes) -> Complaint:
    """The complaint in a body of any kind; what is no JSON is a message unless it is HTML or binary."""
    if len(body) > BODY_READ_BYTES:
        return Complaint()
    try:
        return complaint_of(orjson.loads(body))
    except orjson.JSONDecodeError:
        pass  # then it may be plain text
    try:
        text = body[:WORDS_READ_CHARACTERS].decode()
    except UnicodeDecodeError:
        return Complaint()
    return Complaint() if text.lstrip().startswith("<") else Complaint(text)


def presentable(text: str) -> str | None:
    """An upstream message fit for a caller: one line, short, nothing private; None when nothing is left."""
    text = PRIVATE.sub("[...]", text[:MESSAGE_READ_CHARACTERS])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) > MESSAGE_CHARACTERS:
        text = text[: MESSAGE_CHARACTERS - 3] + "..."
    return text or None


def _bounded(seconds: float) -> int:
    """Whole seconds, rounded up, 1..3600."""
    return int(max(1, min(-(-seconds // 1), RETRY_AFTER_MOST_S)))


def retry_after_s(headers: Mapping[str, str], body: bytes = b"") -> int | None:
    """Seconds to wait as the provider says, in 1..3600; None where it says nothing that can be read.

    Read in this order: `retry-after-ms`, `Retry-After` (seconds, or an HTTP date), Gemini's `retryDelay` in
    the body.
    """
    low = {name.lower(): value for name, value in headers.items()}
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = low.get(name, "").strip()
        # Only plain decimals: float() would take "nan", "1e999" and digits of other scripts.
        if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", value):
            return _bounded(float(value) / per_second)
    try:
        moment = parsedate_to_datetime(low.get("retry-after", ""))
        return _bounded(moment.timestamp() - clock.unix_s())
    except (ValueError, OverflowError, OSError):  # no date, or one outside of time
        pass
    found = RETRY_DELAY.search(body, 0, BODY_READ_BYTES)
    return _bounded(int(found[1])) if found else None


def _by_words(status: int, said: Complaint) -> KomilionError | None:
    """What the words of a refusal decide before its status does."""
    words = said.words
    if status < 500 and OUR_CLOSURE.search(words):
        return ProviderRefusedUs()
    if status not in (401, 402, 429) and FILTERED.search(words):
        return ContentFiltered()
    if status not in (401, 402, 403, 404, 429) and TOO_LONG.search(words):
        return ContextLengthExceeded(presentable(said.message))
    if status < 500 and OUR_MONEY.search(words):
        return ProviderClosedToUs()
    if status == 403 and NOT_OUR_MODEL.search(words):
        return ModelNotFound("The provider does not let us call this model.")
    is_ours = OUR_CREDENTIAL if status == 400 else OUR_STANDING
    if status == 401 or (status in (400, 403) and is_ours.search(words)):
        return ProviderRefusedUs()
    return None


def _by_status(status: int, said: Complaint, waiting: dict[str, str]) -> KomilionError:
    """The table above, by number; `waiting` is the Retry-After header where the provider sent one."""
    match status:
        case 400 | 422:
            message = presentable(said.message) or "The provider found the request invalid."
            return BadRequest(message, param=said.param)
        case 404 | 410 if "model" in said.words:
            return ModelNotFound("The provider does not serve this model any more.")
        case 402 | 403 | 404 | 410 | 412 | 503 | 529:
            is_ours = status in (402, 412) or (status in (404, 410) and OUR_STANDING.search(said.words))
            return (ProviderClosedToUs if is_ours else ProviderUnavailable)(headers=waiting)
        case 413 if not TOKENS_A_MINUTE.search(said.words):
            return PayloadTooLarge("The request is too large for the provider.")
        case 408 | 409 | 413 | 425 | 429 | 498:
            wait = waiting or {"Retry-After": str(RETRY_AFTER_DEFAULT_S)}
            return RateLimited("The provider is limiting this model's requests.", headers=wait)
        case 504 | 522 | 524:
            return ProviderTimeout(headers=waiting)
        case _ if 300 <= status < 400:
            return ProviderError("The provider answered with a redirect, which is never followed.")
        case _:
            return ProviderError(headers=waiting)


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
    """What a non-2xx answer means; never raises."""
    said = _complaint_in(body)
    wait_s = retry_after_s(headers, body)
    waiting = {} if wait_s is None else {"Retry-After": str(wait_s)}
    if not 300 <= status < 400:
        found = _by_words(status, said)
        if found is not None:
            return found
    return _by_status(status, said, waiting)


def _status_of(said: Complaint) -> int:
    """The HTTP status that an error without one stands for; 500 where nothing tells."""
    if said.code.isdecimal() and len(said.code) == 3 and int(said.code) >= 400:
        return int(said.code)
    words = f"{said.code} {said.kind}".lower().replace(" ", "_")
    return next((status for word, status in STATUS_BY_WORD if word in words), 500)


def failure_inside(payload: Any) -> KomilionError:
    """What an error inside a 200 answer or a stream means: as a refusal with the status it stands for."""
    said = complaint_of(payload)
    base = payload.get("base_resp") if isinstance(payload, dict) else None
    if isinstance(base, dict) and isinstance(number := base.get("status_code"), int) and number:
        if number in MINIMAX_FILTERED:
            return ContentFiltered()
        status = MINIMAX_STATUS.get(number, 500)
    else:
        status = _status_of(said)
    return _by_words(status, said) or _by_status(status, said, {})
