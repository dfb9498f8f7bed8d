"""Settings come from the environment through these typed readers, which fail loudly and name the variable.

What an installation must keep but nobody should have to type (secret key, pepper of the key hashes, password and port
of the embedded Valkey) is made once in `DATA_DIR/instance.json` and read by every command, so that `manage.py` finds a
running instance.
"""

import contextlib
import hashlib
import ipaddress
import json
import os
import re
import secrets
import socket
import stat
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from komilion.common.clock import unix_s
from komilion.common.credentials import FITS_A_HEADER, fits_a_header
from komilion.common.money import InvalidAmount, parse_usd

INSTANCE_FILE = "instance.json"
SQLITE_FILE = "komilion.sqlite3"
DEFAULT_DATA_DIR = "./var"
SECRET_LEAST_CHARACTERS = 32
HOST_NAME = re.compile(r"(?=.*[a-zA-Z])[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*")
REDIS_SCHEMES = ("redis", "rediss", "unix")
STRIPE_KEY_PREFIXES = ("sk_live_", "rk_live_", "sk_test_", "rk_test_")
SOCIAL_ORIGINS = {"google": "https://accounts.google.com", "github": "https://github.com"}
SOCIAL_SCOPES = {"google": ["openid", "email"], "github": ["user:email"]}


@contextlib.contextmanager
def ending_in_one_line() -> Iterator[None]:
    """For the main module of a process: settings that make no sense end it with one line on stderr and exit code 1."""
    try:
        yield
    except ImproperlyConfigured as error:
        raise SystemExit(f"komilion: {error}") from None


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


def choice(name: str, default: str, choices: Collection[str]) -> str:
    """One of `choices`, which are upper case; the variable may be written in any."""
    raw = text(name, default)
    if raw.upper() not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {raw!r}")
    return raw.upper()


def us_dollars(name: str, default: str) -> int:
    """An amount such as 5.00, as nano-USD."""
    try:
        return parse_usd(text(name, default))
    except InvalidAmount as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def social_logins(**pairs: tuple[str, str]) -> dict[str, dict[str, object]]:
    """django-allauth's settings of each provider whose pair (client id, client secret) is set."""
    logins: dict[str, dict[str, object]] = {}
    for name, (client_id, client_secret) in pairs.items():
        if bool(client_id) != bool(client_secret):
            variables = f"SOCIAL_{name.upper()}_CLIENT_ID and SOCIAL_{name.upper()}_CLIENT_SECRET"
            raise ImproperlyConfigured(f"{variables} must be set together, or neither")
        if client_id:
            app = {"client_id": client_id, "secret": client_secret, "key": ""}
            logins[name] = {"APPS": [app], "SCOPE": SOCIAL_SCOPES[name], "OAUTH_PKCE_ENABLED": True}
    return logins


def folder(name: str, default: str) -> Path:
    """An absolute path; nothing is made there."""
    return Path(text(name, default)).resolve()


def secret(name: str, default: str) -> str:
    """A text that nobody can guess, of at least 32 characters. It is never quoted."""
    value = text(name, default)
    if len(value) < SECRET_LEAST_CHARACTERS:
        least = f"at least {SECRET_LEAST_CHARACTERS} characters, such as the output of `openssl rand -hex 32`"
        raise ImproperlyConfigured(f"{name} must have {least}; it has {len(value)}")
    return value


def optional_secret(name: str) -> str:
    """A secret that may be left out: then empty."""
    return secret(name, "") if os.environ.get(name) else ""


def words(name: str) -> list[str]:
    """What stands between commas, without what is empty; none where the variable is unset."""
    return [word for part in text(name, "").split(",") if (word := part.strip())]


def hosts_and_networks(name: str) -> tuple[str, ...]:
    """Names of hosts, addresses and networks (`10.0.0.0/8`), separated by commas."""
    found = tuple(words(name))
    for word in found:
        if not HOST_NAME.fullmatch(word) and not _is_network(word):
            raise ImproperlyConfigured(f"{name} holds {word!r}, which is neither a host, an address nor a network")
    return found


def _is_network(word: str) -> bool:
    try:
        ipaddress.ip_network(word)
    except ValueError:
        return False
    return True


def stripe_key(name: str) -> str:
    """A secret or restricted key of Stripe's, live or test; empty where it is unset. It is never quoted."""
    key = text(name, "")
    if key and not key.startswith(STRIPE_KEY_PREFIXES):
        raise ImproperlyConfigured(f"{name} must start with {', '.join(STRIPE_KEY_PREFIXES)}")
    return key


def fernet_keys(name: str, default: str) -> list[str]:
    """Fernet keys separated by commas, in their order. They are never quoted."""
    keys = [key.strip() for key in text(name, default).split(",")]
    for number, key in enumerate(keys, start=1):
        if not _is_fernet_key(key):
            what = "Fernet keys (32 bytes in URL-safe base64) separated by commas"
            raise ImproperlyConfigured(f"{name} must be {what}; number {number} of {len(keys)} is none")
    return keys


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def api_key(name: str) -> str:
    """A provider's API key without the blanks around it (a secret's file ends in a newline); empty where it is unset.

    It is never quoted.
    """
    key = os.environ.get(name, "").strip()
    if not fits_a_header(key):
        raise ImproperlyConfigured(f"{name} must be {FITS_A_HEADER}")
    return key


def redis_url(name: str, default: str) -> str:
    """An address of a Redis: `redis://`, `rediss://` or `unix://`. It is never quoted, it may hold a password."""
    url = text(name, default)
    parts = _split(name, url)
    if parts.scheme not in REDIS_SCHEMES:
        raise ImproperlyConfigured(f"{name} must start with redis://, rediss:// or unix://")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ImproperlyConfigured(f"{name} must name the socket, as in unix:///run/valkey.sock")
    elif not parts.hostname or not re.fullmatch(r"/?[0-9]{0,5}", parts.path):
        raise ImproperlyConfigured(f"{name} must look like {parts.scheme}://:password@host:port/0")
    return url


