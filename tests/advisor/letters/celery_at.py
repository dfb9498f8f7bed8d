"""`python -m tests.advisor.letters.celery_at MOMENT worker|beat ...`: Celery's own program, at another time.

The process lives at that moment (ISO 8601) and goes on from there.
"""

import sys
from datetime import datetime

import django
import time_machine
from celery.__main__ import main


def run(moment: datetime, command: list[str]) -> None:
    """Be `celery -A komilion COMMAND`. What is imported before time moves may measure durations while it is."""
    django.setup()
    from komilion.celery import app

    app.set_current()
    sys.argv = ["celery", "-A", "komilion", *command]
    with time_machine.travel(moment, tick=True):
        main()


if __name__ == "__main__":
    run(datetime.fromisoformat(sys.argv[1]), sys.argv[2:])
