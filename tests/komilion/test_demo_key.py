"""The key in `demo.key` fits the database and the pepper, or nobody is told to use it; likewise the other secrets."""

import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import DjangoDbBlocker

from accounts.access import Caller, access_api_key
from accounts.actions.keys import do_revoke_key
from accounts.actions.organizations import do_suspend
from accounts.models import ApiKey, Organization
from accounts.queries import organization_of_email
from komilion.common.clock import unix_s
from komilion.common.ids import hash_api_key, new_api_key
from komilion.supervisor.prepare import check_secrets
from komilion.web.demo import DEMO_EMAIL, DemoKey, do_ensure_demo_key
from routing.actions.local import LOCAL
from routing.catalog import credentials
from tests.billing.ledger_database import django_uses, migrate

OTHER_PEPPER = b"another pepper of thirty-two chars"


@pytest.fixture(scope="module")
def migrated(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Path:
    """A SQLite file with the tables in it."""
    path = tmp_path_factory.mktemp("migrated") / "empty.sqlite3"
    with django_db_blocker.unblock():
        migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(autouse=True)
def test_money(settings: Any) -> None:
    """The demo tenant exists only with it."""
    settings.TEST_PAYMENTS = True


@pytest.fixture(autouse=True)
def database(tmp_path: Path, migrated: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """An empty database of this test's own: opening a tenant needs two connections, so nothing can be rolled back."""
    shutil.copy(migrated, tmp_path / "own.sqlite3")
    with django_db_blocker.unblock(), django_uses(f"sqlite:///{tmp_path / 'own.sqlite3'}"):
        yield


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where the demo key lies; nothing is there yet."""
    return tmp_path / "demo.key"


def caller_of(key_file: Path) -> Caller | None:
    """Who the key in the file belongs to, as a request would find it."""
    from django.conf import settings

    return access_api_key(hash_api_key(key_file.read_text().strip(), settings.KEY_PEPPER))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.slow
def test_the_first_start_makes_a_tenant_and_a_private_key_file(key_file: Path):
    assert do_ensure_demo_key(key_file) == DemoKey(works=True)
    assert caller_of(key_file) is not None
    assert mode_of(key_file) == 0o600


def test_a_key_that_works_is_kept_and_its_file_closed_to_others(key_file: Path):
    do_ensure_demo_key(key_file)
    key = key_file.read_text()
    key_file.chmod(0o644)
    assert do_ensure_demo_key(key_file) == DemoKey(works=True)
    assert key_file.read_text() == key
    assert mode_of(key_file) == 0o600
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("content", [new_api_key().encode(), b"", b"\xff\xfe"], ids=["another", "empty", "no text"])
def test_a_key_of_another_database_gives_way_to_a_new_tenant_and_key(key_file: Path, content: bytes):
    key_file.write_bytes(content)
    demo = do_ensure_demo_key(key_file)
    assert demo.works
    assert "a new demo tenant with a new key" in demo.note
    assert caller_of(key_file) is not None
    assert organization_of_email(DEMO_EMAIL) is not None


def test_after_a_change_of_the_pepper_the_tenant_has_a_new_key(key_file: Path, settings: Any):
    do_ensure_demo_key(key_file)
    settings.KEY_PEPPER = OTHER_PEPPER
    assert caller_of(key_file) is None
    demo = do_ensure_demo_key(key_file)
    assert demo.works
    assert "the demo tenant has a new key" in demo.note
    assert caller_of(key_file) is not None
    assert Organization.objects.count() == 1


def test_a_file_that_was_taken_away_is_not_made_again(key_file: Path):
    do_ensure_demo_key(key_file)
    key_file.unlink()
    assert do_ensure_demo_key(key_file) == DemoKey(works=False)
    assert not key_file.exists()


def test_a_key_that_was_revoked_is_not_replaced(key_file: Path):
    do_ensure_demo_key(key_file)
    do_revoke_key(ApiKey.objects.get(), actor="test")
    demo = do_ensure_demo_key(key_file)
    assert not demo.works
    assert "revoked" in demo.note
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("is_stale", [False, True])
def test_a_suspended_tenant_is_not_advertised_and_gets_no_key(key_file: Path, is_stale: bool):
    do_ensure_demo_key(key_file)
    do_suspend(Organization.objects.get(), actor="test")
    if is_stale:
        key_file.write_text(new_api_key())
    demo = do_ensure_demo_key(key_file)
    assert not demo.works
    assert "suspended" in demo.note
    assert ApiKey.objects.count() == 1


def test_without_test_money_no_tenant_is_made(key_file: Path, settings: Any):
    settings.TEST_PAYMENTS = False
    assert do_ensure_demo_key(key_file) == DemoKey(works=False)
    assert not Organization.objects.exists()
    assert not key_file.exists()


def test_without_test_money_the_tenant_of_earlier_starts_is_suspended_until_there_is_some(
    key_file: Path, settings: Any
):
    do_ensure_demo_key(key_file)
    settings.TEST_PAYMENTS = False
    demo = do_ensure_demo_key(key_file)
    assert not demo.works
    assert "TEST_PAYMENTS is off" in demo.note
    assert Organization.objects.get().suspended_at is not None
    assert do_ensure_demo_key(key_file) == DemoKey(works=False)
    settings.TEST_PAYMENTS = True
    assert do_ensure_demo_key(key_file) == DemoKey(works=True)
    assert Organization.objects.get().suspended_at is None


@pytest.fixture
def young_instance(settings: Any) -> None:
    """An `instance.json` that is made after whatever the test puts into its database."""
    settings.INSTANCE = replace(settings.INSTANCE, made_at_unix_s=unix_s() + 60)


@pytest.mark.usefixtures("young_instance")
def test_keys_that_are_older_than_the_instance_are_told_as_unusable(key_file: Path):
    assert check_secrets() == []
    do_ensure_demo_key(key_file)
    notes = " ".join(check_secrets())
    assert "instance.json was made anew" in notes
    assert "API keys made before (1)" in notes
    assert "provider credentials" in notes
    assert "restore instance.json from a backup" in notes


@pytest.mark.usefixtures("young_instance")
def test_nobody_is_warned_of_revoked_keys_or_where_the_environment_names_the_pepper(key_file: Path, settings: Any):
    do_ensure_demo_key(key_file)
    settings.KEY_PEPPER = OTHER_PEPPER
    assert check_secrets() == []
    settings.KEY_PEPPER = settings.INSTANCE.key_pepper.encode()
    do_revoke_key(ApiKey.objects.get(), actor="test")
    assert check_secrets() == []


def test_an_instance_that_is_older_than_the_keys_is_nothing_to_tell(key_file: Path, settings: Any):
    do_ensure_demo_key(key_file)
    assert check_secrets() == []
    settings.INSTANCE = replace(settings.INSTANCE, made_at_unix_s=0)  # made before that was noted
    assert check_secrets() == []


@pytest.fixture
def other_credential_key(settings: Any) -> None:
    """The seeded catalogue and a provider `acme` with a stored credential, then another `CREDENTIAL_KEYS`."""
    call_command("catalog_seed", verbosity=0)
    call_command("provider", "add", "acme", "--base-url", "https://acme.example/v1", "--api-key", "sk-acme")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]


def add_model() -> None:
    call_command("model", "add", "acme/large", "--provider", "acme", "--input-price", "1", "--output-price", "1")


@pytest.mark.usefixtures("other_credential_key", "valkey_url")
def test_a_credential_that_cannot_be_read_is_refused_by_the_provider_s_name_until_it_is_stored_anew():
    assert check_secrets() == []  # no model of acme needs it
    add_model()
    with pytest.raises(CommandError, match="credential of acme cannot be read"):
        check_secrets()
    call_command("provider", "add", "acme", "--base-url", "https://acme.example/v1", "--api-key", "sk-acme")
    assert check_secrets() == []


@pytest.mark.usefixtures("other_credential_key", "valkey_url")
def test_the_credential_of_the_local_models_is_no_secret_and_is_stored_anew():
    from routing.catalog.models import Provider

    assert check_secrets() == []
    assert credentials.decrypt(bytes(Provider.objects.get(pk=LOCAL.name).api_key_encrypted)) == LOCAL.api_key
