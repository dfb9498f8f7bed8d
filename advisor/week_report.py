"""The digest of digests: one week over all organizations, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Count, F, Q, Sum

from advisor.models import Advice, Digest, Effect, Letter
from advisor.weeks import WEEK, monday_of

FAILURES_MOST = 5  # reasons of a week, the commonest first


@dataclass(frozen=True, slots=True)
class KindLine:
    """Advice of one kind."""

    kind: str
    said: int
    accepted: int
    dismissed: int
    promised_nano: int  # a month, of what was accepted


@dataclass(frozen=True, slots=True)
class WeekReport:
    """What was looked at, said, sent and brought in one week."""

    week: str
    looked_at: int
    silent: int
    letters: Sequence[tuple[str, int]]  # digests and alerts: state, how many
    failures: Sequence[tuple[str, int]]  # what the mail server said, how often
    kinds: Sequence[KindLine]
    measured: int  # accepted advice whose effect of this week is known
    saved_nano: int  # by it, in this week


def report_of(week: str) -> WeekReport:
    """Five queries."""
    digests = Digest.objects.filter(week=week).aggregate(
        looked_at=Count("pk"), silent=Count("pk", filter=Q(is_silent=True))
    )
    begins = datetime.combine(monday_of(week), time(), UTC)
    of_week = Q(digest__week=week) | Q(alert__created_at__gte=begins, alert__created_at__lt=begins + WEEK)
    letters = Letter.objects.filter(of_week).order_by()
    failed = letters.exclude(error="").values_list("error").annotate(number=Count("pk")).order_by("-number", "error")
    effects = Effect.objects.filter(week=week).aggregate(
        measured=Count("without_nano"), saved=Sum(F("without_nano") - F("actual_nano"), default=0)
    )
    return WeekReport(
        week=week,
        looked_at=digests["looked_at"],
        silent=digests["silent"],
        letters=list(letters.values_list("state").annotate(Count("pk")).order_by("state")),
        failures=list(failed[:FAILURES_MOST]),
        kinds=_kinds(week),
        measured=effects["measured"],
        saved_nano=effects["saved"],
    )


def _kinds(week: str) -> list[KindLine]:
    accepted = Q(state=Advice.State.ACCEPTED)
    rows: Any = Advice.objects.filter(week=week).order_by().values_list("kind")
    counted = rows.annotate(
        said=Count("pk"),
        accepted=Count("pk", filter=accepted),
        dismissed=Count("pk", filter=Q(state=Advice.State.DISMISSED)),
        promised=Sum("saving_mid_nano", filter=accepted, default=0),
    )
    return [KindLine(*row) for row in counted.order_by("kind")]
