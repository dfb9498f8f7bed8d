"""Test money where it may be and nowhere else; settings of paying that make no sense are told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.checks.messages import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from billing.payments import checks
from billing.payments.checks import check_payments, check_test_money
from komilion import env, uvicorn_worker
from komilion import settings as our_settings
from komilion.common.play_money import is_loopback
from komilion.supervisor import prepare
from komilion.supervisor.guard import Refusal, refuse_test_money
from tests.billing.payments.conftest import Alice

LIVE = "sk_live_0123456789"


def ids(found: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in found]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example.com", ""])
def test_no_loopback(host: str):
    assert not is_loopback(host)


# the system checks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"TEST_PAYMENTS": True}, []),
        ({"TEST_PAYMENTS": True, "HOST": "0.0.0.0"}, ["billing.E001"]),
        ({"TEST_PAYMENTS": True, "BEHIND_PROXY": True}, ["billing.E001"]),
        ({"TEST_PAYMENTS": True, "PUBLIC_URL": "https://gateway.example.com"}, ["billing.E001"]),
        ({"TEST_PAYMENTS": True, "PUBLIC_URL": "http://[::1]:8000"}, []),
        ({"TEST_PAYMENTS": True, "STRIPE_SECRET_KEY": LIVE, "STRIPE_WEBHOOK_SECRETS": ["x"]}, ["billing.E001"]),
        ({"HOST": "0.0.0.0", "STRIPE_SECRET_KEY": LIVE, "STRIPE_WEBHOOK_SECRETS": ["x"]}, []),
        ({"STRIPE_SECRET_KEY": "sk_test_1"}, ["billing.E002"]),
        ({"STRIPE_WEBHOOK_SECRETS": ["x"]}, ["billing.W001"]),
    ],
)
def test_settings_of_paying_are_checked(settings: Any, changes: dict[str, Any], expected: list[str]):
    settings.TEST_PAYMENTS = False
    for name, value in changes.items():
        setattr(settings, name, value)
    found = check_payments(None)
    assert ids(found) == expected
    assert all(message.hint for message in found)
    assert set(expected) <= set(ids(run_checks(tags=["security"])))


def test_test_money_in_a_database_that_held_real_money_is_an_error(alice: Alice, settings: Any):
    settings.TEST_PAYMENTS = True
    assert check_test_money(None, ["default"]) == []
    hold_real_money(alice)
    assert ids(check_test_money(None, ["default"])) == ["billing.E003"]
    assert check_test_money(None) == []
    assert "billing.E003" in ids(run_checks(tags=["database"], databases=["default"]))
    settings.TEST_PAYMENTS = False
    assert check_test_money(None, ["default"]) == []


def test_a_database_without_tables_is_not_checked(settings: Any, monkeypatch: pytest.MonkeyPatch):
    def no_tables(*_: object) -> str:
        raise DatabaseError("no such table")

    settings.TEST_PAYMENTS = True
    monkeypatch.setattr(checks, "trouble_of_database", no_tables)
    assert check_test_money(None, ["default"]) == []


def hold_real_money(alice: Alice) -> None:
    """A payment of real money, some time ago."""
    from billing.models import Payment

    order = alice.order(livemode=True)
    figures = {"credit_cents": 500, "fee_cents": 0, "tax_cents": 0, "total_cents": 500}
    Payment.objects.create(
        id="pi_live",
        order=order,
        wallet_id=alice.id,
        currency="usd",
        livemode=True,
        created_at=order.created_at,
        **figures,
    )


# the settings


@pytest.mark.parametrize("key", ["", *(f"{prefix}x" for prefix in env.STRIPE_KEY_PREFIXES)])
def test_keys_of_stripe_are_taken(monkeypatch: pytest.MonkeyPatch, key: str):
    monkeypatch.setenv("STRIPE_SECRET_KEY", key)
    assert env.stripe_key("STRIPE_SECRET_KEY") == key


def test_what_is_no_key_of_stripe_is_refused_and_not_quoted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STRIPE_SECRET_KEY", "pk_live_canary")
    with pytest.raises(ImproperlyConfigured, match="must start with sk_live_") as caught:
        env.stripe_key("STRIPE_SECRET_KEY")
    assert "canary" not in str(caught.value)


def test_several_webhook_secrets_stand_between_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", " whsec_1, ,whsec_2 ")
    assert env.words("STRIPE_WEBHOOK_SECRETS") == ["whsec_1", "whsec_2"]


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://user@x", "https://x?y", "http://x:port"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("STRIPE_API_BASE", url)
    with pytest.raises(ImproperlyConfigured, match="STRIPE_API_BASE"):
        env.base_url("STRIPE_API_BASE", "https://x.example")


# the start


@pytest.fixture
def decided(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An installation on loopback that says nothing of test money."""
    monkeypatch.delenv("TEST_PAYMENTS", raising=False)
    settings.TEST_PAYMENTS = False
    settings.HOST = "127.0.0.1"
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    settings.BEHIND_PROXY = False
    return monkeypatch


