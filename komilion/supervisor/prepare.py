"""`python -m komilion.supervisor.prepare`: bring the database up to date; safe to run at every start.

Migrations, catalogue and demo tenant share one process because starting Django costs more than any of them. What the
operator should know of it goes to stderr and, by `prepared`, to the supervisor.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error, connection

from komilion.env import INSTANCE_FILE
from komilion.supervisor.banner import DEMO_KEY_FILE
from komilion.supervisor.prepared import Prepared

MIGRATION_LOCK = 0x6B6F6D69  # any number that nobody else in this database uses as an advisory lock


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Servers that share a PostgreSQL migrate one after the other; a SQLite file has one supervisor."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def check_secrets() -> list[str]:
    """Lines for the operator about what the secrets of this installation do not open.

    Raises `CommandError` where that is a provider's credential: web processes do not start with it.
    """
    from komilion.web import stored_secrets  # noqa: PLC0415 - models can be imported once Django is set up

    path = settings.DATA_DIR / INSTANCE_FILE
    notes = []
    if unusable := stored_secrets.unusable_api_keys(settings.INSTANCE):
        notes = [
            f"WARNING: {path} was made anew, but the database is older: the API keys made before ({unusable}) and the "
            "provider credentials stored before are all unusable.",
            f"WARNING: restore {INSTANCE_FILE} from a backup and start again.",
        ]
    stored_secrets.do_repair_local_provider()
    if providers := stored_secrets.unreadable_providers():
        tell(notes)
        raise CommandError(
            f"The stored credential of {', '.join(providers)} cannot be read: neither CREDENTIAL_KEYS nor {path} has "
            "the key that it was stored with. Restore that, or store the credential anew: "
            "manage.py provider add NAME --api-key KEY"
        )
    if locked_out := stored_secrets.unreadable_second_factors():
        notes.append(
            f"WARNING: the second factor of {locked_out} people cannot be read, so they cannot log in: CREDENTIAL_KEYS "
            "lost the key that it was stored with. Put it back, or delete their authenticators at /operator/."
        )
    return notes


def do_decide_test_payments() -> str:
    """Decide `settings.TEST_PAYMENTS` where it is unset: on where only this machine can come in and no money is real.

    Returns why a TEST_PAYMENTS=1 that somebody set may not be; empty where it may.
    """
    from billing.payments.pretend import refusal_of_test_money  # noqa: PLC0415 - as above

    refusal = refusal_of_test_money(settings)
    if os.environ.get("TEST_PAYMENTS"):
        return refusal if settings.TEST_PAYMENTS else ""
    settings.TEST_PAYMENTS = not refusal
    return ""


def notes_on_paying() -> list[str]:
    """A line where somebody meant to be paid and is not."""
    if not settings.STRIPE_SECRET_KEY or settings.STRIPE_WEBHOOK_SECRETS:
        return []
    return [
        "Paying is off: STRIPE_SECRET_KEY is set, STRIPE_WEBHOOK_SECRETS is not, so no payment could be credited. "
        "Set it to the signing secret of the endpoint at Stripe."
    ]


def tell(notes: list[str]) -> None:
    """Into the log."""
    sys.stderr.writelines(f"{note}\n" for note in notes)


def prepare() -> Prepared:
    """All of it. Raises `CommandError`, `ImproperlyConfigured`, `OSError` or Django's `Error`."""
    django.setup()
    from billing.payments.leftovers import refusal_of_real_money  # noqa: PLC0415 - as above
    from komilion.web.demo import do_ensure_demo_key  # noqa: PLC0415 - as above
    from komilion.web.static_files import do_collect_static  # noqa: PLC0415 - as above

    do_collect_static()
    with one_at_a_time():
        call_command("migrate", interactive=False)
        call_command("catalog_seed")
        refusal = do_decide_test_payments() or refusal_of_real_money(settings.STRIPE_SECRET_KEY)
        if refusal:
            return Prepared(demo_key_works=False, refusal=refusal)
        notes = [*check_secrets(), *notes_on_paying()]
        demo = do_ensure_demo_key(settings.DATA_DIR / DEMO_KEY_FILE)
    if demo.note:
        notes.append(demo.note)
    tell(notes)
    return Prepared(demo.works, notes, test_payments=settings.TEST_PAYMENTS)


def main() -> int:
    """The exit code; what went wrong is the last line on stderr."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    try:
        prepare().save(settings.DATA_DIR / "run")
    except (CommandError, ImproperlyConfigured) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    except Error as error:
        sys.stderr.write(f"The database cannot be used: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
