"""`python -m bench`: see `compare`, `profile`, `streams`, `voice.relay` and `voice.cascade` in this folder."""

import argparse
import sys

from bench import compare, profile, streams
from bench.stand import CannotMeasure
from bench.voice import cascade, relay

COMMANDS = {
    "compare": compare.main,
    "profile": profile.main,
    "streams": streams.main,
    "voice": relay.main,
    "cascade": cascade.main,
}


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
