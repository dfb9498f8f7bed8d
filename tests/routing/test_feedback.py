"""Feedback by the REST API: whose requests, which scores, and what is kept of it."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.models import LedgerEntry, Payment, Refund, TopUpOrder
from komilion.common.clock import utc_now
from tests.komilion.tenancy import CANARY, new_usage_row
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def made(alice: Person) -> tuple[Api, str]:
    """A key of Alice's and a request that it made."""
    key = alice.key()
    return Api(key.secret), new_usage_row(alice, key.row.pk)


def vote(api: Api, request_id: str, **body: Any) -> Any:
    return api("POST", "/api/feedback", {"request_id": request_id, **body})


def kept(person: Person) -> list:
    from routing.selection.models import Feedback

    return list(Feedback.objects.filter(organization_id=person.organization_id))


def test_anonymous():
    assert Api()("POST", "/api/feedback").status_code == 401


@pytest.mark.parametrize(
    ("body", "score"),
    [
        ({"thumbs": "up"}, 1.0),
        ({"thumbs": "down"}, 0.0),
        ({"score": 0.25}, 0.25),
        ({"score": 0}, 0.0),
        ({"score": 1}, 1),
    ],
)
def test_a_vote_is_kept(made: tuple[Api, str], alice: Person, body: dict[str, Any], score: float):
    api, request_id = made
    answer = vote(api, request_id, **body)
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert (found["request_id"], found["score"], found["model"]) == (request_id, score, "acme/one")
    (row,) = kept(alice)
    assert (row.request_id, row.score, row.model) == (request_id, score, "acme/one")


def test_a_second_vote_replaces_the_first(made: tuple[Api, str], alice: Person):
    api, request_id = made
    for body in ({"thumbs": "up"}, {"score": 0.5}):
        assert vote(api, request_id, **body).status_code == 200
    assert [row.score for row in kept(alice)] == [0.5]


def paid(person: Person, payment_id: str, *, livemode: bool = False) -> None:
    """A payment of a dollar, credited as its event would."""
    order = TopUpOrder.objects.create(
        id=f"ord-{payment_id}",
        wallet_id=person.organization_id,
        kind=TopUpOrder.Kind.CHECKOUT,
        credit_cents=100,
        fee_cents=0,
        currency="usd",
        livemode=livemode,
        created_by=person.email,
    )
    amounts = {"credit_cents": 100, "fee_cents": 0, "tax_cents": 0, "total_cents": 100, "currency": "usd"}
    Payment.objects.create(
        id=payment_id,
        order=order,
        wallet_id=person.organization_id,
        livemode=livemode,
        created_at=utc_now(),
        **amounts,
    )
    entered(person, "topup", payment_id)


def entered(person: Person, kind: str, reference: str) -> None:
    """A movement of a dollar in the ledger."""
    LedgerEntry.objects.create(reference=reference, kind=kind, wallet_id=person.organization_id, amount_nano=10**9)


class TestWhoseVotesCount:
    @pytest.mark.parametrize(
        ("pays", "is_paid"),
        [
            (lambda person: None, False),
            (lambda person: entered(person, "grant", "trial-1"), False),
            (lambda person: paid(person, "test-pi-1"), False),
            (lambda person: entered(person, "topup", "by the operator"), True),
            (lambda person: paid(person, "pi_1", livemode=True), True),
        ],
        ids=["nothing", "trial credit", "test money", "a top-up by an operator", "a payment"],
    )
    def test_those_of_who_has_paid(
        self, made: tuple[Api, str], alice: Person, pays: Callable[[Person], None], is_paid: bool
    ):
        pays(alice)
        vote(made[0], made[1], thumbs="up")
        assert [row.is_paid for row in kept(alice)] == [is_paid]

    def test_those_of_who_has_it_back_do_not(self, made: tuple[Api, str], alice: Person):
        paid(alice, "pi_1", livemode=True)
        Refund.objects.create(
            id="ref-1",
            payment_id="pi_1",
            wallet_id=alice.organization_id,
            credit_cents=100,
            refund_cents=100,
            created_at=utc_now(),
        )
        vote(made[0], made[1], thumbs="up")
        assert [row.is_paid for row in kept(alice)] == [False]


def test_a_request_shows_what_was_thought_of_it(made: tuple[Api, str]):
    api, request_id = made
    shown = [api("GET", f"/api/generation?id={request_id}").json()["data"]["x_komilion"]["feedback"]]
    vote(api, request_id, thumbs="down")
    shown.append(api("GET", f"/api/generation?id={request_id}").json()["data"]["x_komilion"]["feedback"])
    assert shown == [None, 0.0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"score": 1, "thumbs": "up"},
        {"score": 1.01},
        {"score": -0.1},
        {"score": True},
        {"score": "1"},
        {"score": "nan"},
        {"thumbs": "sideways"},
        {"thumbs": "up", "comment": "a text that nobody asked for"},
    ],
)
def test_what_is_no_vote_is_refused(made: tuple[Api, str], alice: Person, body: dict[str, Any]):
    api, request_id = made
    assert vote(api, request_id, **body).status_code == 422
    assert kept(alice) == []


def test_votes_are_for_ones_own_requests(made: tuple[Api, str], alice: Person):
    _, request_id = made
    charlie = new_owner("charlie@example.com")
    for stranger in (Api(charlie.key().secret), Api(alice.key().secret), Api(browser=charlie.browser)):
        answer = vote(stranger, request_id, thumbs="down")
        assert answer.status_code == 404
        assert CANARY.encode() not in answer.content.replace(request_id.encode(), b"")
    assert kept(alice) == kept(charlie) == []


@pytest.mark.parametrize(("role", "status"), [("developer", 200), ("billing", 403), ("viewer", 403)])
def test_a_session_votes_as_its_role_may(made: tuple[Api, str], alice: Person, role: str, status: int):
    bob = new_member("bob@example.com", alice.organization_id, role)
    assert vote(Api(browser=bob.browser), made[1], thumbs="up").status_code == status
