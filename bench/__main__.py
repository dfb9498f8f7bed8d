"""`python -m bench`: see `bench.compare`, `bench.profile`, `bench.streams` and `bench.voice.relay`."""

import argparse
import sys

from bench import compare, profile, streams
from bench.stand import CannotMeasure
from bench.voice import relay as voice

COMMANDS = {"compare": compare.main, "profile": profile.main, "streams": streams.main, "voice": voice.main}


def main() -> int:
    """The exit code: 1 where a mark was missed, 2 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", default="compare", choices=sorted(COMMANDS))
    try:
        return 0 if COMMANDS[parser.parse_args().what]() else 1
    except CannotMeasure as error:
        sys.stderr.write(f"cannot measure: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
