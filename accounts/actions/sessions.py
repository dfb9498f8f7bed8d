"""Forgetting sessions that are over; Django only stops to believe in them."""

from django.contrib.sessions.models import Session

from komilion.common.clock import utc_now

ROWS_AT_ONCE = 500  # a short transaction each: SQLite has one writer


def do_forget_sessions() -> int:
    """Delete the sessions that are past their time; how many."""
    forgotten = 0
    while True:
        over = list(Session.objects.filter(expire_date__lte=utc_now()).values_list("pk", flat=True)[:ROWS_AT_ONCE])
        deleted, _ = Session.objects.filter(pk__in=over).delete()
        forgotten += deleted
        if len(over) < ROWS_AT_ONCE:
            return forgotten
