"""Where e-mail goes: `MAIL_URL` as Django's MAILERS. The address may hold a password, so it is never quoted."""

import importlib.util
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

MAIL_FOLDER = "mail"
TIMEOUT_S = 10
PORTS = {"smtp": 587, "smtps": 465}
ANYMAIL = "anymail+"
ANYMAIL_ALIASES = {"ses": "amazon_ses", "unisender": "unisender_go"}
# What a vendor's key is called in django-anymail, where it is not `api_key`.
ANYMAIL_KEYS = {
    "postmark": "server_token",
    "mailersend": "api_token",
    "mailtrap": "api_token",
    "scaleway": "secret_key",
}
# What a vendor that signs what it posts calls the key for that; the others are known by the secret alone.
SIGNING_KEYS = {
    "mailersend": "MAILERSEND_SIGNING_SECRET",
    "mailgun": "MAILGUN_WEBHOOK_SIGNING_KEY",
    "mandrill": "MANDRILL_WEBHOOK_KEY",
}
WEBHOOK_USER = "komilion"
SHAPES = "file:, file:///folder, console:, smtp://user:password@host:587, smtps://... or anymail+resend://KEY"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def mailers(url: str, data_dir: Path) -> dict[str, Any]:
    """Django's MAILERS for `url`; empty means files in the data folder. Raises `ImproperlyConfigured`."""
    try:
        parts = urlsplit(url or "file:")
        _ = parts.port if not parts.scheme.startswith(ANYMAIL) else None
    except ValueError:
        raise ImproperlyConfigured("MAIL_URL is no address: its host or port cannot be read") from None
    if parts.scheme == "file":
        folder = unquote(parts.path) or str(data_dir / MAIL_FOLDER)
        return _mailer("komilion.common.mail_files.EmailBackend", folder=folder)
    if parts.scheme == "console":
        return _mailer("django.core.mail.backends.console.EmailBackend")
    if parts.scheme in PORTS:
        return _smtp(parts)
    if parts.scheme.startswith(ANYMAIL):
        return _anymail(parts)
    raise ImproperlyConfigured(f"MAIL_URL must be one of {SHAPES}")


def vendor_of(mailers: dict[str, Any]) -> str:
    """The vendor of django-anymail that sends the mail; empty where none does."""
    found = re.fullmatch(r"anymail\.backends\.(\w+)\.EmailBackend", mailers["default"]["BACKEND"])
    return found[1] if found else ""


def webhooks(mailers: dict[str, Any], secret: str, signing_key: str) -> dict[str, str]:
    """django-anymail's settings for what the vendor posts; empty without a secret, then nothing is heard.

    Raises `ImproperlyConfigured`. The secret is never quoted.
    """
    vendor = vendor_of(mailers)
    if not secret:
        return {}
    if not re.fullmatch(r"[A-Za-z0-9_-]+", secret):
        raise ImproperlyConfigured("MAIL_WEBHOOK_SECRET may hold letters, digits, - and _, as it stands in an address")
    if not vendor or importlib.util.find_spec(f"anymail.webhooks.{vendor}") is None:
        raise ImproperlyConfigured("MAIL_WEBHOOK_SECRET is set, but MAIL_URL names no vendor that tells of bounces")
    found = {"WEBHOOK_SECRET": f"{WEBHOOK_USER}:{secret}"}
    if vendor in SIGNING_KEYS:
        if not signing_key:
            raise ImproperlyConfigured(f"MAIL_WEBHOOK_SIGNING_KEY must be the key by which {vendor} signs its events")
        found[SIGNING_KEYS[vendor]] = signing_key
    if vendor == "unisender_go":  # signs with the key by which it takes mail
        found["UNISENDER_GO_API_KEY"] = mailers["default"]["OPTIONS"]["api_key"]
    return found


def sender(address: str, public_url: str) -> str:
    """Who mails come from: MAIL_FROM, by default `noreply` at the public host. Raises `ImproperlyConfigured`."""
    host = urlsplit(public_url).hostname or "localhost"
    if not address:
        is_name = "." in host and not re.fullmatch(r"[0-9.]+", host)
        return f"Komilion <noreply@{host if is_name else 'localhost'}>"
    if not re.fullmatch(r"[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+", address):
        raise ImproperlyConfigured(f"MAIL_FROM must look like Name <name@example.com>, not {address!r}")
    return address


def _mailer(backend: str, **options: object) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "OPTIONS": options}}


def _smtp(parts: SplitResult) -> dict[str, Any]:
    """TLS from the start with `smtps`, STARTTLS with `smtp`; `?tls=off` for a relay on this machine or network."""
    options = dict(parse_qsl(parts.query))
    tls = options.pop("tls", "on")
    if not parts.hostname or parts.path.strip("/") or options or tls not in {"on", "off"}:
        raise ImproperlyConfigured(f"MAIL_URL must look like {parts.scheme}://user:password@host:{PORTS[parts.scheme]}")
    if tls == "off" and (parts.scheme == "smtps" or (parts.password and parts.hostname not in LOOPBACK)):
        raise ImproperlyConfigured("MAIL_URL may say tls=off only with smtp:// and without a password, or on loopback")
    return _mailer(
        "django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_tls=parts.scheme == "smtp" and tls == "on",
        use_ssl=parts.scheme == "smtps",
        timeout=TIMEOUT_S,
    )


def _anymail(parts: SplitResult) -> dict[str, Any]:
    """`anymail+VENDOR://KEY?option=value`: the key under the vendor's name for it, and its options as they are."""
    vendor = parts.scheme.removeprefix(ANYMAIL).replace("-", "_")
    vendor = ANYMAIL_ALIASES.get(vendor, vendor)
    if not re.fullmatch(r"[a-z_]+", vendor) or vendor in {"base", "base_requests", "test", "console"}:
        raise ImproperlyConfigured("MAIL_URL must name a vendor of django-anymail, as in anymail+resend://KEY")
    if importlib.util.find_spec(f"anymail.backends.{vendor}") is None:
        raise ImproperlyConfigured(f"MAIL_URL: django-anymail knows no vendor {vendor!r}")
    options: dict[str, object] = dict(parse_qsl(parts.query))
    if vendor == "amazon_ses":  # its credentials are found by boto3
        return _mailer("anymail.backends.amazon_ses.EmailBackend", **options)
    key = unquote(parts.netloc)
    if not key:
        raise ImproperlyConfigured(f"MAIL_URL lacks the key, as in anymail+{vendor}://KEY")
    options = {ANYMAIL_KEYS.get(vendor, "api_key"): key, **options, "requests_timeout": TIMEOUT_S}
    return _mailer(f"anymail.backends.{vendor}.EmailBackend", **options)
