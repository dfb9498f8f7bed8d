"""Inviting people and having them join, by the pages."""

from accounts.models import Membership
from tests.komilion.web.people.browser import Browser, new_email, path_of, says
from tests.komilion.web.people.conftest import membership

MEMBERS = "/dashboard/members"


def invite(owner: Browser, guest: Browser, role: str = "developer") -> str:
    """Invite somebody; the path of the link in the mail."""
    page = owner.post(MEMBERS, {"email": guest.email, "role": role})
    assert f"We sent an invitation to {guest.email}" in says(page), says(page)
    return path_of(guest.link())


def add(owner: Browser, role: str = "developer", name: str = "bob") -> Browser:
    """A new member of the owner's organization, logged in and looking at it."""
    guest = Browser(new_email(name))
    path = invite(owner, guest, role)
    guest.join(next=path)
    guest.post(path)
    return guest


def row_of(browser: Browser, owner: Browser) -> Membership:
    """Somebody's membership in the owner's organization."""
    return Membership.objects.get(user__email=browser.email, organization=membership(owner).organization)
