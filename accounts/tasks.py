"""Jobs of accounts; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from accounts.actions.sessions import do_forget_sessions

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]
def forget_sessions() -> None:
    """Keep the table of sessions as small as the number of people who are logged in."""
    forgotten = do_forget_sessions()
    if forgotten:
        log.info("sessions forgotten", extra={"sessions": forgotten})
