"""Jobs outside requests: the Celery application, and what runs when.

The schedule is copied to Redis by redbeat when beat starts, so a task's last run survives restarts and only
one beat of many is active.
"""

import logging
import os
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import task_postrun
from django.conf import settings

from komilion import env
from komilion.common import metrics

log = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")

OUTSIDE = "outside"
VOICE = "voice"
WEBHOOKS = "webhooks"
WAITS_FOR_OTHERS = ("recharge", "sweep_payments", "write_letters", "reconcile_payments")  # for Stripe, a mail server
BEAT_LOOK_EVERY_S = 5
PAYMENTS_EVERY_S = 60
WEBHOOKS_EVERY_S = 15
JOBS_EVERY_S = 5
BEAT_LOCK_S = 20  # what a killed beat costs its successor; must outlast a few looks, each of which renews the lock

with env.ending_in_one_line():  # this is the first look at the settings, which reads them
    REAP_EVERY_S = settings.REAP_EVERY_S
    ROLL_UP_EVERY_S = settings.ROLL_UP_EVERY_S

app = Celery("komilion")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_max_loop_interval = BEAT_LOOK_EVERY_S
app.conf.redbeat_lock_timeout = BEAT_LOCK_S
app.conf.result_expires = None  # no results are kept, so beat need not clean them up
app.conf.task_routes = {
    **{f"billing.tasks.{name}": {"queue": OUTSIDE} for name in WAITS_FOR_OTHERS},
    "voice.tasks.transcribe_meeting": {"queue": VOICE},  # waits for providers, for long
    "voice.tasks.deliver_webhooks": {"queue": WEBHOOKS},  # waits for receivers, beside all meetings
}
app.conf.beat_schedule = {
    "reap-holds": {
        "task": "billing.tasks.reap_holds",
        "schedule": timedelta(seconds=REAP_EVERY_S),
        "options": {"expires": REAP_EVERY_S},  # the next one does the work of one that came too late
    },
    "roll-up-usage": {
        "task": "billing.tasks.roll_up_usage",
        "schedule": timedelta(seconds=ROLL_UP_EVERY_S),
        "options": {"expires": ROLL_UP_EVERY_S},
    },
    "recheck-usage": {
        "task": "billing.tasks.recheck_usage",
        "schedule": crontab(hour=3, minute=17),
    },
    "recharge": {
        "task": "billing.tasks.recharge",
        "schedule": timedelta(seconds=PAYMENTS_EVERY_S),
        "options": {"expires": PAYMENTS_EVERY_S},
    },
    "sweep-payments": {
        "task": "billing.tasks.sweep_payments",
        "schedule": timedelta(seconds=PAYMENTS_EVERY_S),
        "options": {"expires": PAYMENTS_EVERY_S},
    },
    "write-letters": {
        "task": "billing.tasks.write_letters",
        "schedule": timedelta(seconds=PAYMENTS_EVERY_S),
        "options": {"expires": PAYMENTS_EVERY_S},
    },
    "reconcile-payments": {
        "task": "billing.tasks.reconcile_payments",
        "schedule": crontab(hour=2, minute=41),
    },
    "book-breakage": {
        "task": "billing.tasks.book_breakage",
        "schedule": crontab(hour=0, minute=7),
    },
    "forget-payers": {
        "task": "billing.tasks.forget_payers",
        "schedule": crontab(hour=4, minute=29),
    },
    "purge-answers": {
        "task": "billing.tasks.purge_answers",
        "schedule": timedelta(hours=1),
        "options": {"expires": 3_600},
    },
    "ensure-partitions": {
        "task": "billing.tasks.ensure_partitions",
        "schedule": timedelta(days=1),
    },
    "forget-sessions": {
        "task": "accounts.tasks.forget_sessions",
        "schedule": crontab(hour=3, minute=47),
    },
    "start-jobs": {
        "task": "voice.tasks.start_jobs",
        "schedule": timedelta(seconds=JOBS_EVERY_S),
        "options": {"expires": JOBS_EVERY_S},
    },
    "deliver-webhooks": {
        "task": "voice.tasks.deliver_webhooks",
        "schedule": timedelta(seconds=WEBHOOKS_EVERY_S),
        "options": {"expires": WEBHOOKS_EVERY_S},
    },
    "sweep-uploads": {
        "task": "voice.tasks.sweep_uploads",
        "schedule": timedelta(minutes=10),
        "options": {"expires": 600},
    },
    "mark-balances": {
        "task": "billing.tasks.mark_balances",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
}


@task_postrun.connect  # type: ignore[untyped-decorator]
def _count_job(task: Any, state: str, **_: Any) -> None:
    """For `/metrics`; a full disk must not fail a job that is done."""
    metrics.count("komilion_jobs", (task.name, state or "unknown"))
    try:
        metrics.write()
    except OSError as error:
        log.warning("metrics not written", extra={"error": str(error)})
