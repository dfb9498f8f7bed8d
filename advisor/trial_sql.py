"""What both models of a trial did since its step began, from usage rows and votes, in the dialect of the database.

Calls of a trial are read from where they were counted last, so a look costs what came in since, and not the whole trial
again; one bound for all trials lets PostgreSQL go by the index on time and leave out older months. Which arm a call
belongs to is what was decided before anybody was asked: by its receipt it was to go to the newer model or not. So a
call that the newer model failed and the pinned one answered is a failure of the newer one. Calls of the trial that
could not be sent to it, as where its breaker was open, are counted apart, as `diverted`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Min
from django.db.models.functions import Coalesce

from advisor.canary import Arm
from advisor.day_sql import ANSWERED, COUNTS, FIGURES, choice_says, facts
from advisor.models import Upgrade
from billing.cubes import is_postgres, moment
from routing.gateway.forms import CHATS

BAD_VOTE_BELOW = 0.5
TRIALS = "JOIN advisor_upgrade g ON g.organization_id = {rows}.organization_id AND {rows}.created_at >= {since}"
RUNNING = f"g.state = '{Upgrade.State.TRIAL.value}' AND g.old_model = %s AND g.new_model = %s"
TIMED = f"{ANSWERED} AND f.model = f.asked"
SUMS = {
    "calls": "1",
    "failed": f"CASE WHEN f.is_passed_on THEN 1 ELSE {COUNTS['failed']} END",
    "retried": COUNTS["retried"],
    "cut": COUNTS["cut"],
    "timed": f"CASE WHEN {TIMED} THEN 1 ELSE 0 END",
    **{name: f"CASE WHEN {TIMED} THEN {FIGURES[name]} ELSE 0.0 END" for name in ("log_ms", "log_ms_square")},
}
NOTHING = Arm()
COUNTED_TO = Coalesce("counted_to", "step_at")


@dataclass(frozen=True, slots=True)
class Figures:
    """Both arms of one trial at one share; `diverted` calls of the newer model went to the pinned one unasked."""

    old: Arm = NOTHING
    new: Arm = NOTHING
    diverted: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(_sum(self.old, other.old), _sum(self.new, other.new), self.diverted + other.diverted)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Figures":
        """From `kept`, as `told` has it; nothing where that is empty."""
        return cls(Arm(**kept["old"]), Arm(**kept["new"]), kept["diverted"]) if kept else cls()

    def told(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Look:
    """What came in at one trial since it was counted: `settled` calls stay as they are, so they need no second look."""

    settled: Figures = Figures()
    rest: Figures = Figures()  # later calls, some of which are still to be noted; and all votes of the step


def _sum(one: Arm, other: Arm) -> Arm:
    return Arm(*(getattr(one, each.name) + getattr(other, each.name) for each in fields(Arm)))


def look_at(old: str, new: str, settled_before: datetime) -> Mapping[int, Look]:
    """By the id of the upgrade, of all trials of this pair: the calls that came in since each one's were counted.

    No call that came in before `settled_before` is still under way.
    """
    running = Upgrade.objects.filter(state=Upgrade.State.TRIAL, old_model=old, new_model=new)
    since = running.aggregate(since=Min(COUNTED_TO))["since"]
    if since is None:
        return {}
    arms: defaultdict[tuple[int, bool, str], Arm] = defaultdict(Arm)
    with connection.cursor() as cursor:
        cursor.execute(_calls(), [moment(settled_before), moment(since), old, new, *CHATS])
        for upgrade_id, is_settled, arm, calls, failed, retried, cut, timed, log_ms, log_ms_square in cursor.fetchall():
            counts = (int(calls), int(failed), int(retried), int(cut), 0, int(timed))
            arms[upgrade_id, bool(is_settled), arm] = Arm(*counts, float(log_ms), float(log_ms_square))
        cursor.execute(_votes(), [BAD_VOTE_BELOW, old, new])
        for upgrade_id, arm, disliked in cursor.fetchall():
            arms[upgrade_id, False, arm] = replace(arms[upgrade_id, False, arm], disliked=int(disliked))

    def part(*of: Any) -> Figures:
        return Figures(arms[*of, "old"], arms[*of, "new"], arms[*of, "diverted"].calls)

    return {each: Look(part(each, True), part(each, False)) for each in {upgrade_id for upgrade_id, _, _ in arms}}


def _calls() -> str:
    asked = "COALESCE(d.instead_of, u.model)" if is_postgres() else "COALESCE(u.detail ->> '$.instead_of', u.model)"
    task = "d.task_type" if is_postgres() else "u.detail ->> '$.task_type'"
    trial = choice_says("trial")
    arm = (
        f"CASE WHEN {trial} IS NULL AND {asked} = g.old_model THEN 'old' WHEN {trial} = g.new_model"
        f" THEN CASE WHEN {asked} = g.new_model THEN 'new' ELSE 'diverted' END END"
    )
    rows = facts(
        also=f"g.id AS upgrade_id, u.created_at < %s AS is_settled, {arm} AS arm, {asked} AS asked, ",
        source=TRIALS.format(rows="u", since="COALESCE(g.counted_to, g.step_at)"),
        where=f"u.created_at >= %s AND {RUNNING} AND u.endpoint IN ({', '.join(['%s'] * len(CHATS))})"
        f" AND {task} = g.task AND {choice_says('pin')} = g.old_model AND {choice_says('rule')} = 'pinned'",
    )
    sums = ", ".join(f"SUM({expression})" for expression in SUMS.values())
    names = "f.upgrade_id, f.is_settled, f.arm"
    return f"SELECT {names}, {sums} FROM ({rows}) f WHERE f.arm IS NOT NULL GROUP BY {names}"


def _votes() -> str:
    """Bad votes that were given since the step began, by organizations that have paid: others' count nowhere."""
    says = "f.features ->> '{}'" if is_postgres() else "f.features ->> '$.{}'"
    trial = says.format("trial")
    arm = (
        f"CASE WHEN {trial} IS NULL AND f.model = g.old_model THEN 'old'"
        f" WHEN {trial} = g.new_model AND f.model = g.new_model THEN 'new' END"
    )
    return (
        f"SELECT v.upgrade_id, v.arm, COUNT(*) FROM (SELECT g.id AS upgrade_id, {arm} AS arm FROM routing_feedback f"
        f" {TRIALS.format(rows='f', since='g.step_at')} WHERE f.score < %s AND f.is_paid AND {RUNNING}"
        f" AND f.task = g.task AND {says.format('pin')} = g.old_model AND {says.format('rule')} = 'pinned') v"
        " WHERE v.arm IS NOT NULL GROUP BY v.upgrade_id, v.arm"
    )
