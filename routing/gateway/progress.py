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
    def used(self) -> Usage:
        """What it used by our own count if it came to nothing: no more than an error where nothing was written.

        Where we gave up, the provider goes on unless it stops for that, and we count an answer of ordinary length.
        """
        if self.end in {"", "not_sent"} or not (self.meter.frames or self.end == "abandoned"):
            return Usage()
        counted = self.meter.counted()
        if self.end == "abandoned" and not self.attempt.offer.cancel_stops_billing:
            return if_abandoned(self.attempt, counted.output)
        return counted

    @property
    def loss_nano(self) -> int:
        """What the provider may bill for it if the caller does not pay, in nano-USD; our fee is not in it.

        A provider bills what it wrote before it broke off, and nothing for an error; nothing either where it stops
        when we give up, as long as it had not written.
        """
        offer = self.attempt.offer
        if offer.cancel_stops_billing and not self.meter.frames:
            return 0
        return offer.price.charge(self.used).cost


def if_abandoned(attempt: Attempt, output: int = 0) -> Usage:
    """What an attempt uses that we give up on after so much output, where the provider goes on."""
    ordinary = min(ABANDONED_OUTPUT_TOKENS * attempt.chat.choices, attempt.output_ceiling)
    return Usage(input=attempt.likely_input, output=max(output, ordinary))


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
        return sum(tried.loss_nano for tried in self._in_vain(is_charged=is_charged))

    @property
    def abandoned_nano(self) -> int:
        """The same of those that we gave up on: who asks decides how long an answer takes, so these can be provoked."""
        return sum(tried.loss_nano for tried in self.tries if tried.end == "abandoned")

    def lost_tokens(self, *, is_charged: bool) -> int:
        """What they used, also where it costs nobody anything."""
        used = [tried.used for tried in self._in_vain(is_charged=is_charged)]
        return sum(each.total_input + each.total_output for each in used)

    def _in_vain(self, *, is_charged: bool) -> list[Try]:
        if len(self.tries) == 1 and is_charged:
            return []
        charged = (self.charged or self.tries[-1]) if is_charged else None
        return [tried for tried in self.tries if tried is not charged]


def finish_reason_of(payloads: Iterable[dict[str, Any]]) -> str | None:
    """Why the first choice ended, as an answer or the closing frames of a stream say it."""
    for payload in payloads:
        for choice in payload.get("choices") or ():
            reason = choice.get("finish_reason") if isinstance(choice, dict) else None
            if isinstance(reason, str) and choice.get("index", 0) == 0:
                return reason[:FINISH_REASON_CHARACTERS]
    return None
