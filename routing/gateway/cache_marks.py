"""Cache marks of a request: `cache_control` with a `ttl` of one hour. Some offers have a price for it, others not.

Marks stand wherever a provider reads them (messages, parts, tools), so the whole request is searched; but only where
its bytes say that there may be one.
"""

from operator import is_
from typing import Any

import orjson
from msgspec.structs import replace

from billing.prices import PriceVersion
from komilion.common.usage import Usage
from routing.providers.base import ChatRequest, UsageReport

BUCKET = "cache_write_1h"
MARK = "cache_control"
HOUR = "1h"
HOUR_AS_BYTES = b'"ttl":"1h"'  # as bodies are written: without blanks or needless escapes
NOTE: dict[str, Any] = {"param": f"{MARK}.ttl", "action": "changed", "from": HOUR, "to": "5m"}


def without_hours(chat: ChatRequest, body: bytes) -> ChatRequest | None:
    """The same request with marks of the usual length, which its `adjusted` says; None where it marks nothing so long.

    `body` is how it goes to a provider; its unknown parameters may go to another.
    """
    if HOUR_AS_BYTES not in body and not (chat.unknown and HOUR_AS_BYTES in orjson.dumps(chat.unknown)):
        return None
    messages, parameters, unknown = map(_shortened, (chat.messages, chat.parameters, chat.unknown))
    if messages is chat.messages and parameters is chat.parameters and unknown is chat.unknown:
        return None
    adjusted = (*chat.adjusted, NOTE)
    return replace(chat, messages=messages, parameters=parameters, unknown=unknown, adjusted=adjusted)


def is_priced(price: PriceVersion) -> bool:
    """Whether writes that last an hour have a price of their own."""
    return BUCKET in price.components


def written_for_an_hour(report: UsageReport) -> Usage | None:
    """The usage of a request with such a mark: for all that it wrote to the cache, unless the provider tells apart."""
    usage = report.usage
    if usage is None or report.tells_writes_apart:
        return usage
    return replace(usage, cache_write=0, cache_write_1h=usage.cache_write + usage.cache_write_1h)


def _shortened(value: Any) -> Any:
    """A copy without the hours in it; the same object where there are none."""
    if type(value) is list:
        items = [_shortened(item) for item in value]
        return value if all(map(is_, items, value)) else items
    if type(value) is not dict:
        return value
    fields = {name: _shortened(item) for name, item in value.items()}
    mark = fields.get(MARK)
    if type(mark) is dict and mark.get("ttl") == HOUR:
        fields[MARK] = {name: item for name, item in mark.items() if name != "ttl"}
    return value if all(map(is_, fields.values(), value.values())) else fields
