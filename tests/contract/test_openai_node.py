"""The unmodified `openai` package for Node drives a live gateway; needs node, npm and its registry once."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from tests.stand import Gateway, Tenant

SOURCE = Path(__file__).with_name("node")
INSTALL_DEADLINE_S = 120
RUN_DEADLINE_S = 40


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI must test the Node client: {what}")
    pytest.skip(f"needs the Node client: {what}")


def _installed() -> Path:
    """A folder with the locked packages and the script; made once for each lock file."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        _missing("node or npm is not installed")
    lock = (SOURCE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "komilion-tests"
    folder = cache / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=cache))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, draft)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=draft, capture_output=True, text=True, timeout=INSTALL_DEADLINE_S, check=False
        )
        if done.returncode:
            shutil.rmtree(draft)
            _missing(f"npm ci failed: {done.stderr[-500:]}")
        draft.rename(folder)  # only a whole one gets the name
    shutil.copy(SOURCE / "contract.mjs", folder)
    return folder


@pytest.mark.timeout(INSTALL_DEADLINE_S + RUN_DEADLINE_S)
def test_node_client(gateway: Gateway, alice: Tenant):
    scripts = {"plain": "ok", "tool": "tool", "json": "json", "busy": "429", "broken": "500"}
    models = {use: gateway.add_model(script) for use, script in scripts.items()}
    environment = {
        "PATH": os.environ["PATH"],
        "BASE_URL": f"{gateway.url}/v1",
        "API_KEY": alice.key,
        "MODELS": json.dumps(models),
    }
    done = subprocess.run(
        ["node", "contract.mjs"],
        cwd=_installed(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)

    assert saw["listed"]
    assert saw["retrieved"] == models["plain"]
    assert saw["created"] == saw["streamed"] == saw["helper"] != ""
    assert len(set(saw["ids"])) == 1
    assert saw["cost"] > 0
    assert saw["streamedUsage"]["completion_tokens"] == 12
    assert saw["tool"] == {"name": "weather", "arguments": '{"location": "Lund"}'}
    assert saw["parsed"] == {"name": "Ada", "age": 36}
    assert saw["errors"] == {
        "wrongKey": "AuthenticationError",
        "unknownModel": "BadRequestError",
        "modelNotFound": "NotFoundError",
        "rateLimit": "RateLimitError",
        "provider": "InternalServerError",
    }
    assert saw["distinct"] == 40
