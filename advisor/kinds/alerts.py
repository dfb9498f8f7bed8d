"""What could take the place of a model that is in trouble now, for each task type that it is used for most."""

from dataclasses import replace
from datetime import timedelta
from math import log

from advisor.advice import Kind, Recommendation
from advisor.alarms import Alarm
from advisor.brief import Brief, Work
from advisor.kinds import health

FOR_DAYS = 7  # a model that fails may be well again by then
ANSWERED = frozenset({"accepted", "dismissed"})
ANSWER_HOLDS = timedelta(weeks=1)  # from the Monday of the week in which it was said: then there is news


def advise(brief: Brief, alarm: Alarm) -> list[Recommendation]:
    """The dearest work first; only such as another model can do that keeps the promise."""
    works = [work for work in brief.works if work.model == alarm.model and not _was_answered(brief, work, alarm)]
    found = (_instead(brief, work, alarm) for work in works)
    return [said for said in found if said is not None and said.model][: brief.rules.alert_tasks]


def was_answered(brief: Brief, alarm: Alarm) -> bool:
    """Whether somebody has answered of late, for all the work that it is about, what would be said."""
    works = [work for work in brief.works if work.model == alarm.model]
    return bool(works) and all(_was_answered(brief, work, alarm) for work in works)


def _was_answered(brief: Brief, work: Work, alarm: Alarm) -> bool:
    about = (alarm.kind, alarm.model, work.task)
    return any(
        (said.kind, said.subject, said.task) == about
        and said.state in ANSWERED
        and said.monday + ANSWER_HOLDS > brief.landscape.today
        for said in brief.history
    )


def _instead(brief: Brief, work: Work, alarm: Alarm) -> Recommendation | None:
    if alarm.kind == Kind.ENDING:
        return health.ending(brief, work)
    limit = float(alarm.figures["log_ms"]) - log(brief.rules.slower_ratio) if alarm.kind == Kind.SLOW else None
    option = health.alternative(brief, work, limit)
    expires_on = brief.landscape.today + timedelta(days=FOR_DAYS)
    return health.warning(brief, work, alarm.kind, option, (alarm.confidence, {}, expires_on))


def without(brief: Brief, ill: frozenset[str], model: str) -> Brief:
    """The same without the other models that are in trouble: none of them is recommended."""
    models = {id_: known for id_, known in brief.landscape.models.items() if id_ == model or id_ not in ill}
    return replace(brief, landscape=replace(brief.landscape, models=models), able={}, best_lows={})
