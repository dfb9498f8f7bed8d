"""Settings come from the environment through these typed readers, which fail loudly and name the variable.

What an installation must keep but nobody should have to type (secret key, pepper of the key hashes, password and port
of the embedded Valkey) is made once in `DATA_DIR/instance.json` and read by every command, so that `manage.py` finds a
running instance.
"""

import json
import os
import re
import secrets
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

INSTANCE_FILE = "instance.json"


def text(name: str, default: str) -> str:
    """The variable, or `default` where it is unset or empty."""
    return os.environ.get(name) or default


def whole_number(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    """An integer within [least, most]."""
    raw = text(name, str(default))
    if not re.fullmatch(r"-?[0-9]{1,10}", raw) or not least <= int(raw) <= most:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}, not {raw!r}")
    return int(raw)


def switch(name: str, *, default: bool) -> bool:
    """1/0, true/false, on/off, yes/no; anything else is refused rather than taken for False."""
    raw = text(name, "1" if default else "0").lower()
    if raw in {"1", "true", "on", "yes"}:
        return True
    if raw in {"0", "false", "off", "no"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {raw!r}")


def database(url: str, data_dir: Path) -> dict[str, object]:
    """`DATABASE_URL` as Django's DATABASES["default"]; empty means SQLite in the data folder."""
    if not url:
        url = f"sqlite:///{data_dir / 'komilion.sqlite3'}"
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    if parts.scheme in {"postgres", "postgresql"}:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 0,
            "OPTIONS": dict(parse_qsl(parts.query)),
        }
    raise ImproperlyConfigured(f"DATABASE_URL must start with postgres:// or sqlite:///, not {parts.scheme!r}")


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Instance:
    """What one installation keeps for itself; made on first use, then only read (ports may move)."""

    secret_key: str
    key_pepper: str
    credential_key: str
    valkey_port: int
    valkey_password: str
    local_models_port: int

    @property
    def valkey_url(self) -> str:
        """Where the embedded Valkey of this installation listens."""
        return f"redis://:{self.valkey_password}@127.0.0.1:{self.valkey_port}/0"


def _new_instance() -> Instance:
    return Instance(
        secret_key=secrets.token_urlsafe(48),
        key_pepper=secrets.token_hex(32),
        credential_key=Fernet.generate_key().decode(),
        valkey_port=free_port(),
        valkey_password=secrets.token_urlsafe(24),
        local_models_port=free_port(),
    )


def _write_private(path: Path, content: str) -> Path:
    """A new file beside `path`, readable by the owner alone and already on the disk."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def load_instance(data_dir: Path) -> Instance:
    """Read `instance.json`, making it (and the 0700 folder) first where missing; safe with many processes at once."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / INSTANCE_FILE
    if not path.exists():
        draft = _write_private(path, json.dumps(asdict(_new_instance()), indent=2))
        try:
            os.link(draft, path)  # atomic: of several starting processes exactly one wins, the others read its file
        except FileExistsError:
            pass  # another process was first; its file is read below
        finally:
            draft.unlink()
    try:
        return Instance(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{path} is damaged: {error}. Restore it from a backup.") from error


def move_ports(data_dir: Path, **ports: int) -> Instance:
    """Give the instance other ports (the old ones are taken by somebody else) and keep everything else."""
    moved = Instance(**(asdict(load_instance(data_dir)) | ports))
    _write_private(data_dir / INSTANCE_FILE, json.dumps(asdict(moved), indent=2)).replace(data_dir / INSTANCE_FILE)
    return moved
