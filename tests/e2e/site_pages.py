"""Which pages the browser walks, and as whom: one line each. A new page gets its line here.

The order matters: every visitor goes down the list, and some pages are reached by doing something (`then`) that pages
further down show the outcome of. test_site_pages.py compares the list with the URL map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from playwright.sync_api import Page

from tests.e2e import page_steps as steps
from tests.e2e.server import Installation

type Who = Literal["anybody", "newcomer", "owner", "customer", "unlucky", "returning"]
WHO: tuple[Who, ...] = ("anybody", "newcomer", "owner", "customer", "unlucky", "returning")
"""In the order of the walk. `newcomer`: signed up and invited by the owner, no request yet. `owner`: has a history.
`customer`: the owner where Stripe is set up. `unlucky`: the owner whose rows of usage are spoiled. `returning`: the
owner, logged out."""


@dataclass(frozen=True)
class SitePage:
    """A page: its path (`{names}` are filled from the stand), who visits, the status it answers with.

    What is looked at is where `then` ends up: on the address named `lands`, with the status `then_status`.
    """

    path: str
    who: Who = "anybody"
    status: int = 200
    without: str = ""  # selector of a part that is not ours, which axe-core does not judge
    then: Callable[[Installation, Page], None] | None = None
    lands: str = ""
    then_status: int = 200
    expects: tuple[str, ...] = ()  # complaints that belong to it, by what they contain


def _of(who: Who, *paths: str) -> tuple[SitePage, ...]:
    return tuple(SitePage(path, who) for path in paths)


SITE_PAGES = [
    *_of("anybody", "/", "/models", "/models?q=nothing-like-it", "/models?most=cheap", "/models/{model}", "/pricing"),
    *_of(
        "anybody",
        "/docs",
        "/docs/chat",
        "/docs/choosing",
        "/docs/advisor",
        "/docs/compare",
        "/docs/models",
        "/docs/keys",
        "/docs/usage",
        "/docs/simple-chat",
        "/docs/speech",
    ),
    *_of("anybody", "/docs/idempotency", "/docs/errors", "/docs/limits", "/docs/charging-policy", "/docs/money"),
    SitePage("/api/docs", without="#explorer"),
    SitePage("/nothing", status=404),
    SitePage("/models/nobody/nothing", status=404),
    *_of("anybody", "/auth/login/", "/auth/signup/", "/auth/password/reset/", "/auth/inactive/"),
    *_of("anybody", "/auth/3rdparty/login/cancelled/"),
    SitePage("/auth/3rdparty/login/error/", status=401),
    SitePage("/auth/login/", then=steps.forge, lands="account_login", then_status=403),
    SitePage("/auth/signup/", then=steps.sign_up_una, lands="account_email_verification_sent"),
    SitePage("/", then=steps.follow_mail_to_una, lands="account_confirm_email"),
    SitePage("/auth/confirm-email/nothing/", status=404),
    SitePage("/auth/email/undo/nothing/", status=404),
    SitePage("/", then=steps.follow_mail_to_zoe, lands="invitations:open"),
    SitePage("/invitations/nothing", status=404),
    SitePage("/auth/password/reset/key/1-nothing/"),
    *_of("anybody", "/advice/letters/{letters}", "/advice/{dismiss}", "/advice/{accept}"),
    SitePage("/advice/{accept}", then=steps.accept_advice, lands="advice:open"),
    SitePage("/advice/{accept}", status=409),
    SitePage("/advice/nothing", status=404),
    *_of("anybody", "/advice/upgrades/{agree}", "/advice/upgrades/{decline}", "/advice/prompts/{samples}"),
    SitePage("/advice/upgrades/{decline}", then=steps.stay_with_the_model, lands="advice:upgrade"),
    SitePage("/advice/upgrades/{agree}", status=409),
    SitePage("/advice/prompts/{samples}", then=steps.keep_prompts, lands="advice:samples"),
    SitePage("/advice/prompts/{samples}", status=409),
    *_of("newcomer", "/dashboard", "/dashboard/usage", "/dashboard/keys"),
    SitePage("/dashboard/keys/new", "newcomer", then=steps.make_the_key, lands="keys:new"),
    *_of("newcomer", "/dashboard", "/dashboard/wallet", "/dashboard/wallet/statement"),
    SitePage("/dashboard/wallet", "newcomer", then=steps.begin_to_pay, lands="paying:test-checkout"),
    SitePage("/dashboard/wallet", "newcomer", then=steps.put_off_paying, lands="paying:order"),
    SitePage("/dashboard/wallet", "newcomer", then=steps.be_declined, lands="paying:order"),
    SitePage("/", "newcomer", then=steps.follow_mail_to_zoe, lands="invitations:open"),
    SitePage("/", "newcomer", then=steps.follow_invitation, lands="invitations:open"),
    SitePage("/", "newcomer", then=steps.accept_invitation, lands="dashboard:overview"),
    SitePage("/dashboard/keys/new", "newcomer", status=403),
    *_of(
        "newcomer",
        "/dashboard/organizations",
        "/playground",
        "/playground/shares",
        "/dashboard/routing",
        "/dashboard/advisor",
    ),
    *_of("newcomer", "/dashboard/voice", "/dashboard/voice/meetings", "/dashboard/voice/webhooks"),
    SitePage("/auth/reauthenticate/?next=/auth/email/", "newcomer", then=steps.change_address, lands="account_email"),
    SitePage("/", "newcomer", then=steps.undo_change, lands="account_undo_email"),
    *_of("owner", "/dashboard", "/dashboard?days=30", "/dashboard/usage", "/dashboard/usage?model=nothing"),
    *_of("owner", "/dashboard/usage/{request}", "/dashboard/keys", "/dashboard/keys/new", "/dashboard/keys/{key}"),
    SitePage("/dashboard/usage/gen-nothing", "owner", status=404),
    SitePage("/dashboard/keys/{key}", "owner", then=steps.rotate, lands="keys:rotate"),
    SitePage("/dashboard/keys/{key}", "owner"),
    SitePage("/dashboard/keys/{key}", "owner", then=steps.revoke, lands="keys:list"),
    SitePage("/dashboard/keys/{key}", "owner"),
    *_of("owner", "/dashboard/wallet", "/dashboard/wallet/statement", "/dashboard/wallet/orders/{order}"),
    *_of("owner", "/dashboard/wallet/receipts/{payment}", "/dashboard/wallet/payments/{payment}/refund"),
    SitePage("/dashboard/wallet/payments/{payment}/refund", "owner", then=steps.refund, lands="paying:receipt"),
    *_of("owner", "/playground", "/playground?models={model},neo-mode&prompt=hello&task=coding", "/playground/shares"),
    SitePage("/playground?models={model},acme/mini", "owner", then=steps.run_and_share, lands="playground:share"),
    *_of("owner", "/playground/shares", "/dashboard/routing", "/dashboard/advisor"),
    SitePage("/dashboard/voice", "owner", expects=("status of 4", "status of 503")),  # nobody to talk with is set up
    *_of("owner", "/dashboard/voice/meetings", "/dashboard/voice/meetings/{meeting}", "/dashboard/voice/webhooks"),
    SitePage("/dashboard/voice/webhooks", "owner", then=steps.make_webhook_secret, lands="voice:secret"),
    SitePage("/dashboard/voice/webhooks", "owner"),
    SitePage("/dashboard/voice/meetings/nothing", "owner", status=404),
    SitePage("/dashboard/routing", "owner", then=steps.pin, lands="dashboard:routing"),
    SitePage("/dashboard/members", "owner"),
    SitePage("/dashboard/members", "owner", then=steps.begin_to_remove, lands="people:remove"),
    *_of("owner", "/dashboard/organizations", "/dashboard/audit", "/dashboard/account", "/dashboard/account/delete"),
    *_of("owner", "/auth/password/change/", "/auth/email/", "/auth/logout/", "/auth/2fa/", "/auth/reauthenticate/"),
    SitePage("/auth/reauthenticate/?next=/auth/2fa/", "owner", then=steps.give_password, lands="mfa_index"),
    SitePage("/auth/3rdparty/", "owner"),
    SitePage("/auth/2fa/totp/activate/", "owner"),
    SitePage("/auth/2fa/totp/activate/", "owner", then=steps.add_app, lands="mfa_view_recovery_codes"),
    *_of("owner", "/auth/2fa/", "/auth/2fa/recovery-codes/generate/", "/auth/2fa/totp/deactivate/"),
    SitePage("/auth/2fa/reauthenticate/", "owner"),
    SitePage("/dashboard/wallet", "customer"),
    SitePage("/dashboard/wallet", "customer", then=steps.begin_to_pay_by_card, lands="paying:checkout"),
    SitePage("/dashboard/usage/{request}", "unlucky", status=500),
    SitePage("/", "returning", then=steps.follow_mail_to_una, lands="account_confirm_email"),
    SitePage("/auth/password/reset/", "returning", then=steps.ask_for_link, lands="account_reset_password_done"),
    SitePage("/", "returning", then=steps.follow_mail_to_alice, lands="account_reset_password_from_key"),
    SitePage("/", "returning", then=steps.set_password, lands="account_reset_password_from_key_done"),
    SitePage("/auth/login/", "returning", then=steps.log_in, lands="mfa_authenticate"),
]

NOT_WALKED = MappingProxyType(
    {
        "robots.txt": "a file",
        "dashboard/usage.csv": "a file",
        "dashboard/voice/meetings/<str:job_id>/audio": "a file",
        "dashboard/wallet/statement.csv": "a file",
        "auth/2fa/recovery-codes/download/": "a file",
        "api/schema": "a file",
        "dashboard/first-request": "a part of the first steps, which htmx asks for",
        "dashboard/wallet/orders": "leads on to the order",
        "dashboard/wallet/portal": "leads away to Stripe",
        "auth/password/set/": "the page that changes a password with another button, for who has none yet",
        "auth/login/code/confirm/": "logging in by a mailed code is off, so it leads to logging in",
        "auth/3rdparty/signup/": "for who comes back from a social login; else it leads to logging in",
        "auth/social/login/cancelled/": "an old address, which leads on",
        "auth/social/login/error/": "an old address, which leads on",
        "auth/social/signup/": "an old address, which leads on",
        "auth/social/connections/": "an old address, which leads on",
    }
)
"""Addresses that answer GET and are no page of ours, or none that can be walked to: with the reason."""

NOT_PAGES = (
    *("operator/", "api/auth", "api/usage", "api/generation", "api/pins", "api/advisor/", "api/feedback", "api/v1/"),
    *("key/", "spend/", "webhooks/", "api/voice/"),
)
"""How addresses begin that are no pages of ours at all: Django's admin, and what answers in JSON."""
