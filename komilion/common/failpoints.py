"""Named places where a test may stop or kill the process; in production each costs one look into an empty dict.

`KOMILION_FAILPOINTS="after-commit:5=kill,first-byte=stop"`: at the fifth pass of `after-commit` the process kills
itself with SIGKILL; at the first pass of `first-byte` it stops itself with SIGSTOP until somebody sends SIGCONT.
"""

import os
import signal
import threading

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def _parse(text: str) -> dict[str, tuple[int, signal.Signals]]:
    armed = {}
    for part in filter(None, text.split(",")):
        place, _, action = part.partition("=")
        name, _, passes = place.partition(":")
        armed[name] = (int(passes or 1), _SIGNALS[action])
    return armed


_armed = _parse(os.environ.get("KOMILION_FAILPOINTS", ""))


def any_armed() -> bool:
    """Whether some place is armed, for those who must look around to know which place they pass."""
    return bool(_armed)


def failpoint(name: str) -> None:
    """Pass the place `name`; does nothing unless the environment armed it."""
    if not _armed or name not in _armed:
        return
    passes, number = _armed[name]
    if passes > 1:
        _armed[name] = (passes - 1, number)
        return
    del _armed[name]
    # To this very thread, which therefore goes no further; a signal to the process may be taken by another one first.
    signal.pthread_kill(threading.get_ident(), number)
