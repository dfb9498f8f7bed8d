"""`python -m komilion.supervisor`, which is what `make run` does."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured


def main() -> int:
    """The exit code. Settings are read on import, so what is wrong with them shows here, as one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    try:
        from komilion.supervisor import run  # noqa: PLC0415
    except ImproperlyConfigured as error:
        sys.stderr.write(f"komilion: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"komilion: DATA_DIR cannot be used: {error.filename}: {error.strerror}\n")
        return 1
    return run.main()


if __name__ == "__main__":
    sys.exit(main())
