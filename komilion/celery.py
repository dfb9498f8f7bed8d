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

ADVISOR = "advisor"
OUTSIDE = "outside"
VOICE = "voice"
WEBHOOKS = "webhooks"
WAITS_FOR_OTHERS = ("recharge", "sweep_payments", "write_letters", "reconcile_payments")  # for Stripe, a mail server
BEAT_LOOK_EVERY_S = 5
PAYMENTS_EVERY_S = 60
WEBHOOKS_EVERY_S = 15
JOBS_EVERY_S = 5
EVIDENCE_EVERY_S = 900
PINS_EVERY_S = 300
WATCH_EVERY_S = 900
BEAT_LOCK_S = 20  # what a killed beat costs its successor; must outlast a few looks, each of which renews the lock

with env.ending_in_one_line():  # this is the first look at the settings, which reads them
    REAP_EVERY_S = settings.REAP_EVERY_S
    ROLL_UP_EVERY_S = settings.ROLL_UP_EVERY_S
    ADVISOR_SEND_EVERY_S = settings.ADVISOR_SEND_EVERY_S

app = Celery("komilion")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_max_loop_interval = BEAT_LOOK_EVERY_S
app.conf.redbeat_lock_timeout = BEAT_LOCK_S
app.conf.redbeat_redis_url = settings.CELERY_REDBEAT_REDIS_URL  # redbeat does not see it in the settings, and warns
app.conf.redbeat_redis_options = {"socket_timeout": BEAT_LOOK_EVERY_S}
app.conf.result_expires = None  # no results are kept, so beat need not clean them up
app.conf.task_routes = {
    **{f"billing.tasks.{name}": {"queue": OUTSIDE} for name in WAITS_FOR_OTHERS},
    "voice.tasks.transcribe_meeting": {"queue": VOICE},  # waits for providers, for long
    "voice.tasks.deliver_webhooks": {"queue": WEBHOOKS},  # waits for receivers, beside all meetings
    "advisor.tasks.*": {"queue": ADVISOR},  # takes long, and may
}


def _every(task: str, seconds: float) -> dict[str, Any]:
    """A job whose next run does the work of one that came too late."""
    return {"task": task, "schedule": timedelta(seconds=seconds), "options": {"expires": seconds}}


def _daily(task: str, hour: int, minute: int) -> dict[str, Any]:
    return {"task": task, "schedule": crontab(hour=hour, minute=minute)}


app.conf.beat_schedule = {
    "reap-holds": _every("billing.tasks.reap_holds", REAP_EVERY_S),
    "roll-up-usage": _every("billing.tasks.roll_up_usage", ROLL_UP_EVERY_S),
    "recheck-usage": _daily("billing.tasks.recheck_usage", 3, 17),
    "recharge": _every("billing.tasks.recharge", PAYMENTS_EVERY_S),
    "sweep-payments": _every("billing.tasks.sweep_payments", PAYMENTS_EVERY_S),
    "write-letters": _every("billing.tasks.write_letters", PAYMENTS_EVERY_S),
    "reconcile-payments": _daily("billing.tasks.reconcile_payments", 2, 41),
    "book-breakage": _daily("billing.tasks.book_breakage", 0, 7),
    "forget-payers": _daily("billing.tasks.forget_payers", 4, 29),
    "purge-answers": _every("billing.tasks.purge_answers", 3_600),
    "ensure-partitions": {"task": "billing.tasks.ensure_partitions", "schedule": timedelta(days=1)},
    "forget-sessions": _daily("accounts.tasks.forget_sessions", 3, 47),
    "start-jobs": _every("voice.tasks.start_jobs", JOBS_EVERY_S),
    "deliver-webhooks": _every("voice.tasks.deliver_webhooks", WEBHOOKS_EVERY_S),
    "sweep-uploads": _every("voice.tasks.sweep_uploads", 600),
    "mark-balances": _every("billing.tasks.mark_balances", 300),
    "build-evidence": _every("advisor.tasks.build_evidence", EVIDENCE_EVERY_S),
    "measure-effects": _every("advisor.tasks.measure_effects", 3_600),
    "forget-samples": _every("advisor.tasks.forget_samples", 3_600),
    "forget-old-advice": _daily("advisor.tasks.forget_old", 4, 53),
    # At 09:00 on Monday and, for what is missing, in each quarter of an hour after it: the task knows what is due.
    "advise": {"task": "advisor.tasks.fan_out", "schedule": crontab(minute="*/15")},
    "watch-models": _every("advisor.tasks.watch", WATCH_EVERY_S),
    "send-advice": _every("advisor.tasks.send_letters", ADVISOR_SEND_EVERY_S),
    "look-after-pins": _every("advisor.tasks.look_after_pins", PINS_EVERY_S),
    "judge-upgrades": _every("advisor.tasks.judge_upgrades", PINS_EVERY_S),
}


@task_postrun.connect  # type: ignore[untyped-decorator]
def _count_job(task: Any, state: str, **_: Any) -> None:
    """For `/metrics`; a full disk must not fail a job that is done."""
    metrics.count("komilion_jobs", (task.name, state or "unknown"))
    try:
        metrics.write()
    except OSError as error:
        log.warning("metrics not written", extra={"error": str(error)})
