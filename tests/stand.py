"""A live gateway for tests: uvicorn on a thread, a real database and Valkey, and the scripted upstream.

One for each worker and session. Tests keep apart by using tenants and models of their own, which cost a few
milliseconds; nothing is rolled back, so a test that asks for `gateway` must not ask for `db`.
"""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import count
from typing import Any

import pytest
import uvicorn
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from tests.fakes.client import Answer, call, chat
from tests.fakes.journal import Call
from tests.fakes.replies import Reply
from tests.fakes.upstream import Upstream
from tests.waiting import wait_until

UPSTREAM_KEY = "sk-upstream-canary-0123456789"
DRAINING = "up"
CANCELLING = "up-cancelling"
START_DEADLINE_S = 20
STOP_DEADLINE_S = 20
_names = count(1)


@dataclass(frozen=True)
class Tenant:
    """Somebody with a wallet and a key."""

    key: str
    email: str


class Gateway:
    """The server and what an operator can do to it; `upstream` answers its models."""

    def __init__(self, url: str, upstream: Upstream) -> None:
        self.url = url
        self.upstream = upstream
        self._upstream_ids: dict[str, str] = {}

    def add_providers(self) -> None:
        """Both, where they are not there: a test that empties the tables takes them away."""
        self.add_provider(DRAINING)
        self.add_provider(CANCELLING, "--cancel-stops-billing")

    def manage(self, *arguments: object) -> str:
        """What `manage.py` prints for these arguments."""
        name, *rest = map(str, arguments)
        output = StringIO()
        call_command(name, *rest, stdout=output)
        return output.getvalue().strip()

    def tenant(self, credit: str = "10.00", tier: str = "high", email: str | None = None) -> Tenant:
        """A new tenant with paid credit in US dollars."""
        email = email or f"tenant-{next(_names)}@example.com"
        key = self.manage("tenant", "create", email, "--credit", credit, "--tier", tier, "--print-key")
        return Tenant(key, email)

    def add_provider(self, name: str, *options: str, base_url: str | None = None) -> str:
        """A provider; it is the scripted upstream unless `base_url` says otherwise."""
        url = base_url or self.upstream.url
        self.manage("provider", "add", name, "--base-url", url, "--api-key", UPSTREAM_KEY, *options)
        return name

    def add_model(
        self,
        script: str | Reply = "ok",
        name: str | None = None,
        *,
        provider: str = DRAINING,
        input_price: str = "3.00",
        output_price: str = "15.00",
        **options: object,
    ) -> str:
        """A model that the upstream answers by `script`; returns its id, by default a new one.

        Prices are US dollars per million tokens; `options` are those of `manage.py model add`, such as
        `context=8_192` and `capabilities="tools,vision"`.
        """
        number = next(_names)
        if isinstance(script, Reply):
            script = self.upstream.script(f"scripted-{number}", script)
        name = name or f"acme/model-{number}"
        more = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        prices = ["--input-price", input_price, "--output-price", output_price]
        self.manage("model", "add", name, "--provider", provider, "--upstream-id", script, *prices, *more)
        self._upstream_ids[name] = script
        return name

    def add_voice(
        self, kind: str, *prices: str, name: str | None = None, upstream: str = "", provider: str = DRAINING
    ) -> str:
        """A model that hears, speaks or talks (`kind`) with these options of `manage.py model add`; returns its id."""
        name = name or f"acme/{kind}-{next(_names)}"
        at = ("--provider", provider, "--upstream-id", upstream or name)
        self.manage("model", "add", name, *at, "--kind", kind, *prices)
        self._upstream_ids[name] = upstream
        return name

    def forget_models(self) -> None:
        """Take every model from the catalogue: each process reads it whole whenever one is added."""
        from routing.catalog.models import Model

        Model.objects.filter(pk__in=self._upstream_ids).delete()
        self._upstream_ids.clear()

    def wait_for_catalog(self) -> None:
        """Until the gateway has read the catalogue as it is now."""
        from routing.catalog.load import read_version

        def is_read() -> bool:
            return bool(call(self.url, "/health/readiness").json["catalog_version"] == read_version())

        wait_until(is_read, what="the catalogue to be read")

    def calls_of(self, model: str) -> list[Call]:
        """What reached the upstream for a model. Models with one script share it, unless it is a `Reply`."""
        return self.upstream.calls_of(self._upstream_ids[model])

    def wallet(self, email: str) -> dict[str, str]:
        """Available, held, paid, promo and debt, as decimal strings."""
        return dict(json.loads(self.manage("wallet", "show", email, "--json")))

    def chat(self, tenant: Tenant, model: str, **body: Any) -> Answer:
        """One call by the plain client."""
        return chat(self.url, tenant.key, model=model, **body)

    def suspend(self, tenant: Tenant) -> None:
        """Suspend the tenant's organization."""
        from accounts.actions.organizations import do_suspend
        from accounts.queries import organization_of_email

        organization = organization_of_email(tenant.email)
        assert organization is not None
        do_suspend(organization, actor="test")


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The scripted upstream of this worker."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def gateway_url(django_db_setup: None, django_db_blocker: DjangoDbBlocker, valkey_url: str) -> Iterator[str]:
    """The address of a gateway that runs on a thread of this process."""
    from komilion.asgi import application
    from komilion.uvicorn_worker import server_config

    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    server = uvicorn.Server(server_config(application))
    thread = threading.Thread(target=server.run, args=([listener],), name="gateway", daemon=True)
    with django_db_blocker.unblock():
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive(), START_DEADLINE_S, "the gateway to start")
        assert server.started, "the gateway did not start; see the log"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(STOP_DEADLINE_S)
        assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture(scope="session")
def session_gateway(gateway_url: str, upstream: Upstream) -> Gateway:
    """The one behind `gateway`."""
    return Gateway(gateway_url, upstream)


@pytest.fixture(scope="module")
def gateway(session_gateway: Gateway) -> Iterator[Gateway]:
    """A live gateway with the scripted upstream behind it; models are gone with the tests of a file."""
    session_gateway.add_providers()
    yield session_gateway
    session_gateway.forget_models()
