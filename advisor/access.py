"""The one door from a link of a letter: a token goes in, who may act and on what comes out."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from accounts.access import Viewer, access_viewer
from advisor.errors import LinkBroken, LinkExpired, LinkUsed
from advisor.links import BROKEN, ON_ADVICE, ON_SAMPLES, ON_UPGRADES, STOPS, Act, Link, read_token
from advisor.models import Advice, Upgrade, UsedLink
from advisor.queries import current

USED = "This link was used before. It works once."
EXPIRED = "This link is too old. The next letter has newer figures and new links."
NO_MEMBER = "This link was for a member of an organization who is none any more, so no letters come."


@dataclass(frozen=True, slots=True)
class Opened[Subject]:
    """A link that holds. `viewer` acts with the rights that she has now, in the organization of the letter."""

    link: Link
    viewer: Viewer
    subject: Subject  # what the link is about, of that organization; None where it is about no row


def access_advice(token: str, now: datetime) -> Opened[Advice]:
    """Behind a link to accept or dismiss. Looking changes nothing. Raises `LinkRefused`."""
    link, viewer = _open_unused(token, now, ON_ADVICE)
    advice = Advice.objects.filter(pk=link.row_id, organization_id=viewer.organization_id).first()
    if advice is None:
        raise LinkBroken(BROKEN)
    return Opened(link, viewer, current(advice))


def access_upgrade(token: str, now: datetime) -> Opened[Upgrade]:
    """Behind a link to agree to an upgrade or to decline it; likewise."""
    link, viewer = _open_unused(token, now, ON_UPGRADES)
    upgrade = Upgrade.objects.filter(pk=link.row_id, organization_id=viewer.organization_id).first()
    if upgrade is None:
        raise LinkBroken(BROKEN)
    return Opened(link, viewer, upgrade)


def access_samples(token: str, now: datetime) -> Opened[None]:
    """Behind a link to say whether prompts may be kept; likewise."""
    return Opened(*_open_unused(token, now, ON_SAMPLES), None)


def access_letters(token: str, now: datetime) -> Opened[None]:
    """Behind a link to stop letters or alerts. It works as often as it is followed (RFC 8058). Raises `LinkRefused`."""
    return Opened(*_open(token, now, STOPS), None)


def _open_unused(token: str, now: datetime, acts: Collection[Act]) -> tuple[Link, Viewer]:
    link, viewer = _open(token, now, acts)
    if UsedLink.objects.filter(nonce=link.nonce).exists():
        raise LinkUsed(USED)
    return link, viewer


def _open(token: str, now: datetime, acts: Collection[Act]) -> tuple[Link, Viewer]:
    link = read_token(token)
    if link.act not in acts:
        raise LinkBroken(BROKEN)
    if link.is_over(now):
        raise LinkExpired(EXPIRED)
    viewer = access_viewer(link.user_id, link.organization_id)
    if viewer is None or viewer.organization_id != link.organization_id:
        raise LinkBroken(NO_MEMBER)
    return link, viewer
