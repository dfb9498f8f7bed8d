"""MAIL_URL and MAIL_FROM: what they may say, and what is said about those that make no sense."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage as Message
from email.parser import BytesParser
from email.policy import default as default_policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.core.mail import mailers as open_mailers
from pytest_django import Settings

from komilion.common.clock import utc_now
from komilion.env import free_port
from komilion.mail_url import mailers, sender, webhooks

ROOT = Path(__file__).parents[2]


def mailer(url: str) -> tuple[str, dict[str, Any]]:
    """The backend of an address, and its options."""
    (made,) = mailers(url, Path("/data")).values()
    return made["BACKEND"], made["OPTIONS"]


def test_where_nothing_is_set_mails_are_files_in_the_data_folder():
    assert mailer("") == mailer("file:") == ("komilion.common.mail_files.EmailBackend", {"folder": "/data/mail"})
    assert mailer("file:///srv/out%20box")[1] == {"folder": "/srv/out box"}
    assert mailer("console:") == ("django.core.mail.backends.console.EmailBackend", {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://me:p%40ss@mail.example.com:2525", ("mail.example.com", 2525, "me", "p@ss", True, False)),
        ("smtp://mail.example.com", ("mail.example.com", 587, "", "", True, False)),
        ("smtps://me:secret@mail.example.com", ("mail.example.com", 465, "me", "secret", False, True)),
        ("smtp://relay.internal:25?tls=off", ("relay.internal", 25, "", "", False, False)),
        ("smtp://me:secret@127.0.0.1:25?tls=off", ("127.0.0.1", 25, "me", "secret", False, False)),
    ],
)
def test_a_mail_server_is_spoken_to_with_tls(url: str, expected: tuple[object, ...]):
    backend, options = mailer(url)
    assert backend == "django.core.mail.backends.smtp.EmailBackend"
    names = ("host", "port", "username", "password", "use_tls", "use_ssl")
    assert tuple(options[name] for name in names) == expected
    assert options["timeout"] == 10


@pytest.mark.parametrize(
    ("url", "backend", "options"),
    [
        ("anymail+resend://re_Key123", "resend", {"api_key": "re_Key123"}),
        ("anymail+brevo://xkeysib.%2F%40", "brevo", {"api_key": "xkeysib./@"}),
        ("anymail+postmark://token", "postmark", {"server_token": "token"}),
        (
            "anymail+mailgun://key?sender_domain=mg.example.com",
            "mailgun",
            {"api_key": "key", "sender_domain": "mg.example.com"},
        ),
        ("anymail+mailjet://key?secret_key=other", "mailjet", {"api_key": "key", "secret_key": "other"}),
    ],
)
def test_a_vendor_is_named_with_its_key_and_its_backend_takes_that(
    url: str, backend: str, options: dict[str, str], settings: Settings
):
    assert mailer(url) == (f"anymail.backends.{backend}.EmailBackend", {**options, "requests_timeout": 10})
    settings.MAILERS = mailers(url, Path("/data"))
    assert open_mailers.default.timeout == 10


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mail.example.com", "must be one of"),
        ("http://secret@mail.example.com", "must be one of"),
        ("smtp://", "must look like smtp://"),
        ("smtp://secret@host:999999", "its host or port cannot be read"),
        ("smtp://u:secret@host/path", "must look like smtp://"),
        ("smtp://u:secret@host?verify=off", "must look like smtp://"),
        ("smtp://u:secret@host?tls=off", "tls=off only"),
        ("smtps://host?tls=off", "tls=off only"),
        ("anymail+resend://", "lacks the key"),
        ("anymail+nobody://secret", "knows no vendor 'nobody'"),
        ("anymail+base://secret", "must name a vendor"),
    ],
)
def test_what_makes_no_sense_is_refused_without_quoting_a_secret(url: str, reason: str):
    with pytest.raises(ImproperlyConfigured, match="MAIL_URL") as caught:
        mailer(url)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


SECRET = "s3cret-" * 5


@pytest.mark.parametrize(
    ("url", "key", "options"),
    [
        ("anymail+resend://re_k", "", {}),
        ("anymail+mailgun://k", "sign", {"MAILGUN_WEBHOOK_SIGNING_KEY": "sign"}),
        ("anymail+unisender://k", "", {"UNISENDER_GO_API_KEY": "k"}),
        ("anymail+ses://", "", {}),
    ],
)
def test_a_vendor_may_tell_of_bounces_where_a_secret_is_set(url: str, key: str, options: dict[str, str]):
    assert webhooks(mailers(url, Path("/data")), SECRET, key) == {"WEBHOOK_SECRET": f"komilion:{SECRET}", **options}
    assert webhooks(mailers(url, Path("/data")), "", key) == {}


@pytest.mark.parametrize(
    ("url", "secret", "reason"),
    [
        ("", SECRET, "names no vendor that tells of bounces"),
        ("smtp://host", SECRET, "names no vendor that tells of bounces"),
        ("anymail+scaleway://k?project_id=p", SECRET, "names no vendor that tells of bounces"),
        ("anymail+resend://k", f"{SECRET}@", "may hold letters, digits"),
        ("anymail+mailgun://k", SECRET, "MAIL_WEBHOOK_SIGNING_KEY must be the key by which mailgun signs"),
    ],
)
def test_a_secret_that_nobody_could_use_is_refused_and_not_quoted(url: str, secret: str, reason: str):
    with pytest.raises(ImproperlyConfigured, match=reason) as caught:
        webhooks(mailers(url, Path("/data")), secret, "")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://gateway.example.com", "Komilion <noreply@gateway.example.com>"),
        ("http://127.0.0.1:8000", "Komilion <noreply@localhost>"),
        ("http://localhost:8000", "Komilion <noreply@localhost>"),
    ],
)
def test_mails_come_from_the_public_host_unless_told_otherwise(public_url: str, expected: str):
    assert sender("", public_url) == expected
    for address in ("bot@example.com", "The Bot <bot@example.com>"):
        assert sender(address, public_url) == address


@pytest.mark.parametrize("address", ["bot", "Bot <bot>", "a@b.example\r\nBcc: x@y.example", "<a@b> <c@d>"])
def test_a_sender_that_is_no_address_is_refused(address: str):
    with pytest.raises(ImproperlyConfigured, match="MAIL_FROM must look like"):
        sender(address, "https://gateway.example.com")


def test_a_mail_without_a_recipient_writes_no_file(settings: Settings, tmp_path: Path):
    settings.MAILERS = mailers("", tmp_path)
    backend = open_mailers.default
    assert backend.send_messages([EmailMultiAlternatives("Nobody", "reads this", to=[])]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"MAIL_URL": "smtp://u:secret@host?tls=off"}, "MAIL_URL may say tls=off"),
        ({"MAIL_FROM": "nobody"}, "MAIL_FROM must look like"),
        ({"TRIAL_CREDIT": "-1"}, "TRIAL_CREDIT: '-1' is not an amount"),
        ({"TRIAL_DAILY_BUDGET": "much"}, "TRIAL_DAILY_BUDGET: 'much' is not an amount"),
        (
            {"SOCIAL_GITHUB_CLIENT_ID": "x"},
            "SOCIAL_GITHUB_CLIENT_ID and SOCIAL_GITHUB_CLIENT_SECRET must be set together",
        ),
    ],
)
@pytest.mark.slow
def test_a_process_with_a_wrong_variable_ends_with_one_line_that_names_it(
    tmp_path: Path, variables: dict[str, str], line: str
):
    done = manage(tmp_path, variables, "check")
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_provider_of_logins_whose_pair_is_set_has_a_button(tmp_path: Path):
    show = """
