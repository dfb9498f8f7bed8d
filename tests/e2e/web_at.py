"""`python -m tests.e2e.web_at MOMENT`: a web process at another time (ISO 8601), which goes on from there."""

import sys
from datetime import datetime

import time_machine

from komilion.uvicorn_worker import main

if __name__ == "__main__":
    with time_machine.travel(datetime.fromisoformat(sys.argv[1]), tick=True):
        sys.exit(main())
