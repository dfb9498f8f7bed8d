"""One installation and one browser for each file of these tests; another owner for each test."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.e2e.browser import Browser, Person, browser
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.playground.steps import MODELS
from tests.e2e.server import Installation, UpstreamProcess
from tests.e2e.steps import owner
from tests.fakes.journal import Call
from tests.fakes.upstream import Upstream

_numbers = count(1)


@pytest.fixture(scope="module")
def tricky() -> Iterator[Upstream]:
    """An upstream in this process, which answers what a test writes."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def site(shared_install: Install, add_static_files: AddStaticFiles, tricky: Upstream) -> Installation:
    """A running installation with three models."""
    installation = shared_install("sqlite")
    installation.environment |= {"TRIAL_CREDIT": "0"}
    add_static_files(installation)
    installation.add_provider("tricky", tricky.url, "--cancel-stops-billing")
    for model, script in zip(MODELS, ("ok", "ok,frames=5", "drip,gap=0.02,frames=40"), strict=True):
        installation.add_model(model, "draining", script, capabilities="tools,vision,json_schema")
    installation.start()
    return installation


@pytest.fixture(scope="module")
def people(site: Installation) -> Iterator[Browser]:
    with browser(site.url) as running:
        yield running


@pytest.fixture
def address() -> str:
    """Of the owner of this test."""
    return f"alice-{next(_numbers)}@example.com"


@pytest.fixture
def alice(site: Installation, people: Browser, address: str) -> Iterator[Person]:
    """The owner, with money."""
    with people.person(cookies=owner(site, address)) as person:
        yield person


@pytest.fixture
def calls(shared_upstream: UpstreamProcess) -> Callable[[], list[Call]]:
    """What the upstream saw since this test began."""
    before = len(shared_upstream.calls())
    return lambda: shared_upstream.calls()[before:]
