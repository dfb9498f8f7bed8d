#!/usr/bin/env python
"""Django's command line for this project."""

import os
import signal
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import Error

from komilion import env

# Our own commands work on an installation; all but the last also on its database. Without these two they must not make
# an empty one, whose keys and tenants no server would ever see.
OUR_COMMANDS = (
    "tenant",
    "provider",
    "secrets",
    "model",
    "routing",
    "wallet",
    "holds",
    "ledger",
    "usage",
    "catalog",
    "catalog_seed",
    "local_models",
    "advisor",
)
WITHOUT_DATABASE = ("local_models",)


def require_installation(command: str) -> None:
    """Raises `ImproperlyConfigured` where there is nothing that one of our commands could work on."""
    data_dir = env.folder("DATA_DIR", env.DEFAULT_DATA_DIR)
    database = env.database(env.text("DATABASE_URL", ""), data_dir)
    needed = [data_dir / env.INSTANCE_FILE]
    if "sqlite" in str(database["ENGINE"]) and command not in WITHOUT_DATABASE:
        needed.append(Path(str(database["NAME"])))
    if not all(path.is_file() for path in needed):
        raise ImproperlyConfigured(
            f'There is no installation in {data_dir}; start one with "make run", '
            "or set DATA_DIR (and DATABASE_URL) as the server's."
        )


def advice_on(reason: str) -> str:
    """What to do about an error of the database."""
    if "disk is full" in reason or "No space left" in reason:
        return "Make room on the disk first."
    if "connect" in reason or "starting up" in reason or "shutting down" in reason:
        return "Start it, or correct DATABASE_URL."
    if "locked" in reason or "timeout" in reason:
        return "Something else holds it; try again."
    if "no such table" in reason or "does not exist" in reason or "no such column" in reason:
        return '"make run" brings it up to date.'
    return "Where it is damaged it must be restored from a backup."


def main() -> int:
    """The exit code. What is wrong with the installation is said in one line; a database's error whole on demand."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if command in OUR_COMMANDS:
            require_installation(command)
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except ImproperlyConfigured as error:
        sys.stderr.write(f"{error}\n")
    except BrokenPipeError:  # whoever read it, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush would say so
        return 128 + signal.SIGPIPE
    except Error as error:
        if "--traceback" in sys.argv:
            raise
        reason = " ".join(str(error).split())
        sys.stderr.write(f"The database cannot be used: {reason}. {advice_on(reason)}\n")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
