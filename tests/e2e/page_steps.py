"""How the walk over the pages gets to those that no address leads to; each step begins on an open page."""

import base64
import hashlib
import hmac
import struct
import time

from playwright.sync_api import Page, expect

from tests.e2e import steps
from tests.e2e.server import Installation
from tests.e2e.steps import PASSWORD, link_in_mail

ALICE, NORA, UNA, ZOE = "alice@example.com", "nora@example.com", "una@example.com", "zoe@example.com"
NORA_ELSEWHERE = "nora@example.org"
"""The owner; who is invited and comes; who has not confirmed her address; who is invited and stays away."""


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def _follow_mail(site: Installation, page: Page, address: str) -> None:
    page.goto(site.url + link_in_mail(site, address))


def _enter(page: Page, address: str) -> None:
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(PASSWORD)


# anybody


def forge(site: Installation, page: Page) -> None:
    """A form without its token."""
    _enter(page, UNA)
    page.evaluate("document.querySelector('main [name=csrfmiddlewaretoken]').remove()")
    _press(page, "Log in")
    expect(page.locator("main form input[name=password]")).to_have_count(0)


def sign_up_una(site: Installation, page: Page) -> None:
    """To where one is told of the mail."""
    _enter(page, UNA)
    _press(page, "Create account")


def follow_mail_to_una(site: Installation, page: Page) -> None:
    """To where she confirms her address."""
    _follow_mail(site, page, UNA)


def follow_mail_to_zoe(site: Installation, page: Page) -> None:
    """To an invitation as somebody else sees it."""
    _follow_mail(site, page, ZOE)


# the newcomer


def make_the_key(site: Installation, page: Page) -> None:
    """To the secret, which is shown once."""
    steps.make_key(site, page, cap="1.00")


def begin_to_pay(site: Installation, page: Page) -> None:
    """To the page that plays the payment provider."""
    page.get_by_label("$10", exact=False).first.check()
    _press(page, "Pay with test money")
    page.wait_for_url("**/test-checkout/*")


def put_off_paying(site: Installation, page: Page) -> None:
    """To an order that waits."""
    begin_to_pay(site, page)
    page.get_by_role("link", name="Leave without deciding").click()


def be_declined(site: Installation, page: Page) -> None:
    """To an order that failed."""
    begin_to_pay(site, page)
    _press(page, "Decline")


def follow_invitation(site: Installation, page: Page) -> None:
    """To an invitation of her own."""
    _follow_mail(site, page, NORA)


def accept_invitation(site: Installation, page: Page) -> None:
    """To the organization that she was invited to, as one who only looks."""
    follow_invitation(site, page)
    _press(page, "Accept")


def change_address(site: Installation, page: Page) -> None:
    """To her account while the new address is not confirmed."""
    give_password(site, page)
    page.wait_for_url("**/auth/email/")
    page.locator("main input[name=email]:not([type=hidden])").fill(NORA_ELSEWHERE)
    _press(page, "Change the address")
    expect(page.get_by_text("It changes to")).to_be_visible()


def undo_change(site: Installation, page: Page) -> None:
    """To where the mail to her old address leads when the new one is confirmed."""
    _follow_mail(site, page, NORA_ELSEWHERE)
    _press(page, "Confirm")
    page.wait_for_url("**/dashboard/account")
    _follow_mail(site, page, NORA)


# the owner


def accept_advice(site: Installation, page: Page) -> None:
    """Of the advisor's letter."""
    _press(page, "Accept")
    expect(page.get_by_role("heading", level=1)).to_contain_text("answers from now on")


def stay_with_the_model(site: Installation, page: Page) -> None:
    """That is pinned, as the letter asked about a newer one."""
    _press(page, "Stay with it")
    expect(page.get_by_role("heading", level=1)).to_contain_text("stays pinned")


def keep_prompts(site: Installation, page: Page) -> None:
    """As the first letter asked."""
    _press(page, "Keep typical prompts")
    expect(page.get_by_role("heading", level=1)).to_contain_text("are kept from now on")


def rotate(site: Installation, page: Page) -> None:
    """To the new secret."""
    page.locator("summary", has_text="Rotate").click()
    _press(page, "Make a new secret")


def revoke(site: Installation, page: Page) -> None:
    """To the keys, of which one is revoked."""
    page.locator("summary", has_text="Revoke").click()
    _press(page, "Revoke for good")


def run_and_share(site: Installation, page: Page) -> None:
    """To a run that was made and shared."""
    page.get_by_label("Prompt", exact=True).fill("What is quantum computing?")
    _press(page, "Run")
    page.get_by_role("dialog").get_by_role("button", name="Run").click()
    expect(page.get_by_text("Done. This run cost")).to_be_visible()
    page.get_by_text("Show how two answers differ").click()
    _press(page, "Share")
    page.get_by_role("link", name="/playground/shares/").click()
    expect(page.get_by_role("article").first).to_contain_text("Quantum computing uses")


def pin(site: Installation, page: Page) -> None:
    """To the same page with a pin."""
    page.get_by_label("Task type").select_option("translation")
    _press(page, "Pin")
    expect(page.get_by_role("button", name="Remove the pin of translation")).to_be_visible()


def make_webhook_secret(site: Installation, page: Page) -> None:
    """To the secret, which is shown once."""
    _press(page, "Make the secret")


def refund(site: Installation, page: Page) -> None:
    """To the receipt of what was given back."""
    page.locator("main form button").last.click()


def begin_to_remove(site: Installation, page: Page) -> None:
    """To the question whether."""
    page.get_by_role("link", name=f"Remove {NORA_ELSEWHERE}").click()


def give_password(site: Installation, page: Page) -> None:
    """To what asks for it."""
    page.get_by_label("Password").fill(PASSWORD)
    _press(page, "Go on")


def add_app(site: Installation, page: Page) -> None:
    """To the recovery codes, as the app would."""
    secret = page.locator(".copy .mono").first.inner_text()
    page.locator("main input[name=code]").fill(_code(secret))
    _press(page, "Add the app")


def begin_to_pay_by_card(site: Installation, page: Page) -> None:
    """To what will be paid, and the link to Stripe."""
    page.get_by_label("$10", exact=False).first.check()
    page.locator("form[action$='/top-up'] button").last.click()


# who comes back


def ask_for_link(site: Installation, page: Page) -> None:
    """To where one is told of the mail."""
    page.get_by_label("Email").fill(ALICE)
    _press(page, "Send the link")


def follow_mail_to_alice(site: Installation, page: Page) -> None:
    """To the form for a new password."""
    _follow_mail(site, page, ALICE)


def set_password(site: Installation, page: Page) -> None:
    """To where it is set; it stays the same."""
    follow_mail_to_alice(site, page)
    for field in page.locator("main input[type=password]").all():
        field.fill(PASSWORD)
    _press(page, "Set the password")


def log_in(site: Installation, page: Page) -> None:
    """To where the second factor is asked for."""
    _enter(page, ALICE)
    _press(page, "Log in")


def _code(secret: str) -> str:
    """What an authenticator app shows now (RFC 6238)."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), hashlib.sha1)
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF) % 1_000_000:06d}"
