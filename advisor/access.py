"""The one door from a link of a letter: a token goes in, who may act and on what comes out."""

from dataclasses import dataclass
from datetime import datetime

from accounts.access import Viewer, access_viewer
from advisor.errors import LinkBroken, LinkExpired, LinkUsed
from advisor.links import BROKEN, STOPS, Link, read_token
from advisor.models import Advice, UsedLink

USED = "This link was used before. It works once."
EXPIRED = "This link is too old. The next letter has newer figures and new links."
NO_MEMBER = "This link was for a member of an organization who is none any more, so no letters come."


@dataclass(frozen=True, slots=True)
class Opened:
    """A link that holds. `viewer` acts with the rights that she has now, in the organization of the letter."""

    link: Link
    viewer: Viewer
    advice: Advice | None  # None for a link about letters


def access_advice(token: str, now: datetime) -> Opened:
    """Behind a link to accept or dismiss. Looking changes nothing. Raises `LinkRefused`."""
    opened = _open(token, now)
    if opened.advice is None:
        raise LinkBroken(BROKEN)
    if UsedLink.objects.filter(nonce=opened.link.nonce).exists():
        raise LinkUsed(USED)
    return opened


def access_letters(token: str, now: datetime) -> Opened:
    """Behind a link to stop letters or alerts. It works as often as it is followed (RFC 8058). Raises `LinkRefused`."""
    opened = _open(token, now)
    if opened.link.act not in STOPS:
        raise LinkBroken(BROKEN)
    return opened


def _open(token: str, now: datetime) -> Opened:
    link = read_token(token)
    if link.is_over(now):
        raise LinkExpired(EXPIRED)
    viewer = access_viewer(link.user_id, link.organization_id)
    if viewer is None or viewer.organization_id != link.organization_id:
        raise LinkBroken(NO_MEMBER)
    if link.act in STOPS:
        return Opened(link, viewer, None)
    advice = Advice.objects.filter(pk=link.advice_id, organization_id=link.organization_id).first()
    if advice is None:
        raise LinkBroken(BROKEN)
    return Opened(link, viewer, advice)
