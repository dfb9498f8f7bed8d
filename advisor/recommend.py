"""Evidence and landscape -> at most five recommendations. Pure: no clock, no database, no file (docs/advisor.md)."""

from collections.abc import Sequence
from datetime import timedelta

from advisor.advice import PINS, Kind, Recommendation
from advisor.brief import Brief, Said
from advisor.evidence import Evidence, Landscape
from advisor.kinds import health, keys, pins, thrift
from advisor.rules import Rules

DATED = (Kind.ENDING, Kind.FAILING, Kind.CAP_SOON, Kind.SLOW)  # these come first, in this order: they cannot wait
SAVINGS = frozenset({Kind.CHEAPER, Kind.BETTER, Kind.NEW_MODEL})  # one topic: another model for the same work


def recommend(evidence: Evidence, landscape: Landscape, history: Sequence[Said], rules: Rules) -> list[Recommendation]:
    """What to tell the organization this week, the most urgent and valuable first; empty where nothing is worth it."""
    brief = Brief(evidence, landscape, history, rules)
    found = [said for family in (health, pins, thrift, keys) for said in family.advise(brief)]
    found = sorted((said for said in found if not _was_said(brief, said)), key=_rank)
    return _one_pin_a_task(found)[: rules.most_a_week]


def _rank(said: Recommendation) -> tuple[int, float, tuple[str, str, str, str]]:
    urgency = DATED.index(said.kind) if said.kind in DATED else len(DATED)
    return urgency, -said.value_nano, said.identity


def _one_pin_a_task(ranked: Sequence[Recommendation]) -> list[Recommendation]:
    """A task type has one pin: two pieces of advice about it would undo each other."""
    taken: set[str] = set()
    kept = []
    for said in ranked:
        if said.kind in PINS and said.model:
            if said.task in taken:
                continue
            taken.add(said.task)
        kept.append(said)
    return kept


def _was_said(brief: Brief, said: Recommendation) -> bool:
    """Whether the organization heard of this lately, or does not want to."""
    return any(_is_same_topic(said, before) and _holds_back(brief, said, before) for before in brief.history)


def _is_same_topic(said: Recommendation, before: Said) -> bool:
    """About the same thing: whoever does not want another model for a task type does not want a third one either."""
    same_kind = said.kind == before.kind or {said.kind, before.kind} <= SAVINGS
    return same_kind and (said.subject, said.task) == (before.subject, before.task)


def _holds_back(brief: Brief, said: Recommendation, before: Said) -> bool:
    rules, today = brief.rules, brief.landscape.today
    if said.kind == Kind.ENDING and int(said.evidence["days_left"]) < rules.ending_soon_days:
        return before.monday + timedelta(weeks=1) > today  # every week, as it is soon an outage
    is_settled = before.state in {"dismissed", "accepted"}
    weeks = rules.dismissed_weeks if is_settled else rules.pause_weeks
    if before.monday + timedelta(weeks=weeks) > today:
        return True
    if before.state != "dismissed" or said.kind in DATED:  # another illness, another period: another matter
        return False
    return said.saving.mid_nano < max(rules.dismissed_growth * before.saving_nano, 1)
