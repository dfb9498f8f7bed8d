"""Secrets at rest while CREDENTIAL_KEYS change: sealed anew, counted where no key opens them, never a broken page."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from billing.models import IdempotentCall
from komilion.common import metrics
from komilion.common.clock import utc_now
from komilion.supervisor.prepare import check_secrets
from routing.catalog.credentials import decrypt, encrypt, seal, unseal
from routing.catalog.models import Provider
from tests.komilion.web.people.browser import says
from tests.komilion.web.people.test_account import code_of
from tests.people import new_owner
from voice.models import TranscriptionJob, WebhookSecret

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def keys(settings: Settings, valkey_url: str) -> Settings:
    """`CREDENTIAL_KEYS` to be set; nothing else is sealed in the database."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.TRIAL_CREDIT_NANO = 0  # the ledger would grant it on a connection of its own
    settings.CREDENTIAL_KEYS = [OLD]
    for model in (Authenticator, IdempotentCall):
        model.objects.all().delete()
    Provider.objects.update(api_key_encrypted=b"")
    return settings


def factor_of(email: str) -> str:
    """Give a new person an app and recovery codes; the app's secret."""
    user = User.objects.create_user(email, PASSWORD)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def log_in(email: str, secret: str) -> Any:
    """By password and code; the last page."""
    client = Client(raise_request_exception=False)
    client.post("/auth/login/", {"login": email, "password": PASSWORD})
    return client.post("/auth/2fa/authenticate/", {"code": code_of(secret)}, follow=True)


def kept_answer() -> IdempotentCall:
    return IdempotentCall.objects.create(
        key_id=1,
        path="/v1/chat/completions",
        idempotency_key="once",
        body_hmac="0" * 64,
        request_id="gen-kept",
        answer=seal(b"an answer").decode(),
        created_at=utc_now(),
        expires_at=utc_now(),
    )


def test_after_sealing_anew_the_old_key_may_go(keys: Settings, capsys: pytest.CaptureFixture[str]):
    provider = Provider.objects.create(name="acme", base_url="http://acme", api_key_encrypted=encrypt("sk-acme"))
    secret, answer = factor_of("alice@rotate.example"), kept_answer()
    codes = RecoveryCodes.activate(User.objects.get(email="alice@rotate.example")).generate_codes()
    keys.CREDENTIAL_KEYS = [NEW, OLD]
    call_command("secrets", "reseal")
    assert "rows sealed with the newest key" in capsys.readouterr().out
    keys.CREDENTIAL_KEYS = [NEW]
    provider.refresh_from_db()
    answer.refresh_from_db()
    assert decrypt(bytes(provider.api_key_encrypted)) == "sk-acme"
    assert unseal(answer.answer.encode()) == b"an answer"
    assert RecoveryCodes.activate(User.objects.get(email="alice@rotate.example")).generate_codes() == codes
    assert log_in("alice@rotate.example", secret).redirect_chain[-1][0] == "/dashboard"


def test_what_people_said_and_where_it_goes_is_sealed_anew_too(keys: Settings):
    alice = new_owner("alice@rotate.example")
    job = TranscriptionJob.objects.create(
        id="job-1",
        organization_id=alice.organization_id,
        url_sealed=seal(b"https://files.example"),
        result_sealed=seal(b"{}"),
        created_at=utc_now(),
        expires_at=utc_now(),
    )
    secret = WebhookSecret.objects.create(
        organization_id=alice.organization_id, secret_sealed=seal(b"whsec_"), made_at=utc_now()
    )
    keys.CREDENTIAL_KEYS = [NEW, OLD]
    call_command("secrets", "reseal")
    keys.CREDENTIAL_KEYS = [NEW]
    job.refresh_from_db()
    secret.refresh_from_db()
    opened = [unseal(bytes(sealed)) for sealed in (job.url_sealed, job.result_sealed, secret.secret_sealed)]
    assert opened == [b"https://files.example", b"{}", b"whsec_"]
    assert bytes(job.webhook_url_sealed) == b""


def test_what_no_key_opens_is_left_and_counted(keys: Settings):
    factor_of("alice@rotate.example")
    keys.CREDENTIAL_KEYS = [NEW]
    assert any("the second factor of 1 people cannot be read" in note for note in check_secrets())
    with pytest.raises(CommandError, match="2 rows stay as they are"):
        call_command("secrets", "reseal")
    keys.CREDENTIAL_KEYS = [NEW, OLD]
    assert not any("second factor" in note for note in check_secrets())


def test_who_cannot_be_let_in_is_told_why(keys: Settings):
    secret = factor_of("alice@rotate.example")
    keys.CREDENTIAL_KEYS = [NEW]
    before = metrics._counters["komilion_alarms", ("second_factor_unreadable",)]
    page = log_in("alice@rotate.example", secret)
    assert page.status_code == 503
    assert "we have lost the key that it was stored with" in says(page)
    assert metrics._counters["komilion_alarms", ("second_factor_unreadable",)] > before