def redis_prefix(key_pepper: bytes) -> str:
    """What begins every name of an installation in Redis. All servers of one have the same pepper, no two have one."""
    return f"komilion:{hashlib.sha256(b'redis:' + key_pepper).hexdigest()[:12]}:"


def public_url(name: str, host: str, port: int) -> str:
    """The address under which people reach the server, without a slash at its end; by default that on this machine."""
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    url = text(name, f"http://{local}:{port}").rstrip("/")
    parts = _split(name, url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ImproperlyConfigured(f"{name} must look like https://gateway.example.com, not {url!r}")
    return url


def base_url(name: str, default: str) -> str:
    """An address of a service, `http://` or `https://`, without a slash at its end and without login or query."""
    url = text(name, default).rstrip("/")
    parts = _split(name, url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ImproperlyConfigured(f"{name} must look like https://api.example.com, not {url!r}")
    return url


def broker_url(url: str) -> str:
    """`REDIS_URL` as Celery writes it: the same, but for a socket, whose scheme and database have other names there."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    options = dict(parse_qsl(parts.query))
    user = parts.username or options.get("username", "")
    password = quote(unquote(parts.password or "") or options.get("password", ""), safe="")
    login = f"{user}:{password}@" if user or password else ""
    return f"redis+socket://{login}{parts.path}?{urlencode({'virtual_host': options.get('db', '0')})}"


def _split(name: str, url: str) -> SplitResult:
    """The parts of an address whose port, if there is one, is a port."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ImproperlyConfigured(f"{name} is no address: its host or port cannot be read") from None
    return parts


def database(url: str, data_dir: Path) -> dict[str, object]:
    """`DATABASE_URL` as Django's DATABASES["default"]; empty means SQLite in the data folder."""
    if not url:
        url = f"sqlite:///{data_dir / SQLITE_FILE}"
    parts = _split("DATABASE_URL", url)
    if parts.scheme == "sqlite" and url.removeprefix("sqlite:///") not in {"", url}:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    # To compile a page's sums would take ten times as long as to run them (docs/usage.md).
    options = {"options": "-c jit=off", **dict(parse_qsl(parts.query))}
    if parts.scheme in {"postgres", "postgresql"} and (parts.path.strip("/") or "service" in options):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.lstrip("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 0,
            "OPTIONS": options,
        }
    if parts.scheme in {"postgres", "postgresql", "sqlite"}:
        raise ImproperlyConfigured("DATABASE_URL must name a database: postgres://host/name or sqlite:///path")
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
    made_at_unix_s: int = 0  # 0: made by a version that did not note it

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
        made_at_unix_s=unix_s(),
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
    """Read `instance.json`, making it (and the folder) first where missing; safe with many processes at once.

    The folder is 0700 afterwards. Raises `ImproperlyConfigured` where it cannot be, and for a damaged file.
    """
    path = data_dir / INSTANCE_FILE
    try:
        _make_private(data_dir)
        if not path.exists():
            _make_instance(path)
        content = path.read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR cannot be used: {error.filename}: {error.strerror}") from error
    try:
        instance = Instance(**json.loads(content))
        _check(instance)
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{path} is damaged: {error}. Restore it from a backup.") from error
    return instance


def _make_private(data_dir: Path) -> None:
    """The folder, readable by us alone. Raises `ImproperlyConfigured` where that cannot be had, and `OSError`.

    A folder of ours is closed to others only when nothing else lies in it: DATA_DIR may be a home or /tmp by mistake.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = data_dir.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid() and _holds_nothing_else(data_dir):
        with contextlib.suppress(OSError):  # a file system that keeps no modes; what counts is what it says below
            data_dir.chmod(0o700)
    if stat.S_IMODE(data_dir.stat().st_mode) & 0o077:
        raise ImproperlyConfigured(
            f"DATA_DIR {data_dir} is open to other users; make it the property of the user who runs Komilion, "
            "with mode 0700, or name a new folder inside it"
        )


def _holds_nothing_else(data_dir: Path) -> bool:
    """Whether the folder is empty or an installation's."""
    names = {path.name for path in data_dir.iterdir()}
    return not names or not names.isdisjoint({INSTANCE_FILE, SQLITE_FILE})


def _make_instance(path: Path) -> None:
    draft = _write_private(path, json.dumps(asdict(_new_instance()), indent=2))
    try:
        os.link(draft, path)  # atomic: of several starting processes exactly one wins, the others read its file
    except FileExistsError:
        pass  # another process was first; its file is read afterwards
    finally:
        draft.unlink()


def _check(instance: Instance) -> None:
    """Raises `ValueError` for a value that nothing here would have written."""
    for field in fields(instance):
        if type(getattr(instance, field.name)) is not field.type:
            raise ValueError(f"{field.name} has a wrong type")
    for name in ("secret_key", "key_pepper"):
        if len(getattr(instance, name)) < SECRET_LEAST_CHARACTERS:
            raise ValueError(f"{name} is too short")
    if not _is_fernet_key(instance.credential_key):
        raise ValueError("credential_key is no Fernet key")


def move_ports(data_dir: Path, **ports: int) -> Instance:
    """Give the instance other ports (the old ones are taken by somebody else) and keep everything else."""
    moved = Instance(**(asdict(load_instance(data_dir)) | ports))
    _write_private(data_dir / INSTANCE_FILE, json.dumps(asdict(moved), indent=2)).replace(data_dir / INSTANCE_FILE)
    return moved
