"""The run book has a row for every alarm that the code raises, and for nothing else."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAISED = re.compile(r'"alarm": "(\w+)"|_alarm\(\s*"(\w+)"')


def test_the_run_book_has_every_alarm() -> None:
    files = [
        path for name in ("accounts", "billing", "komilion", "routing", "voice") for path in (ROOT / name).rglob("*.py")
    ]
    raised = {one or other for path in files for one, other in RAISED.findall(path.read_text())}
    section = (ROOT / "docs" / "runbook.md").read_text().partition("\n## Alarms\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == raised
