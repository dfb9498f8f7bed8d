"""Selection is arithmetic: it can be imported where Django is not set up."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = (
    *("words", "market", "filters", "guesses", "cost", "live", "sessions", "offsets", "policy", "choose", "receipt"),
    *("explain", "savings", "workflow"),
)


def test_no_module_needs_django() -> None:
    lines = [f"import routing.selection.{name}" for name in MODULES]
    lines.append("import sys; assert 'django' not in sys.modules")
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", "; ".join(lines)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
