"""`python -m komilion.supervisor`, which is what `make run` does."""

import os
import sys

from komilion import env


def main() -> int:
    """The exit code. Settings are read on import, so what is wrong with them shows here, as one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    with env.ending_in_one_line():
        from komilion.supervisor import run  # noqa: PLC0415
    return run.main()


if __name__ == "__main__":
    sys.exit(main())
