"""What is noted while a call runs, for its usage row: its tries, and when the first content came."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from komilion.common.usage import Usage
from routing.gateway.meter import Meter
from routing.gateway.types import Attempt

FINISH_REASON_CHARACTERS = 40
ABANDONED_OUTPUT_TOKENS = 256  # what a provider may write on, and bill, after we have hung up


class Try(msgspec.Struct):
    """One request to one offer; `note` is what the usage row keeps of it."""

    attempt: Attempt
    meter: Meter
    note: dict[str, Any]
    started_s: float
    end: Literal["", "not_sent", "failed", "abandoned"] = ""  # failed: by the provider; abandoned: by us

    @property
    def loss_nano(self) -> int:
        """What the provider may bill for it if the caller does not pay, in nano-USD; our fee is not in it.

        A provider bills what it wrote before it broke off, and nothing for an error. What we gave up on it bills as
        far as it had written; where it does not stop for that, it goes on, and we count an answer of ordinary length.
        """
        offer = self.attempt.offer
        goes_on = self.end == "abandoned" and not offer.cancel_stops_billing
        if self.end in {"", "not_sent"} or not (self.meter.frames or goes_on):
            return 0
        counted = self.meter.counted()
        output = counted.output
        if goes_on:
            output = max(output, min(ABANDONED_OUTPUT_TOKENS * self.attempt.chat.choices, self.attempt.output_ceiling))
        return offer.price.charge(Usage(input=counted.input, output=output)).cost


class Progress(msgspec.Struct):
    """`tries` in the order in which they were made; `charged` is the one that the caller pays for, if for any."""

    started_s: float
    started_at: str  # the same moment as "YYYY-MM-DD HH:MM:SS.ffffff" UTC
    first_content_s: float | None = None
    tries: list[Try] = msgspec.field(default_factory=list)
    charged: Try | None = None  # None: the last one
    finish_reason: str | None = None  # of the first choice, as the caller was told it

    def loss_nano(self, *, is_charged: bool) -> int:
        """What the tries that the caller does not pay for may cost the house."""
        if len(self.tries) == 1 and is_charged:
            return 0
        charged = (self.charged or self.tries[-1]) if is_charged else None
        return sum(tried.loss_nano for tried in self.tries if tried is not charged)


def finish_reason_of(payloads: Iterable[dict[str, Any]]) -> str | None:
    """Why the first choice ended, as an answer or the closing frames of a stream say it."""
    for payload in payloads:
        for choice in payload.get("choices") or ():
            reason = choice.get("finish_reason") if isinstance(choice, dict) else None
            if isinstance(reason, str) and choice.get("index", 0) == 0:
                return reason[:FINISH_REASON_CHARACTERS]
    return None
