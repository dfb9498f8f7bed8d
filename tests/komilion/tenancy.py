"""Two tenants and everybody who may knock at their doors, for the table of tests/komilion/test_tenancy.py."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from komilion.common.clock import utc_now
from tests.people import Person, new_member, new_owner

CANARY = "qzalice"  # in everything of Alice's; nobody else may ever see it
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
LOGIN = "login"  # in the table: sent to log in

# Who asks: nobody, Alice (owner), Bob in each other role beside her, Charlie (owner elsewhere), and by key one of
# Alice's, one of hers that may manage keys, and one of Charlie's that may.
PEOPLE = ("nobody", "owner", "developer", "billing", "viewer", "charlie", "key", "manager", "charlie's key")


@dataclass(frozen=True)
class World:
    """What there is: `arguments` name Alice's objects by the names that routes give them."""

    askers: dict[str, "Asker"]
    arguments: dict[str, str]


@dataclass(frozen=True)
class Asker:
    """Somebody with a session or a key, or without both."""

    person: Person | None = None
    secret: str | None = None

    def ask(self, method: str, path: str, form: str = "", *, suspended: bool = False) -> Any:
        """One request, from our own page where a session asks; to an API with an empty object, else with this form.

        `suspended`: while every organization is.
        """
        client = Client(raise_request_exception=False)
        headers = {}
        if self.person is not None:
            client.cookies = deepcopy(self.person.browser.cookies)  # what logs out does so in this request alone
            headers["origin"] = "http://testserver"
        if self.secret is not None:
            headers["authorization"] = f"Bearer {self.secret}"
        is_api = re.match(r"/(api|key|spend)/", path) is not None
        kind = "application/json" if is_api else "application/x-www-form-urlencoded"
        body = b"" if method == "GET" else b"{}" if is_api else form.encode()
        with undone():
            if suspended:
                _suspend_all()
            response = client.generic(method, path, body, kind, headers=headers)
            if response.streaming:  # read now: what it reads is gone with the transaction
                response.streaming_content = [b"".join(response.streaming_content)]
            return response


