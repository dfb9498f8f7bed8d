"""Reads of the advisor; those of one tenant take the organization of who asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, F, Q, QuerySet, Sum

from accounts.models import Membership, Organization
from advisor.advice import PINS
from advisor.collect import organizations_at_work
from advisor.models import (
    Advice,
    ClosedAddress,
    DayEvidence,
    Digest,
    EvidenceDay,
    Letter,
    MailWishes,
    PromptSample,
    SampleChoice,
    Upgrade,
)
from advisor.weeks import last_day_told_of, monday_of, week_of

ADVICE_MOST = 200  # that a list has; five a week are most of a year
UPGRADES_MOST = 100  # that a list has
UPGRADES_LISTED_FOR = timedelta(days=60)  # after they ended
WEEKS_REMEMBERED = 53  # of advice: what was dismissed longer ago may be said again


def is_ready(week: str) -> bool:
    """Whether the evidence reaches up to the last day that the digests of this week tell of."""
    return EvidenceDay.objects.filter(day=last_day_told_of(week)).exists()


def organizations_without(week: str) -> list[int]:
    """Organizations with calls in the window that have no digest of this week yet, the oldest first.

    Nobody looks at one that is suspended, and who has not called for weeks is left in peace.
    """
    made = Digest.objects.filter(week=week).values("organization_id")
    at_work = organizations_at_work(last_day_told_of(week))
    rows = Organization.objects.filter(suspended_at__isnull=True).exclude(pk__in=made)
    active = set(rows.values_list("pk", flat=True))
    return [organization_id for organization_id in at_work if organization_id in active]


def has_digest(organization_id: int, week: str) -> bool:
    """Whether it was made."""
    return Digest.objects.filter(organization_id=organization_id, week=week).exists()


def daily_spend(organization_id: int, through: date, days: int) -> list[int]:
    """What its calls were charged on each of these UTC days, in nano-USD with the fee, the oldest first."""
    first = through - timedelta(days=days - 1)
    rows = DayEvidence.objects.filter(organization_id=organization_id, day__range=(first, through))
    found = dict(rows.values_list("day").annotate(Sum("charge_nano")).order_by())
    return [found.get(first + timedelta(days=number), 0) for number in range(days)]


def earlier_advice(organization_id: int, week: str) -> Sequence[Advice]:
    """What the organization was told before the digest of this week, as far back as it says something about now."""
    first = week_of(monday_of(week) - timedelta(weeks=WEEKS_REMEMBERED))
    rows = Advice.objects.filter(organization_id=organization_id, week__gte=first)
    return list(rows.filter(Q(week__lt=week) | Q(week=week, alert__isnull=False)).order_by("pk"))


def open_advice(organization_id: int, now: datetime) -> QuerySet[Advice]:
    """What can still be answered."""
    rows = Advice.objects.filter(organization_id=organization_id, state=Advice.State.OPEN)
    return rows.filter(expires_on__gte=now.date())


def advice_of(organization_id: int, state: str, now: datetime) -> list[Advice]:
    """The newest week first, in it the most valuable first; `over` are those too whose time has passed unanswered."""
    rows = Advice.objects.filter(organization_id=organization_id)
    if state == Advice.State.OPEN:
        rows = open_advice(organization_id, now)
    elif state == Advice.State.OVER:
        late = Q(state=Advice.State.OPEN, expires_on__lt=now.date())
        rows = rows.filter(late | Q(state=Advice.State.OVER))
    else:
        rows = rows.filter(state=state)
    return list(rows.order_by("-week", "rank")[:ADVICE_MOST])


def one_advice(organization_id: int, advice_id: int) -> Advice | None:
    """By its id, whatever became of it."""
    return Advice.objects.filter(organization_id=organization_id, pk=advice_id).first()


def current(advice: Advice) -> Advice:
    """What stands for it now: it itself, or where it was said again meanwhile, and is open, that."""
    if advice.state != Advice.State.OVER:
        return advice
    rows = Advice.objects.filter(organization_id=advice.organization_id, state=Advice.State.OPEN)
    same = rows.filter(kind=advice.kind, subject=advice.subject, task=advice.task, model=advice.model)
    return same.order_by("pk").last() or advice


def advice_for(organization_id: int, task: str, model: str) -> Advice | None:
    """The newest that recommends this model for this task type: one that is open, else one that was answered."""
    rows = Advice.objects.filter(organization_id=organization_id, task=task, model=model, kind__in=PINS).order_by("pk")
    return rows.filter(state=Advice.State.OPEN).last() or rows.last()


def upgrades_of(organization_id: int, now: datetime, most: int = UPGRADES_MOST) -> list[Upgrade]:
    """Those under way first, then the ones that ended of late, the last first."""
    listed = Q(ended_at__isnull=True) | Q(ended_at__gte=now - UPGRADES_LISTED_FOR)
    rows = Upgrade.objects.filter(listed, organization_id=organization_id)
    return list(rows.order_by(F("ended_at").desc(nulls_first=True), "task")[:most])


def one_upgrade(organization_id: int, upgrade_id: int) -> Upgrade | None:
    """By its id, whatever became of it."""
    return Upgrade.objects.filter(organization_id=organization_id, pk=upgrade_id).first()


@dataclass(frozen=True, slots=True)
class Wishes:
    """How often a person hears about one of her organizations."""

    organization_id: int
    organization: str
    membership_id: int
    often: str
    wants_alerts: bool
    is_closed: bool  # her address takes none, whatever she wishes


def wishes_of(user_id: int) -> Sequence[Wishes]:
    """For each of her organizations, the oldest first."""
    members = list(Membership.objects.filter(user_id=user_id).select_related("organization", "user").order_by("pk"))
    chosen = {row.membership_id: row for row in MailWishes.objects.filter(membership__in=members)}
    closed = ClosedAddress.objects.filter(address__in=[row.user.email.lower() for row in members]).exists()
    return [_wishes(row, chosen.get(row.pk) or MailWishes(membership=row), is_closed=closed) for row in members]


def often_of(membership_id: int) -> str:
    """How often a member hears of one organization."""
    row = MailWishes.objects.filter(membership_id=membership_id).first()
    return MailWishes.Often.WEEKLY if row is None else row.often


def _wishes(row: Membership, chosen: MailWishes, *, is_closed: bool) -> Wishes:
    return Wishes(row.organization_id, row.organization.name, row.pk, chosen.often, chosen.wants_alerts, is_closed)


def letters_by_state(week: str) -> dict[str, int]:
    """How many letters of a week are in each state that any is in."""
    rows = Letter.objects.filter(digest__week=week).values_list("state")
    return dict(rows.annotate(Count("pk")).order_by("state"))


def digests_of(week: str) -> tuple[int, int]:
    """How many digests a week has, and how many of them are silent."""
    rows = Digest.objects.filter(week=week)
    return rows.count(), rows.filter(is_silent=True).count()


def letters_of(organization_id: int, week: str) -> Sequence[Letter]:
    """The letters of one digest with what they are made of, in the order in which they were written."""
    rows = Letter.objects.filter(digest__organization_id=organization_id, digest__week=week)
    return list(rows.select_related("digest__organization", "user").order_by("pk"))


def is_first_letter(digest: Digest) -> bool:
    """Whether nobody of the organization was written to on a Monday before."""
    earlier = Digest.objects.filter(organization_id=digest.organization_id, week__lt=digest.week, is_silent=False)
    return not earlier.exists()


def allows_samples(organization_id: int) -> bool | None:
    """Whether its prompts may be kept; None where nobody has answered."""
    return SampleChoice.objects.filter(pk=organization_id).values_list("is_allowed", flat=True).first()


def newest_sample(organization_id: int, task: str) -> str:
    """The prompt of this task type that was kept last; empty where none is."""
    rows = PromptSample.objects.filter(organization_id=organization_id, task=task).order_by("-created_at", "-pk")
    return rows.values_list("text", flat=True).first() or ""


def organizations_that_allow_samples() -> frozenset[int]:
    """Ids of those whose prompts may be kept."""
    return frozenset(SampleChoice.objects.filter(is_allowed=True).values_list("pk", flat=True))
