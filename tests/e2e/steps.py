"""What a person does in a browser before it gets interesting: sign up, pay, make a key."""

import email
import email.policy
import json
import re

from playwright.sync_api import Page, expect

from tests.e2e.browser import Person
from tests.e2e.server import Installation
from tests.waiting import wait_until

MEETING = "job_of_the_pages"
PASSWORD = "seven quiet herons at noon"


def link_in_mail(site: Installation, address: str) -> str:
    """The path of the first link in the newest mail to this address."""
    folder = site.folder / "data" / "mail"
    wait_until(lambda: any(folder.glob(f"*{address}.eml")), 10, f"a mail to {address}")
    newest = max(folder.glob(f"*{address}.eml"))
    message = email.message_from_bytes(newest.read_bytes(), policy=email.policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    found = re.search(rf"{re.escape(site.url)}(/\S+)", body.get_content())
    assert found, body.get_content()
    return found[1]


def sign_up(site: Installation, person: Person, address: str) -> Page:
    """From the landing page to the dashboard."""
    page = person.visit("/").page
    page.get_by_role("link", name="Get a key").first.click()
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Confirm"))
    page.goto(site.url + link_in_mail(site, address))
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url("**/dashboard**")
    return page


def ask(site: Installation, code: str) -> str:
    """What the code calls `told`, run inside the installation."""
    place = site.folder / "told"
    write = f"from pathlib import Path\nPath({str(place)!r}).write_text(told)"
    site.manage("shell", "--no-imports", "-c", f"{code}\n{write}")
    return place.read_text()


def key_of(site: Installation, address: str) -> str:
    """A new key of somebody who signed up."""
    code = f"""
from accounts.models import Membership
from tests.people import Person
row = Membership.objects.get(user__email={address!r})
told = Person({address!r}, row.organization_id, row.pk, None).key("mine").secret
"""
    return ask(site, code)


def owner(site: Installation, address: str, credit: str = "10.00", tier: str = "standard") -> list[dict[str, str]]:
    """The cookies of somebody who signed up, has so much credit in US dollars, and is logged in."""
    site.tenant(address, credit, tier)
    place = site.folder / "session"
    code = f"""
from pathlib import Path
from django.conf import settings
from accounts.models import User
from tests.people import browser_of
browser = browser_of(User.objects.get(email={address!r}))
Path({str(place)!r}).write_text(browser.cookies[settings.SESSION_COOKIE_NAME].value)
"""
    site.manage("shell", "--no-imports", "-c", code)
    return [{"name": "komilion", "value": place.read_text(), "url": site.url}]


def top_up(site: Installation, page: Page) -> None:
    """Ten dollars of test money."""
    page.goto(f"{site.url}/dashboard/wallet")
    page.get_by_label("$10", exact=False).first.check()
    page.get_by_role("button", name="Pay with test money").click()
    expect(
        page.get_by_role("heading", name="No real money").or_(page.get_by_text("No real money")).first
    ).to_be_visible()
    page.get_by_role("button", name="Pay with test money").click()
    expect(page.get_by_text("The credit is in the wallet.")).to_be_visible()


def make_key(site: Installation, page: Page, *, cap: str, name: str = "the first one") -> str:
    """A key with a cap; its secret, as the page shows it."""
    page.goto(f"{site.url}/dashboard/keys/new")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Most ever").fill(cap)
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator(".copy .mono").first.inner_text()
    assert secret.startswith("ck_")
    return secret


def invite(site: Installation, page: Page, address: str, role: str) -> None:
    """Somebody may join."""
    page.goto(f"{site.url}/dashboard/members")
    page.get_by_label("E-mail address").fill(address)
    page.locator("form", has=page.get_by_label("E-mail address")).get_by_label("Role").select_option(role)
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_role("rowheader", name=address)).to_be_visible()


def make_meeting(site: Installation, address: str) -> None:
    """A meeting of hers that was transcribed, with the id `MEETING`, and a message to a webhook about it."""
    code = f"""
from accounts.models import Membership
from tests.komilion.web.voice.meetings import new_meeting, new_message
from tests.people import Person
member = Membership.objects.get(user__email={address!r})
person = Person({address!r}, member.organization_id, member.pk, None)
new_message(person, new_meeting(person, id={MEETING!r}), state="failed")
"""
    site.manage("shell", "--no-imports", "-c", code)


def make_letter(site: Installation, address: str) -> dict[str, str]:
    """The advisor wrote to her: the tokens of the letter's links, by what they do."""
    place = site.folder / "tokens.json"
    code = f"""
import json
from pathlib import Path
from accounts.models import Membership
from tests.advisor.letters.delivering import tokens_for
from tests.people import Person
member = Membership.objects.get(user__email={address!r})
person = Person({address!r}, member.organization_id, member.pk, None)
Path({str(place)!r}).write_text(json.dumps(tokens_for(person)))
"""
    site.manage("shell", "--no-imports", "-c", code)
    return dict(json.loads(place.read_text()))


def end_meeting(site: Installation) -> None:
    """The newest meeting is transcribed."""
    site.manage("shell", "--no-imports", "-c", "import tests.komilion.web.voice.meetings as m; m.end_meeting()")
