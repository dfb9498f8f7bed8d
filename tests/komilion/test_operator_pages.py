"""The operators' pages: everything is shown, nothing is edited but by an action, and a wallet only by a posting."""

import html
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry, Organization, User
from billing.actions.prices import do_record_price
from billing.models import IdempotentCall, LedgerEntry, UsageRow, Wallet
from komilion.common.admin import MOST_LISTED
from komilion.common.clock import utc_now
from komilion.web.tenants import do_open_tenant
from routing.catalog.models import Model, Offer, OfferPrice, Provider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator@example.com"))
    return client


@pytest.fixture
def wallet() -> Wallet:
    tenant = do_open_tenant("alice@example.com", tier="standard", credit_nano=10**10, actor="test")
    return Wallet.objects.get(pk=tenant.organization.pk)


def correction_of(operator: Client, wallet: Wallet, **data: Any) -> Any:
    url = reverse("admin:billing_wallet_correct", args=[wallet.pk])
    reference = operator.get(url).context["form"].initial["reference"]
    return operator.post(url, {"reference": reference, "reason": "an outage on Friday", **data})


def usage_row(organization_id: int, number: int) -> UsageRow:
    blank = dict.fromkeys(("client_request_id", "end_user", "app_url", "app_title"), "")
    nothing = dict.fromkeys(("price_id", "cost_nano", "fee_nano", "charge_nano", "savings_nano", "duration_ms"), 0)
    words = dict.fromkeys(("endpoint", "requested_model", "model", "provider", "outcome"), "acme")
    return UsageRow.objects.create(
        created_at=utc_now(),
        request_id=f"gen-{number}",
        organization_id=organization_id,
        tags=[],
        streamed=False,
        usage_source="provider",
        usage={},
        detail={},
        **blank,
        **nothing,
        **words,
    )


def test_every_table_can_be_listed(operator: Client, wallet: Wallet):
    usage_row(wallet.pk, 1)
    for model, options in admin.site._registry.items():
        info = (model._meta.app_label, model._meta.model_name)
        answer = operator.get(reverse("admin:{}_{}_changelist".format(*info)))
        assert answer.status_code == 200, info
        row = options.get_queryset(answer.wsgi_request).first()
        if row is not None:
            link = answer.context["cl"].url_for_result(row)
            assert operator.get(link).status_code == 200, info


@pytest.mark.parametrize("words", ["anything", "1", "99999999999999999999", "a@b.c 7"])
def test_every_table_can_be_searched(operator: Client, wallet: Wallet, words: str):
    for model in admin.site._registry:
        info = (model._meta.app_label, model._meta.model_name)
        answer = operator.get(reverse("admin:{}_{}_changelist".format(*info)), {"q": words})
        assert answer.status_code == 200, info


def test_every_table_of_ours_is_shown():
    ours = [
        model
        for app in ("accounts", "billing", "routing", "voice", "advisor")
        for model in apps.get_app_config(app).get_models()
    ]
    assert [model.__name__ for model in ours if not admin.site.is_registered(model)] == []


def test_what_the_money_did_is_found_by_the_wallet(operator: Client, wallet: Wallet):
    for table in ("ledgerentry", "posting"):
        url = reverse(f"admin:billing_{table}_changelist")
        assert operator.get(url, {"q": str(wallet.pk)}).context["cl"].result_count > 0
        assert operator.get(url, {"q": str(wallet.pk + 1)}).context["cl"].result_count == 0


def test_a_call_is_found_by_its_request_id_without_counting_the_others(operator: Client, wallet: Wallet):
    rows = [usage_row(wallet.pk, number) for number in range(3)]
    url = reverse("admin:billing_usagerow_changelist")
    with CaptureQueriesContext(connection) as queries:
        answer = operator.get(url, {"q": rows[1].request_id})
    assert [row.request_id for row in answer.context["cl"].result_list] == [rows[1].request_id]
    counts = [query["sql"] for query in queries if "COUNT" in query["sql"] and "billing_usagerow" in query["sql"]]
    assert len(counts) == 1
    assert f"LIMIT {MOST_LISTED}" in counts[0]
    link = answer.context["cl"].url_for_result(rows[1])
    assert rows[1].request_id in operator.get(link).content.decode()
    for nonsense in ("1", "[]", "nonsense", '["2026-01-01T00:00:00", "gen-1"]'):
        assert operator.get(f"/operator/billing/usagerow/{nonsense}/change/").status_code == 302
    assert operator.get(url, {"q": rows[1].request_id[:-1]}).context["cl"].result_count == 0


def test_kept_answers_are_the_tenants(operator: Client):
    call = IdempotentCall.objects.create(
        key_id=1,
        path="/v1/chat/completions",
        idempotency_key="once",
        body_hmac="0" * 64,
        request_id="gen-kept",
        answer="sealed-answer",
        created_at=utc_now(),
        expires_at=utc_now(),
    )
    page = operator.get(reverse("admin:billing_idempotentcall_change", args=[call.pk])).content.decode()
    assert "gen-kept" in page
    assert "sealed-answer" not in page


