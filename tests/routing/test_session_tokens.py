"""Session tokens: what our own pages call the gateway with. Who they stand for, what they open, and when they end."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet

from accounts.session_tokens import LIFETIME_S, PREFIX, Ticket, make_token, read_token
from komilion.common.clock import utc_now
from tests.fakes.client import PROMPT, Answer, call
from tests.fakes.replies import Reply
from tests.routing.answers import RATE_HEADERS, assert_error
from tests.routing.books import assert_in_order, only_row, organization_id
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
TICKET = Ticket(organization_id=2**40, membership_id=3, organization_epoch=4, session_epoch=5, expires_at_unix_s=2**40)


def viewer_of(email: str) -> Any:
    """The person as pages see her."""
    from accounts.access import access_viewer
    from accounts.models import User

    viewer = access_viewer(User.objects.get(email=email).pk, None)
    assert viewer is not None
    return viewer


def token_of(email: str) -> str:
    """What a page of hers gets."""
    from accounts.access import ticket_of

    return make_token(ticket_of(viewer_of(email)))


def member(tenant: Tenant, role: str) -> str:
    """Bob: one more person in the tenant's organization; his address."""
    from accounts.models import Membership, User

    email = f"bob-{role}-{tenant.email}"
    user = User.objects.create_user(email)
    Membership.objects.create(organization_id=organization_id(tenant), user=user, role=role)
    return email


def membership_id(email: str) -> int:
    from accounts.models import Membership

    return Membership.objects.get(user__email=email).pk


def ask(gateway: Gateway, token: str, model: str, path: str = CHAT) -> Answer:
    return call(gateway.url, path, token, {"model": model, "messages": PROMPT})


