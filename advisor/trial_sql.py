"""What both models of a trial did since its step began, from usage rows and votes, in the dialect of the database.

A trial's calls are found by the index of usage rows on organization and time. Which arm a call belongs to is what was
decided before anybody was asked: by its receipt it was to go to the newer model or not. So a call that the newer model
failed and the pinned one answered is a failure of the newer one. Calls of the trial that could not be sent to it, as
where its breaker was open, are counted apart, as `diverted`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from django.db import connection

from advisor.canary import Arm
from advisor.day_sql import ANSWERED, COUNTS, FIGURES, choice_says, facts
from advisor.models import Upgrade
from billing.cubes import is_postgres
from routing.gateway.forms import CHATS

BAD_VOTE_BELOW = 0.5
TRIALS = "JOIN advisor_upgrade g ON g.organization_id = {rows}.organization_id AND {rows}.created_at >= g.step_at"
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


@dataclass(frozen=True, slots=True)
class Figures:
    """Both arms of one trial at one share; `diverted` calls of the newer model went to the pinned one unasked."""

    old: Arm = NOTHING
    new: Arm = NOTHING
    diverted: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(_sum(self.old, other.old), _sum(self.new, other.new), self.diverted + other.diverted)


def _sum(one: Arm, other: Arm) -> Arm:
    return Arm(*(getattr(one, each.name) + getattr(other, each.name) for each in fields(Arm)))


def running_figures(old: str, new: str) -> Mapping[int, Figures]:
    """By the id of the upgrade, of all trials of this pair: what came in since each one's step began."""
    arms: defaultdict[tuple[int, str], Arm] = defaultdict(Arm)
    with connection.cursor() as cursor:
        cursor.execute(_calls(), [old, new, *CHATS])
        for upgrade_id, arm, calls, failed, retried, cut, timed, log_ms, log_ms_square in cursor.fetchall():
            counts = (int(calls), int(failed), int(retried), int(cut), 0, int(timed))
            arms[upgrade_id, arm] = Arm(*counts, float(log_ms), float(log_ms_square))
        cursor.execute(_votes(), [BAD_VOTE_BELOW, old, new])
        for upgrade_id, arm, disliked in cursor.fetchall():
            arms[upgrade_id, arm] = replace(arms[upgrade_id, arm], disliked=int(disliked))
    return {
        each: Figures(arms[each, "old"], arms[each, "new"], arms[each, "diverted"].calls)
        for each in {upgrade_id for upgrade_id, _ in arms}
    }


def _calls() -> str:
    asked = "COALESCE(d.instead_of, u.model)" if is_postgres() else "COALESCE(u.detail ->> '$.instead_of', u.model)"
    task = "d.task_type" if is_postgres() else "u.detail ->> '$.task_type'"
    trial = choice_says("trial")
    arm = (
        f"CASE WHEN {trial} IS NULL AND {asked} = g.old_model THEN 'old' WHEN {trial} = g.new_model"
        f" THEN CASE WHEN {asked} = g.new_model THEN 'new' ELSE 'diverted' END END"
    )
    rows = facts(
        also=f"g.id AS upgrade_id, {arm} AS arm, {asked} AS asked, ",
        source=TRIALS.format(rows="u"),
        where=f"{RUNNING} AND u.endpoint IN ({', '.join(['%s'] * len(CHATS))}) AND {task} = g.task"
        f" AND {choice_says('pin')} = g.old_model AND {choice_says('rule')} = 'pinned'",
    )
    sums = ", ".join(f"SUM({expression})" for expression in SUMS.values())
    return f"SELECT f.upgrade_id, f.arm, {sums} FROM ({rows}) f WHERE f.arm IS NOT NULL GROUP BY f.upgrade_id, f.arm"


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
        f" {TRIALS.format(rows='f')} WHERE f.score < %s AND f.is_paid AND {RUNNING} AND f.task = g.task"
        f" AND {says.format('pin')} = g.old_model AND {says.format('rule')} = 'pinned') v"
        " WHERE v.arm IS NOT NULL GROUP BY v.upgrade_id, v.arm"
    )
