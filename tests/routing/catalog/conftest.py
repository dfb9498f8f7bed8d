"""The shipped catalogue on a day of our choice, with the keys of our choice; nothing of it is called."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.core.management import call_command

from routing.catalog.load import read_catalog
from routing.catalog.shipped import read_providers
from routing.catalog.snapshot import Catalog

AS_OF = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALL_KEYS = tuple(provider.api_key_env for provider in read_providers())

type Shipped = Callable[..., Catalog]

_made: dict[tuple[datetime, tuple[str, ...]], Catalog] = {}  # a picture does not change, so one is enough for all


@pytest.fixture
def shipped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shipped]:
    """Makes it: `shipped(at=..., keys=(...))`, by default on the day of its facts with every key."""

    def make(at: datetime = AS_OF, keys: tuple[str, ...] = ALL_KEYS) -> Catalog:
        if (at, keys) not in _made:
            request.getfixturevalue("db")
            for name in keys:
                monkeypatch.setenv(name, "sk-test")
            monkeypatch.setattr("routing.local_models.speaking.installed", lambda: ["espeak"])
            with time_machine.travel(at, tick=False):
                call_command("catalog_seed", verbosity=0)
                _made[at, keys] = read_catalog()
        return _made[at, keys]

    return make