from django.conf import settings
from django.test import Client
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
page = Client().get("/auth/login/")
print("Go on with" in page.content.decode(), page.headers["Content-Security-Policy"])
answer = Client().post("/auth/github/login/")
print(answer.status_code, answer.headers.get("Location", ""))
"""
    pair = {"SOCIAL_GITHUB_CLIENT_ID": "our-id", "SOCIAL_GITHUB_CLIENT_SECRET": "our-secret"}
    manage(tmp_path, {}, "migrate", "--verbosity", "0")
    on = manage(tmp_path, pair, "shell", "--no-imports", "-c", show).stdout
    assert on.startswith("True ")
    assert "form-action 'self' https://github.com;" in on
    assert "302 https://github.com/login/oauth/authorize?client_id=our-id" in on
    off = manage(tmp_path, {}, "shell", "--no-imports", "-c", show).stdout
    assert off.startswith("False ")
    assert "form-action 'self';" in off
    assert "\n404 " in off


def manage(data_dir: Path, variables: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these variables, in a data folder of its own."""
    ours = {"DATA_DIR": str(data_dir), "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, **ours, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# A real mail server.


class Inbox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take it."""
        parsed = BytesParser(policy=default_policy).parsebytes(envelope.content)
        assert isinstance(parsed, Message)
        self.messages.append(parsed)
        return "250 OK"

    def log_in(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        """One name and password fit."""
        assert isinstance(login, LoginPassword)
        self.logins.append((login.login, login.password))
        return AuthResult(success=(login.login, login.password) == (b"me", b"p@ss"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    subject = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - timedelta(minutes=5))
        .not_valid_after(utc_now() + timedelta(hours=1))
        .add_extension(subject, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path / "server.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[tuple[Inbox, int]]:
    """A mail server that wants STARTTLS and a password, and its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    inbox = Inbox()
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=inbox.log_in,
    )
    controller.start()
    yield inbox, controller.port
    controller.stop()


@pytest.mark.slow
def test_a_mail_goes_over_starttls_to_a_server_whose_certificate_is_right(
    server: tuple[Inbox, int], certificate: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    from komilion.common.mail import send_mail

    inbox, port = server
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    settings.MAILERS = mailers(f"smtp://me:p%40ss@127.0.0.1:{port}", Path("/data"))
    settings.DEFAULT_FROM_EMAIL = "Komilion <noreply@gateway.example.com>"
    link = "https://gateway.example.com/auth/confirm-email/Nw:1xV0Th:abc/"
    send_mail("confirm_email", "alice@example.com", {"link": link}, subject="Confirm your e-mail address")
    assert inbox.logins == [(b"me", b"p@ss")]
    (message,) = inbox.messages
    assert (message["To"], message["From"]) == ("alice@example.com", "Komilion <noreply@gateway.example.com>")
    body = message.get_body(preferencelist=("plain",))
    assert body is not None
    assert link in body.get_content()


@pytest.mark.slow
def test_a_server_whose_certificate_nobody_vouches_for_gets_no_mail(server: tuple[Inbox, int], settings: Settings):
    inbox, port = server
    settings.MAILERS = mailers(f"smtp://me:p%40ss@127.0.0.1:{port}", Path("/data"))
    with pytest.raises(ssl.SSLCertVerificationError):
        EmailMultiAlternatives("Subject", "Text", to=["alice@example.com"]).send()
    assert inbox.logins == inbox.messages == []
