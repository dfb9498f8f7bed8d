"""A model at several providers, of which some fail: who was asked, when, and what the caller got for it."""

from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from tests.fakes.client import Answer
from tests.fakes.journal import Call, Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, only_row
from tests.stand import Gateway, Tenant

_names = count(1)
BAD = Reply(status=500)
TEXT = (
    "The quick brown fox jumps over the lazy dog near the river bank, and nobody who saw it that morning could say"
    " whether it had been the same fox as on the day before, or another one."
)
OK = Reply(usage=Tokens(25, 12))
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass
class Places:
    """A model with one offer for each reply, in this order, each at a provider of its own."""

    gateway: Gateway
    tenant: Tenant
    model: str
    providers: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)

    def calls(self, place: int) -> list[Call]:
        """What reached the provider of this offer."""
        return self.gateway.upstream.calls_of(self.scripts[place])

    @property
    def counts(self) -> list[int]:
        """How often each was asked."""
        return [len(self.calls(place)) for place in range(len(self.scripts))]

    def ask(self, **body: object) -> Answer:
        """One call."""
        return self.gateway.chat(self.tenant, self.model, **body)

    def script(self, place: int, reply: Reply) -> None:
        """From now on this offer answers so."""
        self.gateway.upstream.script(self.scripts[place], reply)

    def row(self):
        """The only usage row."""
        return only_row(self.tenant)

    def key(self, place: int) -> tuple[str, str, str]:
        """Whose breaker it is."""
        from routing.selection.health import credential_name
        from tests.stand import UPSTREAM_KEY

        return self.providers[place], self.model, credential_name(UPSTREAM_KEY)


def add_places(gateway: Gateway, *replies: Reply | str, credit: str = "10.00", **options: object) -> Places:
    """A new model, and somebody to call it. `options` as for `Gateway.add_model`, and `cancels` for the providers."""
    number = next(_names)
    cancels = ["--cancel-stops-billing"] if options.pop("cancels", False) else []
    places = Places(gateway, gateway.tenant(credit=credit), f"acme/places-{number}")
    for place, reply in enumerate(replies):
        provider = gateway.add_provider(f"p{number}-{place}", *cancels)
        add_offer(places, reply, provider, **options)
    return places


def add_offer(places: Places, reply: Reply | str, provider: str, **options: object) -> None:
    """One more place."""
    script = reply if isinstance(reply, str) else f"places-{next(_names)}"
    if not isinstance(reply, str):
        places.gateway.upstream.script(script, reply)
    places.gateway.add_model(script, places.model, provider=provider, **options)
    if places.providers:  # a gateway that knows the model already may answer before it hears of another offer
        places.gateway.wait_for_catalog()
    places.providers.append(provider)
    places.scripts.append(script)


def add_fallback(gateway: Gateway, reply: Reply, **options: object) -> str:
    """Another model, at a provider of its own."""
    number = next(_names)
    return gateway.add_model(reply, provider=gateway.add_provider(f"f{number}"), **options)


def assert_served(places: Places, answer: Answer, place: int, counts: list[int]) -> None:
    """This offer answered, nobody was asked in vain, and the caller pays it and nothing else."""
    assert answer.status == 200, answer.body
    assert places.counts == counts
    note = (answer.frames[-1] if "event-stream" in answer.headers["content-type"] else answer.json)["x_komilion"]
    assert (note["provider"], note["model"]) == (places.providers[place], places.model)
    assert answer.headers["x-komilion-provider"] == places.providers[place]
    row = places.row()
    assert (row.outcome, row.usage_source, row.provider) == ("completed", "provider", places.providers[place])
    assert [attempt["provider"] for attempt in row.detail["attempts"]] == [
        provider for provider, times in zip(places.providers, counts, strict=True) for _ in range(times)
    ]
    charge = charge_of(places.calls(place)[-1].billed)
    assert row.charge_nano == charge == note["cost_nano_usd"]
    assert_in_order(places.gateway, places.tenant, charge)


def again(reply: Reply, **changes: object) -> Reply:
    """The same reply with changes."""
    return replace(reply, **changes)
