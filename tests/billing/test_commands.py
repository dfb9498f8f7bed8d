"""The commands about money, as others call them."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from accounts.models import ApiKey, Organization
from billing.errors import StoreBusy, StoreUnavailable
from billing.models import GatewayProcess
from komilion.common.ids import is_well_formed_api_key
from tests.billing.ledger_database import ALIVE, LedgerDatabase, Tenant, place

pytestmark = pytest.mark.usefixtures("ledger")
EMAIL = "alice@example.com"


def create(*arguments: str) -> None:
    call_command("tenant", "create", EMAIL, *arguments)


def test_a_tenant_has_a_key_and_paid_credit(capsys):
    create("--credit", "10.00")
    lines = capsys.readouterr().out.splitlines()
    organization = Organization.objects.get()
    assert lines[0] == f"organization {organization.pk} (standard) of {EMAIL}"
    assert lines[1] == "credit 10.00 US dollars"
    assert is_well_formed_api_key(lines[2].split()[1])
    assert ApiKey.objects.get().organization == organization


def test_only_the_key_is_printed_when_asked(capsys):
    create("--tier", "high", "--print-key")
    assert is_well_formed_api_key(capsys.readouterr().out.removesuffix("\n"))
    assert Organization.objects.get().tier == "high"


@pytest.mark.parametrize("credit", ["-1", "ten", "1e3", "0.0000000001", "99999999999"])
def test_a_credit_that_is_no_amount_makes_no_tenant(credit):
    with pytest.raises(CommandError, match=r"is not an amount|finer than|more than"):
        create(f"--credit={credit}")
    assert not Organization.objects.exists()


def test_an_address_has_one_tenant():
    create()
    with pytest.raises(CommandError, match="has an account already"):
        call_command("tenant", "create", EMAIL.upper())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["create", "nobody"], "valid email"), (["create", EMAIL, "--tier", "gold"], "invalid choice"), ([], "required")],
)
def test_a_tenant_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("tenant", *arguments)
    assert not Organization.objects.exists()


def test_a_wallet_is_shown_as_decimal_strings(ledger: LedgerDatabase, capsys):
    create("--credit", "10.00", "--print-key")
    alice = Tenant(Organization.objects.get().pk, ApiKey.objects.get().pk)
    ledger.commit(place(alice, 2_500_000_001))
    capsys.readouterr()
    call_command("wallet", "show", EMAIL, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "available": "7.499999999", "held": "2.500000001", "paid": "10.00", "promo": "0.00", "debt": "0.00"
    }  # fmt: skip
    call_command("wallet", "show", EMAIL)
    assert "held      2.500000001\n" in capsys.readouterr().out


def test_a_wallet_of_nobody_is_an_error():
    with pytest.raises(CommandError, match=r"No organization belongs to nobody@example\.com"):
        call_command("wallet", "show", "nobody@example.com", "--json")


def test_holds_are_reaped(ledger: LedgerDatabase, capsys):
    GatewayProcess.objects.create(pk=ALIVE, boot_id="elsewhere", pid=1, pid_started="", heartbeat_at=Now())
    alice = ledger.open_wallet(paid=100)
    ledger.commit(place(alice, 10, lifetime_s=0), place(alice, 10))
    call_command("holds", "reap")
    assert capsys.readouterr().out == "1 holds expired, 0 settlements replayed\n"
    assert ledger.wallet(alice.wallet_id)["held"] == 10


@pytest.mark.parametrize("error", [StoreUnavailable, StoreBusy])
def test_a_database_that_is_away_is_an_error(monkeypatch, error):
    def away() -> None:
        raise error("away")

    monkeypatch.setattr("billing.management.commands.holds.reap", away)
    monkeypatch.setattr("billing.actions.wallets.open_store", away)
    with pytest.raises(CommandError, match="did not answer: away"):
        call_command("holds", "reap")
    with pytest.raises(CommandError, match="away"):
        create("--credit", "1")
