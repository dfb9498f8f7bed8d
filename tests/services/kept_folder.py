"""A temporary folder that goes when its owner goes, however that happens: `keeper.py` sees to it."""

import subprocess
import sys
import tempfile
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")
RELEASE_DEADLINE_S = 60


class KeptFolder:
    """`path` is there until `release` or the death of this process."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._keeper = subprocess.Popen(
            [sys.executable, str(KEEPER), str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests; the keeper acts when they are gone
        )

    def release(self) -> None:
        """Stop the server in the folder, if there is one, and remove the folder."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(RELEASE_DEADLINE_S)