def _suspend_all() -> None:
    from accounts.models import Organization

    Organization.objects.update(suspended_at=utc_now())


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside is rolled back, and code that wants an outermost transaction gets one."""
    with from_testcase():
        yield
        transaction.set_rollback(True)


@contextmanager
def from_testcase() -> Iterator[None]:
    block = transaction.atomic()
    block._from_testcase = True  # as Django's own TestCase says it
    with block:
        yield


def new_world() -> World:
    """Both tenants, with one of everything that a route can name."""
    alice = new_owner(f"{CANARY}@example.com")
    _rename(alice)
    people = {
        "owner": alice,
        **{
            role: new_member(f"{CANARY}-{role}@example.com", alice.organization_id, role)
            for role in ("developer", "billing", "viewer")
        },
        "charlie": new_owner("charlie@example.com"),
    }
    manager = alice.key(f"{CANARY} manager", can_manage=True)
    key = _child_of(manager, alice)
    charlies = people["charlie"].key("a key", can_manage=True)
    askers = {"nobody": Asker(), **{name: Asker(person) for name, person in people.items()}}
    askers |= {
        "key": Asker(secret=key.secret),
        "manager": Asker(secret=manager.secret),
        "charlie's key": Asker(secret=charlies.secret),
    }
    return World(askers, _objects(alice, key.row.pk, people["viewer"].membership_id))


def _child_of(manager: Any, alice: Person) -> Any:
    from accounts.actions.keys import Grantor, KeyTerms, do_grant_key

    grantor = Grantor(alice.organization_id, alice.membership_id, alice.email, manager.row.pk)
    return do_grant_key(grantor, KeyTerms(f"{CANARY} key"))


def _rename(alice: Person) -> None:
    from accounts.models import Organization

    Organization.objects.filter(pk=alice.organization_id).update(name=f"{CANARY} and friends")


def _objects(alice: Person, key_id: int, membership_id: int) -> dict[str, str]:
    from accounts.actions.invitations import do_invite
    from billing.models import Payment, TopUpOrder
    from routing.actions.pins import Pinner, do_set_pin

    invited = do_invite(alice.organization_id, f"{CANARY}-dora@example.com", "viewer", actor=alice.email)
    order = TopUpOrder.objects.create(
        id=f"top-{CANARY}",
        wallet_id=alice.organization_id,
        kind="test",
        state="paid",
        credit_cents=1_000,
        livemode=False,
        created_by=alice.email,
    )
    Payment.objects.create(
        id=f"pi_{CANARY}",
        order=order,
        wallet_id=alice.organization_id,
        credit_cents=1_000,
        fee_cents=0,
        tax_cents=0,
        total_cents=1_000,
        currency="usd",
        livemode=False,
        created_at=utc_now(),
    )
    _add_model("acme/one")
    do_set_pin(Pinner(alice.organization_id, alice.email), "coding", "acme/one")
    return {
        "key_id": str(key_id),
        "membership_id": str(membership_id),
        "invitation_id": str(invited.row.pk),
        "token": invited.token,
        "organization_id": str(alice.organization_id),
        "order_id": order.pk,
        "payment_id": f"pi_{CANARY}",
        "share_id": _share(alice),
        "audio_key": _upload(alice),
        **_meeting(alice),
        "request_id": new_usage_row(alice, key_id),
        **_letter(alice),
        "upgrade_id": _upgrade(alice),
        "model_id": "acme/one",
        "slug": "limits",
    }


def _share(alice: Person) -> str:
    from accounts.access import access_viewer
    from accounts.models import User
    from routing.actions.shares import do_share
    from routing.playground.content import SharedAnswer, SharedRun

    viewer = access_viewer(User.objects.get(email=alice.email).pk, alice.organization_id)
    assert viewer is not None
    answer = SharedAnswer("acme/one", text=f"{CANARY} was told")
    return do_share(viewer, SharedRun(["acme/one", "acme/one"], prompt=f"{CANARY} asked", answers=[answer]))


def _upgrade(alice: Person) -> str:
    """One that somebody is asked about."""
    from advisor.models import Upgrade

    now = utc_now()
    asked = Upgrade.objects.create(
        organization_id=alice.organization_id,
        task="math",
        old_model="acme/one",
        new_model=f"acme/{CANARY}",
        state=Upgrade.State.ASKED,
        step_at=now,
        created_at=now,
    )
    return str(asked.pk)


def _letter(alice: Person) -> dict[str, str]:
    """The links of a letter with one advice and two questions."""
    from tests.advisor.letters.delivering import tokens_for

    tokens = tokens_for(alice)
    names = {"link": "dismiss", "letters_link": "letters", "upgrade_link": "decline", "prompts_link": "samples"}
    return {argument: tokens[act] for argument, act in names.items()}


def _meeting(alice: Person) -> dict[str, str]:
    from tests.komilion.web.voice.meetings import new_meeting, new_message, result
    from voice.models import Upload

    upload = Upload.objects.get(pk=_upload(alice))
    upload.state = "received"
    upload.save()
    told = result(text=f"{CANARY} said something", utterances=[])
    job = new_meeting(alice, told=told, upload=upload)
    return {"job_id": job.pk, "delivery_id": new_message(alice, job).pk}


def _upload(alice: Person) -> str:
    from voice.actions.uploads import NewUpload, do_make_upload

    return do_make_upload(NewUpload(alice.organization_id, alice.membership_id, None, f"{CANARY}.wav", "audio/wav")).key


def _add_model(name: str) -> None:
    from django.core.management import call_command

    options = {"stdout": StringIO()}
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme", **options)
    prices = ("--input-price", "3.00", "--output-price", "15.00")
    call_command("model", "add", name, "--provider", "acme", "--upstream-id", "one", *prices, **options)


def new_usage_row(alice: Person, key_id: int, request_id: str = f"gen-{CANARY}") -> str:
    """A settled call by that key; returns its request id."""
    from billing.models import UsageRow

    row = UsageRow.objects.create(
        created_at=utc_now() - timedelta(minutes=5),
        request_id=request_id,
        client_request_id="",
        organization_id=alice.organization_id,
        key_id=key_id,
        member_id=alice.membership_id,
        end_user=f"{CANARY} customer",
        tags=[CANARY],
        app_url="",
        app_title="",
        endpoint="chat.completions",
        requested_model="acme/one",
        model="acme/one",
        provider="acme",
        streamed=False,
        outcome="completed",
        usage_source="provider",
        usage={"input": 9, "output": 3},
        price_id=1,
        cost_nano=8,
        fee_nano=2,
        charge_nano=10,
        savings_nano=0,
        first_content_ms=1,
        duration_ms=2,
        detail={"attempts": [], "adjusted": []},
    )
    return row.request_id


def routes() -> list[str]:
    """Every address of Django's URL map, as patterns; `<...>` and groups are arguments."""

    def walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            else:
                yield route

    return list(dict.fromkeys(walk(get_resolver().url_patterns, "")))


def path_of(route: str, world: World) -> str:
    """The address of Alice's object on this route. Raises `KeyError` for an argument that the world has not."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: world.arguments[match[1]], route)


def body_of(response: Any) -> bytes:
    """The whole body."""
    return b"".join(response.streaming_content) if response.streaming else response.content


def answer_of(response: Any) -> str:
    """How the table writes an answer: its status, or `login`."""
    if response.status_code == 302 and response["location"].startswith("/auth/login"):
        return LOGIN
    return str(response.status_code)
