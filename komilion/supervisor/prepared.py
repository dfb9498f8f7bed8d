"""What the `prepare` process tells the supervisor: a small file in `DATA_DIR/run`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "prepared.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`notes` are lines for the operator; `demo_key_works` says whether the key in `demo.key` is worth printing.

    `test_payments` is what TEST_PAYMENTS shall be for the processes that are started; `refusal` is why none may be.
    """

    demo_key_works: bool
    notes: Sequence[str] = ()
    test_payments: bool = False
    refusal: str = ""

    def save(self, run_dir: Path) -> None:
        """For the supervisor, which reads it when this process has ended."""
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (run_dir / FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, run_dir: Path) -> "Prepared":
        """What was saved last. Raises `OSError` where nothing was."""
        return cls(**json.loads((run_dir / FILE).read_text()))
