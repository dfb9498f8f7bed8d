"""What every test runs in: a data folder of its own, a real database, loopback only.

Settings are read from the environment when they are first imported, so this file prepares the environment at
once, before anything can load them: that is why pyproject.toml names no settings module to pytest.
`KOMILION_TEST_DATABASE` chooses the database of the run: `sqlite` (default, in a file) or `postgres`.
"""

import atexit
import json
import os
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from hypothesis import settings as hypothesis_settings
from pytest_django import DjangoDbBlocker

from tests.network import block_network
from tests.services.databases import give_back_databases, planned_database_url
from tests.services.kept_folder import KeptFolder
from tests.unborn import bury_expected

pytest_plugins = [
    "tests.services.valkey",
    "tests.services.postgres",
    "tests.services.localstripe",
    "tests.services.aimock_server",
    "tests.stand",
]

# A fast run looks at few examples of each property, another ones each time; `make test-slow` looks at many.
hypothesis_settings.register_profile("quick", max_examples=25, deadline=None)
hypothesis_settings.register_profile("thorough", max_examples=200, deadline=None)
hypothesis_settings.load_profile("quick")

SHIPPED_PROVIDERS = Path(__file__).parents[1] / "routing" / "catalog" / "data" / "providers.json"


def _provider_variables() -> list[str]:
    """What the variables of every shipped provider begin with: a key in the environment switches a provider on."""
    return [provider["variables"] for provider in json.loads(SHIPPED_PROVIDERS.read_text())]


# What somebody may have exported for an instance of their own; no test may touch that one.
FOREIGN_VARIABLES = [
    *("ALLOWED_HOSTS", "BEHIND_PROXY", "PUBLIC_URL", "TEST_PAYMENTS"),
    *("COMPAT_NAMES", "CREDENTIAL_KEYS", "EGRESS_ALLOW", "HOST", "KEY_PEPPER", "LOG_LEVEL", "PORT"),
    *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_BASE", "STRIPE_TAX", "TOPUP_FEE_BASIS_POINTS"),
    *("MAIL_WEBHOOK_SECRET", "MAIL_WEBHOOK_SIGNING_KEY"),
    *("ADVISOR_LETTERS_PER_S", "MAIL_URL", "MAIL_FROM", "SELLER", "TRIAL_CREDIT", "TRIAL_DAILY_BUDGET"),
    *("SOCIAL_GOOGLE_CLIENT_ID", "SOCIAL_GOOGLE_CLIENT_SECRET"),
    *("SOCIAL_GITHUB_CLIENT_ID", "SOCIAL_GITHUB_CLIENT_SECRET"),
    *("VOICE_BUCKET", "VOICE_BUCKET_ENDPOINT", "VOICE_BUCKET_REGION", "VOICE_BUCKET_KEY_ID", "VOICE_BUCKET_SECRET"),
    *("REDIS_URL", "SECRET_KEY", "WORKERS", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"),
    *(f"{name}_{what}" for name in _provider_variables() for what in ("API_KEY", "BASE_URL")),
]
FOLDER_VARIABLE = "KOMILION_TEST_FOLDER"  # from the process that was started to the workers it starts
DATABASE_VARIABLE = "KOMILION_TEST_DATABASE"


def _data_dir() -> Path:
    """A data folder for this process, inside the one folder of the run, which goes when the run ends."""
    if FOLDER_VARIABLE not in os.environ:
        folder = KeptFolder("komilion-tests-")
        os.environ[FOLDER_VARIABLE] = str(folder.path)
        atexit.register(folder.release)
    data_dir = Path(os.environ[FOLDER_VARIABLE]) / os.environ.get("PYTEST_XDIST_WORKER", "main")
    data_dir.mkdir(mode=0o700, exist_ok=True)
    return data_dir


def _database_url(data_dir: Path) -> str:
    kind = os.environ.get(DATABASE_VARIABLE, "sqlite")
    if kind == "sqlite":
        return f"sqlite:///{data_dir / 'komilion.sqlite3'}"
    if kind == "postgres":
        return planned_database_url()
    raise pytest.UsageError(f"{DATABASE_VARIABLE} must be sqlite or postgres, not {kind!r}")


def _prepare_environment() -> None:
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
        os.environ.pop(name.lower(), None)
    data_dir = _data_dir()
    os.environ["DATA_DIR"] = str(data_dir)
    os.environ["DATABASE_URL"] = _database_url(data_dir)
    os.environ["DJANGO_SETTINGS_MODULE"] = "komilion.settings"


def _serve_static_files_as_they_are() -> None:
    """Straight from the tree: names with a hash need `collectstatic`, which a start does and a test need not."""
    from django.conf import settings

    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.WHITENOISE_USE_FINDERS = True
    settings.WHITENOISE_AUTOREFRESH = True  # look a file up when it is asked for: every test client would list them all
    settings.STATIC_ROOT.mkdir(exist_ok=True)


def _let_one_id_ask_often() -> None:
    """A test's first key has the id that the first key of the test before had, and Redis counts by id."""
    from django.conf import settings

    settings.API_REQUESTS_PER_MINUTE = 1_000_000


_prepare_environment()
MIGRATED_SQLITE = Path(os.environ["DATA_DIR"]) / "migrated.sqlite3"  # nothing but tables, for who needs more of them
block_network()
django.setup()
_serve_static_files_as_they_are()
_let_one_id_ask_often()
# A worker inherits the environment, and with this name in it would load the settings before it has its own folder.
del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Create and migrate the database that `DATABASE_URL` names, so other processes find the same one.

    Every worker has its own already, and SQLite must be a file: threads and processes share it.
    pytest-django's own fixture would leave it out where no test is marked; those of the live gateway are not.
    """
    from django.conf import settings
    from django.db import connections
    from django.test.utils import setup_databases

    database = settings.DATABASES["default"]
    database["TEST"] = {**database.get("TEST", {}), "NAME": database["NAME"]}
    with django_db_blocker.unblock():
        setup_databases(verbosity=0, interactive=False, serialized_aliases=[])
        if connections["default"].vendor == "sqlite":
            with connections["default"].cursor() as cursor:
                cursor.execute("VACUUM INTO %s", [str(MIGRATED_SQLITE)])
    yield
    with django_db_blocker.unblock():
        connections.close_all()
    if os.environ.get(DATABASE_VARIABLE) == "postgres":
        give_back_databases(str(database["NAME"]))  # the file of SQLite goes with its folder


@pytest.fixture(autouse=True)
def _no_catalogue_of_another_test() -> None:
    """Pages keep the catalogue by its version, and a version that a test rolled back comes again."""
    from routing.queries import forget_catalog_rows

    forget_catalog_rows()


@pytest.fixture(autouse=True)
def _no_connection_of_another_test() -> Iterator[None]:
    """What services leave behind that were stopped early."""
    yield
    bury_expected()
