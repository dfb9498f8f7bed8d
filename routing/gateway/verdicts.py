"""What follows a failed attempt: one row for each kind of failure. docs/failover.md shows the same table.

A row says whether the same offer is tried once more, where the call goes after that, and what the failure weighs on the
offer's breaker. What is in no row is not the provider's doing (the ledger is away, say) and ends the call.
"""

from typing import Literal, NamedTuple

from komilion.common.errors import AnswerTooLarge, KomilionError, ProviderClosedToUs


class Verdict(NamedTuple):
    """One row.

    `again`: once more at the same offer - at once, after a short pause, after the wait that the provider asked for, as
    a last resort where no other attempt is left, or never.
    `then`: any later attempt, one with a larger context window, one at another model that the request itself names,
    or none.
    `weight`: nothing, since the provider is in order; one failure of several; or all: only the operator can mend it,
    for this offer, or for everything that is called with the credential.
    """

    again: Literal["at once", "after a pause", "when told", "as a last resort", "never"]
    then: Literal["any", "larger context", "named model", "none"]
    weight: Literal["nothing", "one", "all", "credential"]


UNREACHABLE = "unreachable"
BROKEN_OFF = "broken_off"
CLOSED_TO_US = "closed_to_us"
DIVERGED = "diverged"
TOO_LARGE = AnswerTooLarge.reason

VERDICTS: dict[str, Verdict] = {
    UNREACHABLE: Verdict("as a last resort", "any", "one"),  # not a byte was sent
    BROKEN_OFF: Verdict("at once", "any", "one"),  # a kept connection may have been closed under our hands
    "provider_error": Verdict("after a pause", "any", "one"),  # 500, 502, what is no answer
    "provider_unavailable": Verdict("as a last resort", "any", "one"),  # 503, 529; 403, 404 that do not say why
    "provider_timeout": Verdict("as a last resort", "any", "one"),  # 504, 522, 524; silence and slowness
    "request_timeout": Verdict("as a last resort", "any", "one"),  # the same where it is told by 408
    "rate_limited": Verdict("when told", "any", "one"),  # 408, 409, 425, 429, 498
    "provider_rejected_credentials": Verdict("never", "any", "credential"),  # 401, 403: our credential there
    CLOSED_TO_US: Verdict("never", "any", "credential"),  # 402, 412, no quota
    "model_not_found": Verdict("never", "any", "all"),  # 404, 410: the catalogue is wrong about it
    "context_length_exceeded": Verdict("never", "larger context", "nothing"),
    "content_filter": Verdict("never", "named model", "nothing"),
    "invalid_request": Verdict("never", "none", "nothing"),  # 400, 422
    "payload_too_large": Verdict("never", "none", "nothing"),  # 413
    TOO_LARGE: Verdict("never", "none", "nothing"),  # a whole answer above our limit: another one would be no smaller
    DIVERGED: Verdict("never", "any", "nothing"),  # another answer than the one that broke off
}


def kind_of(error: KomilionError) -> str:
    """The row of a failure that is an error of the tree; its name is the error's reason, with one exception."""
    return CLOSED_TO_US if isinstance(error, ProviderClosedToUs) else error.reason
