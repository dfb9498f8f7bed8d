"""Making digests: what was found for an organization in a week, its advice, and a letter for each member.

All of it is one transaction, and the first to insert the digest makes it: whatever crashes or runs twice, there is one.
"""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec
from django.db import IntegrityError, transaction

from accounts.models import Membership
from advisor.advice import Recommendation
from advisor.figures import Figures
from advisor.message_ids import message_id
from advisor.models import Advice, ClosedAddress, Digest, Letter, MailWishes
from advisor.news import are_news, upgrades_told
from advisor.weeks import monday_of


def do_make_digest(
    organization_id: int, week: str, recommendations: Sequence[Recommendation], figures: Figures, now: datetime
) -> Digest | None:
    """Keep what was found, the best advice first, and have a letter written to each member; None where it was made.

    Without advice and news of upgrades it is silent: it is kept, so that nobody looks again, and no letter goes out.
    Advice of earlier weeks that is said again, or that has expired, is over.
    """
    is_silent = not recommendations and not are_news(upgrades_told(organization_id, week, now))
    with transaction.atomic():
        try:
            with transaction.atomic():
                digest = Digest.objects.create(
                    organization_id=organization_id,
                    week=week,
                    is_silent=is_silent,
                    figures=msgspec.to_builtins(figures),
                    created_at=now,
                )
        except IntegrityError:  # of another worker's, or of an organization that is no more
            return None
        end_older(organization_id, recommendations, now)
        Advice.objects.bulk_create(
            advice_row(organization_id, week, rank, said, now) for rank, said in enumerate(recommendations, start=1)
        )
        if not digest.is_silent:
            Letter.objects.bulk_create(_letters(digest))
    return digest


def end_older(organization_id: int, recommendations: Sequence[Recommendation], now: datetime) -> None:
    """Open advice that is said again now, or that has expired, is over."""
    said = {each.identity for each in recommendations}
    rows = Advice.objects.filter(organization_id=organization_id, state=Advice.State.OPEN)
    over = [
        row.pk for row in rows if row.expires_on < now.date() or (row.kind, row.subject, row.task, row.model) in said
    ]
    rows.filter(pk__in=over).update(state=Advice.State.OVER, state_at=now)


def advice_row(organization_id: int, week: str, rank: int, said: Recommendation, now: datetime) -> Advice:
    """A recommendation as it is kept; not saved yet."""
    return Advice(
        organization_id=organization_id,
        week=week,
        rank=rank,
        kind=said.kind.value,
        subject=said.subject,
        task=said.task,
        model=said.model,
        saving_low_nano=said.saving.low_nano,
        saving_mid_nano=said.saving.mid_nano,
        saving_high_nano=said.saving.high_nano,
        confidence=said.confidence,
        evidence={**said.evidence, **({"moved": msgspec.to_builtins(said.moved)} if said.moved else {})},
        risks=list(said.risks),
        expires_on=said.expires_on or _end_of(week),
        state_at=now,
        created_at=now,
    )


def _end_of(week: str) -> date:
    """What does not say how long it holds holds until the digest after the next."""
    return date.fromordinal(monday_of(week).toordinal() + 13)


def _letters(digest: Digest) -> list[Letter]:
    """One for each member, in the order in which they joined; it waits unless she wants none of it."""
    rows, closed = members_of(digest.organization_id)
    often = dict(MailWishes.objects.filter(membership__in=rows).values_list("membership_id", "often"))
    had = _had_one_this_month(digest)
    left_out = {
        row.user_id
        for row in rows
        if row.user_id in closed
        or often.get(row.pk) == MailWishes.Often.OFF
        or (often.get(row.pk) == MailWishes.Often.MONTHLY and row.user_id in had)
    }
    return [
        Letter(
            digest=digest,
            user_id=row.user_id,
            message_id=message_id(digest.organization_id, row.pk, digest.week),
            state=Letter.State.LEFT_OUT if row.user_id in left_out else Letter.State.WAITING,
        )
        for row in rows
    ]


def members_of(organization_id: int) -> tuple[list[Membership], set[int]]:
    """Those who may get letters, in the order in which they joined; and the users of them whose address is closed."""
    members = Membership.objects.filter(organization_id=organization_id, user__is_active=True)
    rows = list(members.select_related("user").order_by("pk"))
    addresses = [row.user.email.lower() for row in rows]
    closed = set(ClosedAddress.objects.filter(address__in=addresses).values_list("address", flat=True))
    return rows, {row.user_id for row in rows if row.user.email.lower() in closed}


def _had_one_this_month(digest: Digest) -> set[int]:
    """Members with a letter of a digest whose Monday is in the same month: what comes monthly is the first of them."""
    monday = monday_of(digest.week)
    earlier = Digest.objects.filter(organization_id=digest.organization_id, week__lt=digest.week)
    weeks = [week for week in earlier.order_by("-week").values_list("week", flat=True)[:5] if _same(monday, week)]
    letters = Letter.objects.filter(digest__organization_id=digest.organization_id, digest__week__in=weeks)
    came = letters.exclude(state__in=[Letter.State.LEFT_OUT, Letter.State.FAILED])
    return set(came.values_list("user_id", flat=True))


def _same(monday: date, week: str) -> bool:
    other = monday_of(week)
    return (other.year, other.month) == (monday.year, monday.month)
