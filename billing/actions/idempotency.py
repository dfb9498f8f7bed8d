"""Forgetting the answers of calls with an Idempotency-Key."""

from billing.models import IdempotentCall
from komilion.common.clock import utc_now

ROWS_AT_ONCE = 200


def do_purge_answers() -> int:
    """Delete what is past its time, a few rows at a time since an answer may have megabytes; how many."""
    purged = 0
    while True:
        due = IdempotentCall.objects.filter(expires_at__lte=utc_now()).values_list("pk", flat=True)[:ROWS_AT_ONCE]
        deleted, _ = IdempotentCall.objects.filter(pk__in=list(due)).delete()
        purged += deleted
        if deleted < ROWS_AT_ONCE:
            return purged