class TestToken:
    def test_says_what_it_was_made_of(self):
        assert read_token(make_token(TICKET)) == TICKET

    def test_no_other_bytes_are_one(self):
        token = make_token(TICKET)
        raw = urlsafe_b64decode(token[len(PREFIX) :])
        forged = [
            PREFIX + urlsafe_b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode()
            for at in range(len(raw))
        ]
        junk = ["", PREFIX, token[:-1], token + "A", "ck_" + token[3:], token[:-4] + "\u00e4bcd", PREFIX + "?" * 100]
        junk += [PREFIX + "A" * 99 + "=", PREFIX + "A" * 100]
        assert [text for text in (*forged, *junk) if read_token(text) is not None] == []

    def test_ends_after_a_quarter_of_an_hour(self):
        with time_machine.travel(utc_now(), tick=False) as clock:
            now = int(utc_now().timestamp())
            token = make_token(replace(TICKET, expires_at_unix_s=now + LIFETIME_S))
            clock.shift(LIFETIME_S - 1)
            assert read_token(token) is not None
            clock.shift(1)
            assert read_token(token) is None

    def test_rotates_with_the_keys_of_the_installation(self, settings: Any):
        token = make_token(TICKET)
        older = list(settings.CREDENTIAL_KEYS)
        settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode(), *older]
        assert read_token(token) == TICKET
        newer = make_token(TICKET)
        settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
        assert (read_token(token), read_token(newer)) == (None, TICKET)

    def test_of_another_version_is_none(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("accounts.session_tokens.VERSION", 2)
        token = make_token(TICKET)
        monkeypatch.undo()
        assert read_token(token) is None


class TestCalls:
    def test_a_call_is_the_persons_and_has_no_key(self, gateway: Gateway, model: str):
        alice = gateway.tenant()
        answer = ask(gateway, token_of(alice.email), model)
        assert answer.status == 200
        assert set(RATE_HEADERS) <= set(answer.headers)
        row = only_row(alice)
        assert (row.key_id, row.member_id, row.request_id) == (None, membership_id(alice.email), answer.json["id"])
        assert_in_order(gateway, alice, row.charge_nano)

    def test_spending_without_a_key_is_summed_as_such(self, gateway: Gateway, model: str):
        from billing.usage_queries import UsageFilter, usage_page

        alice = gateway.tenant()
        ask(gateway, token_of(alice.email), model)
        assert call(gateway.url, CHAT, alice.key, {"model": model, "messages": PROMPT}).status == 200
        assert call(gateway.url, "/spend/keys", alice.key).status == 200
        found = usage_page(organization_id(alice), UsageFilter(key_id=0), None, 10).rows
        assert [row.key_id for row in found] == [None]

    def test_the_limits_are_the_organizations(self, gateway: Gateway, model: str):
        from accounts.actions.changes import raise_epoch
        from accounts.models import Organization

        alice = gateway.tenant()
        Organization.objects.filter(pk=organization_id(alice)).update(limits={"requests_per_minute": 1})
        raise_epoch(organization_id(alice))
        token = token_of(alice.email)
        assert ask(gateway, token, model).status == 200
        assert_error(ask(gateway, token, model), CHAT, 429, "rate_limit_error", "rate_limited")

    def test_an_empty_wallet_refuses_it(self, gateway: Gateway, model: str):
        alice = gateway.tenant(credit="0.00")
        answer = ask(gateway, token_of(alice.email), model)
        assert_error(answer, CHAT, 402, "billing_error", "insufficient_balance")

    def test_it_takes_no_idempotency_key(self, gateway: Gateway, alice: Tenant, model: str):
        headers = {"Idempotency-Key": "one"}
        answer = call(gateway.url, CHAT, token_of(alice.email), {"model": model, "messages": PROMPT}, headers)
        assert_error(answer, CHAT, 400, "invalid_request_error", "invalid_request")
        assert "API key" in answer.json["error"]["message"]

    def test_it_opens_lists_and_calls_but_neither_wallet_nor_keys_nor_usage(self, gateway: Gateway, alice: Tenant):
        token = token_of(alice.email)
        assert call(gateway.url, "/v1/models", token).status == 200
        for path in ("/api/wallet", "/api/auth", "/api/usage", "/key/info", "/spend/keys", "/api/v1/credits"):
            assert call(gateway.url, path, token).status == 401, path

    def test_a_token_beside_a_key_is_one_credential_too_many(self, gateway: Gateway, alice: Tenant, model: str):
        headers = {"x-api-key": token_of(alice.email)}
        answer = call(gateway.url, CHAT, alice.key, {"model": model, "messages": PROMPT}, headers)
        assert answer.status == 401

    def test_it_spends_what_is_its_own_organizations(self, gateway: Gateway, model: str):
        alice, charlie = gateway.tenant(), gateway.tenant()
        ask(gateway, token_of(charlie.email), model)
        assert_in_order(gateway, alice, 0)
        assert_in_order(gateway, charlie, only_row(charlie).charge_nano)


class TestEnd:
    """By the epochs: at once where money is reserved, whatever this process still has in its cache."""

    def refused(self, gateway: Gateway, token: str, model: str, status: int = 401) -> None:
        assert ask(gateway, token, model).status == status
        assert call(gateway.url, "/v1/models", token).status == status

    @pytest.fixture
    def deaf(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No news arrive, so only the comparison in the hold's transaction can tell."""
        monkeypatch.setattr("komilion.common.news.publish", lambda message: None)

    @pytest.mark.usefixtures("deaf")
    @pytest.mark.parametrize("role", ["developer", "owner"])
    def test_with_the_membership(self, gateway: Gateway, model: str, role: str):
        from accounts.actions.members import do_remove_member

        alice = gateway.tenant()
        bob = member(alice, role)
        token = token_of(bob)
        assert ask(gateway, token, model).status == 200
        do_remove_member(organization_id(alice), membership_id(bob), revoke_keys=True, actor=alice.email)
        self.refused(gateway, token, model)

    @pytest.mark.usefixtures("deaf")
    @pytest.mark.parametrize("role", ["viewer", "billing", "owner"])
    def test_with_a_change_of_role(self, gateway: Gateway, model: str, role: str):
        from accounts.actions.members import do_change_role

        alice = gateway.tenant()
        bob = member(alice, "developer")
        token = token_of(bob)
        assert ask(gateway, token, model).status == 200
        do_change_role(organization_id(alice), membership_id(bob), role, actor=alice.email)
        self.refused(gateway, token, model)

    @pytest.mark.usefixtures("deaf")
    def test_with_a_suspension_which_says_so(self, gateway: Gateway, model: str):
        alice = gateway.tenant()
        token = token_of(alice.email)
        assert ask(gateway, token, model).status == 200
        gateway.suspend(alice)
        answer = ask(gateway, token, model)
        assert_error(answer, CHAT, 403, "permission_error", "organization_suspended")

    def test_when_the_person_ends_her_sessions(self, gateway: Gateway, model: str, monkeypatch: pytest.MonkeyPatch):
        from accounts.models import User

        monkeypatch.setattr("routing.gateway.authenticate.TICKET_FOUND_FOR_S", 0.0)
        alice = gateway.tenant()
        token = token_of(alice.email)
        assert ask(gateway, token, model).status == 200
        User.objects.filter(email=alice.email).update(session_epoch=1)
        self.refused(gateway, token, model)

    def test_by_news_where_no_money_is_reserved(self, gateway: Gateway):
        from accounts.actions.members import do_change_role

        alice = gateway.tenant()
        bob = member(alice, "developer")
        token = token_of(bob)
        assert call(gateway.url, "/v1/models", token).status == 200
        do_change_role(organization_id(alice), membership_id(bob), "viewer", actor=alice.email)
        wait_until(lambda: call(gateway.url, "/v1/models", token).status == 401, what="the news")

    def test_by_the_clock_while_it_is_cached(self, gateway: Gateway, model: str):
        from accounts.access import ticket_of

        alice = gateway.tenant()
        ticket = replace(ticket_of(viewer_of(alice.email)), expires_at_unix_s=int(utc_now().timestamp()) + 2)
        token = make_token(ticket)
        assert ask(gateway, token, model).status == 200
        wait_until(lambda: ask(gateway, token, model).status == 401, what="the token to end")


class TestWhoGetsOne:
    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_nobody_who_may_not_call(self, gateway: Gateway, role: str):
        from komilion.common.errors import Forbidden

        with pytest.raises(Forbidden):
            token_of(member(gateway.tenant(), role))

    def test_nobody_while_the_organization_is_suspended(self, gateway: Gateway):
        from komilion.common.errors import Suspended

        alice = gateway.tenant()
        gateway.suspend(alice)
        with pytest.raises(Suspended):
            token_of(alice.email)

    def test_a_ticket_that_names_another_organization_is_no_callers(self, gateway: Gateway):
        """Nobody can sign one; should one be signed, it opens nothing."""
        from accounts.access import access_session_token, access_ticketed_asker, ticket_of

        alice, charlie = gateway.tenant(), gateway.tenant()
        ticket = ticket_of(viewer_of(charlie.email))
        foreign = replace(ticket, organization_id=organization_id(alice))
        assert access_session_token(foreign) is None
        assert access_ticketed_asker(foreign) is None
        asker = access_ticketed_asker(ticket)
        assert asker is not None
        assert (asker.organization_id, asker.key) == (organization_id(charlie), None)


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers."""
    return gateway.add_model(Reply())
