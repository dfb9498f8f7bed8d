"""The real settings with shorter times, for tests that wait for what normally takes minutes.

`komilion.settings` itself is changed too, since some modules read it without Django.
"""

import os

from komilion import settings as real

SHORTER = {
    "HOLD_LIFETIME_S": 2,
    "HEARTBEAT_EVERY_S": 1,
    "PROCESS_GONE_AFTER_S": 4,
    "SHUTDOWN_GRACE_S": 2,
    "SETTLEMENT_WAIT_S": 2,
}

if os.environ.get("DJANGO_SETTINGS_MODULE") == __name__:  # not where only the numbers are of interest
    for _name, _value in SHORTER.items():
        setattr(real, _name, _value)

from komilion.settings import *  # noqa: E402, F403 - after the changes above