def test_an_operator_gets_in_without_a_mail_and_is_no_tenant(client: Client, db: None, valkey_url: str):
    User.objects.create_superuser("operator@example.com", "correct horse battery staple")
    data = {"login": "operator@example.com", "password": "correct horse battery staple"}
    answer = client.post("/auth/login/?next=/operator/", data, follow=True)
    assert (answer.redirect_chain[-1][0], answer.status_code) == ("/operator/", 200)
    assert client.get("/dashboard", follow=True).status_code == 200
    assert not Organization.objects.filter(memberships__user__email="operator@example.com").exists()
    assert mail.outbox == []


def test_who_is_not_logged_in_is_sent_to_the_common_login(client: Client, db: None):
    answer = client.get("/operator/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/auth/login/")


def test_a_tenant_is_none_of_them(client: Client, wallet: Wallet):
    client.force_login(User.objects.get(email="alice@example.com"))
    assert client.get("/operator/billing/wallet/").status_code in {302, 403}
    url = reverse("admin:billing_wallet_correct", args=[wallet.pk])
    assert client.post(url, {"kind": "recredit", "amount": "5"}).status_code in {302, 403}
    wallet.refresh_from_db()
    assert wallet.available_nano == 10**10


def test_an_operator_who_may_only_look_posts_nothing(client: Client, wallet: Wallet):
    looker = User.objects.create_user("looker@example.com", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_wallet"))
    client.force_login(looker)
    assert client.get(reverse("admin:billing_wallet_change", args=[wallet.pk])).status_code == 200
    url = reverse("admin:billing_wallet_correct", args=[wallet.pk])
    data = {"reference": "operator-x", "kind": "recredit", "amount": "5", "reason": "for myself"}
    assert client.post(url, data).status_code == 403
    wallet.refresh_from_db()
    assert wallet.available_nano == 10**10


def test_a_balance_cannot_be_edited(operator: Client, wallet: Wallet):
    url = reverse("admin:billing_wallet_change", args=[wallet.pk])
    assert operator.post(url, {"available_nano": 1}).status_code == 403
    wallet.refresh_from_db()
    assert wallet.available_nano == 10**10


def test_a_correction_is_a_posting_with_a_reason(operator: Client, wallet: Wallet):
    answer = correction_of(operator, wallet, kind="recredit", amount="2.50")
    assert answer.status_code == 302
    wallet.refresh_from_db()
    assert wallet.available_nano == 12_500_000_000
    entry = LedgerEntry.objects.get(kind="recredit")
    assert "an outage on Friday" in entry.memo
    assert "operator@example.com" in entry.memo
    assert AuditEntry.objects.get(action="wallet.recredit").detail["reason"] == "an outage on Friday"


def test_a_correction_sent_twice_happens_once(operator: Client, wallet: Wallet):
    url = reverse("admin:billing_wallet_correct", args=[wallet.pk])
    reference = operator.get(url).context["form"].initial["reference"]
    for _ in range(2):
        data = {"reference": reference, "kind": "grant", "amount": "1", "reason": "for the bug report"}
        assert operator.post(url, data).status_code == 302
    wallet.refresh_from_db()
    assert wallet.promo_nano == 10**9
    assert AuditEntry.objects.filter(action="wallet.grant").count() == 1


@pytest.mark.parametrize("amount", ["0", "-1", "ten", "1e3", "0.0000000001", "", "99999999999999"])
def test_an_odd_amount_is_said_beside_the_field(operator: Client, wallet: Wallet, amount: str):
    answer = correction_of(operator, wallet, kind="recredit", amount=amount)
    assert answer.status_code == 200
    assert answer.context["form"].errors["amount"]


def test_more_than_there_is_cannot_be_taken(operator: Client, wallet: Wallet):
    answer = correction_of(operator, wallet, kind="adjust", amount="10.01")
    said = html.unescape(str(answer.context["form"].non_field_errors()))
    assert "Nothing was posted" in said
    assert "$10.01 are more than the $10.00 there are to take" in said
    assert "Refused(" not in said
    wallet.refresh_from_db()
    assert wallet.available_nano == 10**10


def test_tier_and_suspension_go_through_the_actions(operator: Client, wallet: Wallet):
    organization = Organization.objects.get(pk=wallet.pk)
    epoch = organization.auth_epoch
    url = reverse("admin:accounts_organization_change", args=[organization.pk])
    blank_inline = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    assert operator.post(url, {"tier": "high", **blank_inline}).status_code == 302
    organization.refresh_from_db()
    assert (organization.tier, organization.auth_epoch) == ("high", epoch + 1)
    for action, is_suspended in (("suspend", True), ("unsuspend", False)):
        listing = reverse("admin:accounts_organization_changelist")
        operator.post(listing, {"action": action, "_selected_action": [organization.pk]})
        organization.refresh_from_db()
        assert (organization.suspended_at is not None) is is_suspended
    assert organization.auth_epoch == epoch + 3


def test_whom_an_operator_gives_rights_or_takes_them_from_is_in_the_audit_log(operator: Client, wallet: Wallet):
    alice = User.objects.get(email="alice@example.com")
    url = reverse("admin:accounts_user_change", args=[alice.pk])
    sent = {"email": "other@example.com", "time_zone": "UTC", "is_active": "on", "is_staff": "on"}
    assert operator.post(url, sent).status_code == 302
    alice.refresh_from_db()
    assert (alice.is_staff, alice.email) == (True, "alice@example.com")
    entry = AuditEntry.objects.get(action="person.change")
    assert (entry.actor, entry.subject) == ("operator operator@example.com", "alice@example.com")
    assert entry.detail["is_staff"] is True
    assert "Staff status" in str(entry.detail["changed"])
    assert operator.post(url, {"time_zone": "UTC"}).status_code == 302
    assert AuditEntry.objects.filter(action="person.change").latest("pk").detail["is_active"] is False


def test_a_password_that_an_operator_sets_is_in_the_audit_log(operator: Client, wallet: Wallet):
    alice = User.objects.get(email="alice@example.com")
    word = "another horse battery staple"
    operator.post(f"/operator/accounts/user/{alice.pk}/password/", {"password1": word, "password2": word})
    alice.refresh_from_db()
    assert alice.check_password(word)
    assert "password" in str(AuditEntry.objects.get(action="person.change").detail["changed"]).lower()


def test_who_may_change_people_gives_nobody_rights(client: Client, wallet: Wallet):
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    client.force_login(clerk)
    url = reverse("admin:accounts_user_change", args=[clerk.pk])
    sent = {"time_zone": "UTC", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert client.post(url, sent).status_code == 302
    clerk.refresh_from_db()
    assert not clerk.is_superuser


@pytest.mark.parametrize("model", [EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken])
def test_nobody_is_given_a_way_in(operator: Client, wallet: Wallet, model: Any):
    assert operator.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")).status_code == 403
    alice = User.objects.get(email="alice@example.com")
    address = EmailAddress.objects.create(user=alice, email=alice.email)
    url = reverse("admin:account_emailaddress_change", args=[address.pk])
    assert operator.post(url, {"email": "other@example.com", "verified": "on"}).status_code == 403
    listing = reverse("admin:account_emailaddress_changelist")
    operator.post(listing, {"action": "make_verified", "_selected_action": [address.pk]})
    address.refresh_from_db()
    assert (address.email, address.verified) == (alice.email, False)


@pytest.mark.parametrize("in_bulk", [False, True])
def test_who_lost_her_second_factor_is_helped_and_told(operator: Client, wallet: Wallet, settings, in_bulk: bool):
    alice = User.objects.get(email="alice@example.com")
    app = TOTP.activate(alice, generate_totp_secret()).instance
    RecoveryCodes.activate(alice)
    page = operator.get(reverse("admin:mfa_authenticator_change", args=[app.pk])).content.decode()
    assert app.data["secret"] not in page
    if in_bulk:
        chosen = {"action": "delete_selected", "_selected_action": [app.pk], "post": "yes"}
        operator.post(reverse("admin:mfa_authenticator_changelist"), chosen)
    else:
        operator.post(reverse("admin:mfa_authenticator_delete", args=[app.pk]), {"post": "yes"})
    assert not Authenticator.objects.filter(user=alice).exists()
    entry = AuditEntry.objects.get(action="person.second_factor")
    assert (entry.actor, entry.subject) == ("operator operator@example.com", alice.email)
    assert [message.to for message in mail.outbox] == [[alice.email]]


def test_prices_are_shown_with_their_figures(operator: Client) -> None:
    provider = Provider.objects.create(pk="acme", base_url="https://api.acme.example/v1")
    model = Model.objects.create(pk="acme/large", name="Large")
    offer = Offer.objects.create(model=model, provider=provider, context_length=9, max_output=9)
    tier = {"above_input": 200_000, "components": {"input": 6 * 10**9, "output": 22_500_000_000}}
    price = do_record_price({"output": 15 * 10**9, "input": 3 * 10**9}, [tier])
    OfferPrice.objects.create(offer=offer, price=price, effective_from=datetime(2026, 12, 1, tzinfo=UTC))
    figures = "input 3.00, output 15.00; above 200000 input tokens input 6.00, output 22.50"
    assert figures in operator.get(reverse("admin:billing_price_changelist")).content.decode()
    page = operator.get(reverse("admin:routing_offerprice_changelist")).content.decode()
    assert f"price {price.pk}: {figures}" in page
    assert "from 2026-12-01 00:00:00 UTC" in page