@pytest.mark.parametrize(
    "changes",
    [
        {"HOST": "0.0.0.0"},
        {"STRIPE_SECRET_KEY": LIVE},
        {"PUBLIC_URL": "https://gateway.example.com"},
        {"BEHIND_PROXY": True},
    ],
)
def test_where_it_is_unset_a_start_turns_it_on_only_where_nobody_else_can_come_in(
    alice: Alice, decided: object, settings: Any, changes: dict[str, Any]
):
    assert (prepare.do_decide_test_payments(), settings.TEST_PAYMENTS) == ("", True)
    for name, value in changes.items():
        setattr(settings, name, value)
    assert (prepare.do_decide_test_payments(), settings.TEST_PAYMENTS) == ("", False)


def test_where_the_database_held_real_money_it_stays_off_and_is_refused_when_asked_for(
    alice: Alice, decided: pytest.MonkeyPatch, settings: Any
):
    hold_real_money(alice)
    assert (prepare.do_decide_test_payments(), settings.TEST_PAYMENTS) == ("", False)
    decided.setenv("TEST_PAYMENTS", "1")
    settings.TEST_PAYMENTS = True
    assert "this database holds payments of real money" in prepare.do_decide_test_payments()


@pytest.mark.parametrize("is_on", [True, False])
def test_what_somebody_set_stays_where_it_may(alice: Alice, decided: pytest.MonkeyPatch, settings: Any, is_on: bool):
    decided.setenv("TEST_PAYMENTS", str(int(is_on)))
    settings.TEST_PAYMENTS = is_on
    assert (prepare.do_decide_test_payments(), settings.TEST_PAYMENTS) == ("", is_on)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("HOST", "0.0.0.0", r"HOST 0\.0\.0\.0 can be reached from other machines"),
        ("STRIPE_SECRET_KEY", LIVE, "a live key"),
        ("BEHIND_PROXY", True, "through a proxy"),
        ("PUBLIC_URL", "https://gateway.example.com", r"by gateway\.example\.com"),
    ],
)
def test_the_supervisor_refuses_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, reason: str
):
    refuse_test_money(our_settings)
    monkeypatch.setattr(our_settings, name, value)
    with pytest.raises(Refusal, match=reason):
        refuse_test_money(our_settings)


def test_a_web_process_refuses_by_itself(
    alice: Alice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert uvicorn_worker.refusal_of_test_money() == ""
    monkeypatch.setattr(our_settings, "TEST_PAYMENTS", True)
    assert uvicorn_worker.refusal_of_test_money() == ""
    hold_real_money(alice)
    assert uvicorn_worker.main() == 1
    said = capsys.readouterr().err
    assert "payments of real money" in said
    assert said.count("\n") == 1


def test_a_web_process_that_cannot_ask_the_database_refuses(monkeypatch: pytest.MonkeyPatch):
    from billing.payments import pretend

    def away() -> str:
        raise DatabaseError("gone")

    monkeypatch.setattr(our_settings, "TEST_PAYMENTS", True)
    monkeypatch.setattr(pretend, "trouble_of_database", away)
    assert "gone" in uvicorn_worker.refusal_of_test_money()


def test_a_start_says_that_paying_is_off_for_want_of_a_webhook_secret(settings: Any):
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRETS = "sk_test_1", []
    (note,) = prepare.notes_on_paying()
    assert "STRIPE_WEBHOOK_SECRETS is not" in note
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_x"]
    assert prepare.notes_on_paying() == []
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRETS = "", []
    assert prepare.notes_on_paying() == []


# other servers


def statuses_of_other_servers(switch: str) -> list[int]:
    own = {"DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}", "TEST_PAYMENTS": switch}
    environment = {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    command = [sys.executable, "-m", "tests.billing.payments.other_servers"]
    asked = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return list(json.loads(asked.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_with_test_money_any_server_serves_this_machine_alone(alice: Alice):
    assert statuses_of_other_servers("0") == [401] * 7
    assert statuses_of_other_servers("1") == [401, 403, 403, 403, 401, 403, 403]


@pytest.mark.slow
def test_with_test_money_no_server_serves_an_installation_that_held_real_money(alice: Alice):
    hold_real_money(alice)
    assert statuses_of_other_servers("1") == [503, 403, 403, 403, 503, 403, 403]
