"""meter: frames -> Usage. What the provider says if it can be believed, else what was counted; None is never 0."""

import logging

from komilion.common.money import ceil_div
from komilion.common.usage import Usage, UsageSource
from routing.gateway.cache_marks import written_for_an_hour
from routing.gateway.count_tokens import MEDIA_NEEDS
from routing.gateway.types import BYTES_PER_TOKEN, Attempt, Reserved
from routing.providers.base import UsageReport

log = logging.getLogger(__name__)

TEMPLATE_TOKENS = 2_000  # what a provider's chat template and tool preamble may add to the bytes we sent


class Meter:
    """Counts one call's output as it comes and judges the provider's own figures at the end."""

    __slots__ = ("_attempt", "_reserved", "frames", "output_bytes", "report")

    def __init__(self, attempt: Attempt, reserved: Reserved) -> None:
        self._attempt = attempt
        self._reserved = reserved
        self.frames = 0
        self.output_bytes = 0
        self.report: UsageReport | None = None

    def count(self, frames: int, output_bytes: int) -> None:
        """So many content frames with so many bytes of text arrived."""
        self.frames += frames
        self.output_bytes += output_bytes

    @property
    def counted_output(self) -> int:
        """Output tokens by our own count: never below the number of content frames."""
        return max(self.frames, ceil_div(self.output_bytes, BYTES_PER_TOKEN))

    def reported(self, request_id: str) -> Usage | None:
        """The provider's usage; None where it sent none, or one that cannot be true (which raises an alarm)."""
        if self.report is None:
            return None
        usage = written_for_an_hour(self.report) if self._attempt.caches_for_an_hour else self.report.usage
        if usage is None or not self._is_possible(usage):
            log.error(
                "impossible usage",
                extra={
                    "alarm": "impossible_usage",
                    "request_id": request_id,
                    "provider": self._attempt.offer.provider,
                    "model": self._attempt.offer.model_id,
                    "reported": repr(self.report.raw)[:300],
                },
            )
            return None
        return usage

    def estimated(self) -> Usage:
        """Input by what we sent, output by what was counted, but never more than the hold pays for.

        Only a provider's own figures may make debt.
        """
        counted = self.counted()
        return Usage(input=counted.input, output=min(counted.output, self._reserved.held_output))

    def counted(self) -> Usage:
        """The same without a limit: what the provider may have counted too."""
        return Usage(input=self._attempt.likely_input, output=self.counted_output)

    def final(self, request_id: str) -> tuple[Usage, UsageSource]:
        """What is charged for an answer that was received whole."""
        usage = self.reported(request_id)
        return (self.estimated(), "estimated") if usage is None else (usage, "provider")

    def _is_possible(self, usage: Usage) -> bool:
        """More than the bytes we sent, or than the model can write, is no usage but a fault."""
        attempt = self._attempt
        input_limit = len(attempt.upstream.body) + TEMPLATE_TOKENS
        if attempt.chat.needs & MEDIA_NEEDS:
            input_limit = attempt.offer.context_length
        output_limit = attempt.offer.max_output * attempt.chat.choices
        return usage.total_input <= input_limit and usage.total_output <= output_limit
