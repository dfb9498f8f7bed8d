"""What the links of letters do, once each: the token is noted in the transaction that acts.

Who acts has the rights that she has at that moment. What is refused was not used.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.access import Right
from accounts.actions.changes import lock_organization
from advisor.access import USED, Opened
from advisor.actions.advice import advisee, do_accept, do_dismiss
from advisor.actions.samples import Member, do_choose_samples
from advisor.actions.upgrades import do_agree, do_decline
from advisor.errors import AdviceClosed, LinkUsed
from advisor.links import Act, Link
from advisor.models import Advice, SampleChoice, Upgrade, UsedLink
from komilion.common.errors import Conflict

CHOSEN = "This was answered already. The advisor's page shows how, and is where to change it."


def do_follow(opened: Opened[Advice], now: datetime) -> Advice:
    """Accept or dismiss advice.

    Raises `Forbidden`, `Suspended`, `LinkUsed` and what the act raises; then nothing has happened.
    """
    opened.viewer.must(Right.KEYS)
    with transaction.atomic():
        _use(opened.link, now)
        act = do_accept if opened.link.act is Act.ACCEPT else do_dismiss
        return act(advisee(opened.viewer), opened.subject.pk, now)


def do_answer_upgrade(opened: Opened[Upgrade], now: datetime) -> Upgrade:
    """Agree to an upgrade or decline it. Raises what `do_follow` does; `AdviceClosed` where nobody is asked."""
    opened.viewer.must(Right.KEYS)
    act = do_agree if opened.link.act is Act.AGREE else do_decline
    try:
        with transaction.atomic():
            _use(opened.link, now)
            return act(advisee(opened.viewer), opened.subject.pk, now)
    except Conflict as error:
        raise AdviceClosed(error.message) from error


def do_answer_samples(opened: Opened[None], now: datetime, *, allowed: bool) -> None:
    """Let prompts be kept, or not; the first answer of the organization holds, later ones are given on its page.

    Raises what `do_follow` does; `AdviceClosed` where somebody has answered.
    """
    viewer = opened.viewer
    viewer.must(Right.KEYS)
    with transaction.atomic():
        _use(opened.link, now)
        lock_organization(viewer.organization_id)
        if reason := why_chosen(viewer.organization_id):
            raise AdviceClosed(reason)
        do_choose_samples(Member(viewer.organization_id, viewer.email), allowed=allowed, now=now)


def why_chosen(organization_id: int) -> str:
    """Why nobody is asked about prompts; empty while somebody can answer."""
    return CHOSEN if SampleChoice.objects.filter(pk=organization_id).exists() else ""


def _use(link: Link, now: datetime) -> None:
    try:
        with transaction.atomic():
            UsedLink.objects.create(nonce=link.nonce, used_at=now, last_day=link.last_day)
    except IntegrityError as error:
        raise LinkUsed(USED) from error
