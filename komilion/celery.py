"""Jobs outside requests: the Celery application, and what runs when.

The schedule is copied to Redis by redbeat when beat starts, so a task's last run survives restarts and only
one beat of many is active.
"""

import os
from datetime import timedelta

from celery import Celery
from django.conf import settings

from komilion import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")

BEAT_LOOK_EVERY_S = 5
BEAT_LOCK_S = 20  # what a killed beat costs its successor; must outlast a few looks, each of which renews the lock

with env.ending_in_one_line():  # this is the first look at the settings, which reads them
    REAP_EVERY_S = settings.REAP_EVERY_S

app = Celery("komilion")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_max_loop_interval = BEAT_LOOK_EVERY_S
app.conf.redbeat_lock_timeout = BEAT_LOCK_S
app.conf.result_expires = None  # no results are kept, so beat need not clean them up
app.conf.beat_schedule = {
    "reap-holds": {
        "task": "billing.tasks.reap_holds",
        "schedule": timedelta(seconds=REAP_EVERY_S),
        "options": {"expires": REAP_EVERY_S},  # the next one does the work of one that came too late
    },
    "ensure-partitions": {
        "task": "billing.tasks.ensure_partitions",
        "schedule": timedelta(days=1),
    },
}
