"""When a webhook that failed is tried again: soon, then ever later, for about a day."""

from datetime import datetime, timedelta

PAUSES_S = (5, 60, 300, 1_800, 7_200, 18_000, 28_800, 28_800)
TRIES_MOST = len(PAUSES_S) + 1
TRY_TIMEOUT_S = 20
CLAIMED_FOR_S = 120  # who tries has it for so long; longer than a try, and what a killed worker costs


def next_try_at(tries: int, now: datetime) -> datetime | None:
    """After so many tries that failed; None when it is given up."""
    return None if tries >= TRIES_MOST else now + timedelta(seconds=PAUSES_S[tries - 1])


def is_delivered(status: int) -> bool:
    """2xx: the receiver has it."""
    return 200 <= status < 300


def is_unwanted(status: int) -> bool:
    """410: the receiver wants no more of them."""
    return status == 410
