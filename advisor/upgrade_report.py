"""An upgrade of a pin as people read it: its figures, its evaluation cases, and what comes next, in words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisor.canary import STEPS
from advisor.models import Upgrade
from advisor.words import task_words
from komilion.common.money import format_percent

State = Upgrade.State
MS_PER_S = 1_000

WORDS: Mapping[str, Any] = {
    State.ASKED: gettext_lazy("waits for your answer"),
    State.JUDGED: gettext_lazy("answers evaluation cases"),
    State.TRIAL: gettext_lazy("on trial"),
    State.DONE: gettext_lazy("moved"),
    State.ROLLED_BACK: gettext_lazy("rolled back"),
    State.REFUSED: gettext_lazy("refused"),
}

NEXT: Mapping[str, Any] = {
    State.ASKED: gettext_lazy(
        "It waits for your answer. If you agree, %(new)s first answers your evaluation cases for %(task)s, if there "
        "are any, then %(first)s %% of the requests, and more only while nothing gets worse. If not, %(old)s stays, "
        "and you are not asked about %(new)s again."
    ),
    State.JUDGED: gettext_lazy(
        "Both models answer your evaluation cases for %(task)s. If %(new)s passes all that %(old)s passes, it gets "
        "%(first)s %% of the requests; else %(old)s stays."
    ),
    State.TRIAL: gettext_lazy(
        "%(new)s answers %(share)s %% of the requests. While nothing gets worse, %(next)s %% follow; else %(old)s has "
        "all of them again at once."
    ),
    State.DONE: gettext_lazy("%(new)s took the place of %(old)s."),
}
STAYED = gettext_lazy("%(old)s stayed.")
POLICY = gettext_lazy("The policy chooses for %(task)s again.")
ANSWERED: Mapping[str, Any] = {
    State.JUDGED: gettext_lazy(
        "Both models answer your evaluation cases for %(task)s first, within a day at the latest; then %(new)s gets "
        "%(first)s %% of the requests, unless it fails what %(old)s passes."
    ),
    State.TRIAL: gettext_lazy(
        "%(new)s answers %(first)s %% of the requests for %(task)s from now on, and more while nothing gets worse."
    ),
    State.REFUSED: gettext_lazy("%(old)s stays for %(task)s. You are not asked about %(new)s again."),
    State.ROLLED_BACK: gettext_lazy("The pin for %(task)s was changed meanwhile, so nothing begins."),
}


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What one model did at one share."""

    model: str
    calls: int
    failed: int
    retried: int
    cut: int
    disliked: int
    typical_s: float | None  # the geometric mean of how long its answers took; None without any


@dataclass(frozen=True, slots=True)
class Step:
    """Both models at one share of the pin's requests, as the organization's own calls show them."""

    share_basis_points: int
    old: ArmFigures
    new: ArmFigures
    diverted: int  # requests of the newer model's share that could not be sent to it

    @property
    def percent(self) -> str:
        """Its share."""
        return format_percent(self.share_basis_points)

    @property
    def arms(self) -> Sequence[ArmFigures]:
        """The pinned model first."""
        return self.old, self.new


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One evaluation case at both models; `why` says what was missing where one of them does not pass."""

    name: str
    old_passes: bool
    new_passes: bool
    why: str
    charge_nano: int


@dataclass(frozen=True, slots=True)
class Told:
    """An upgrade with all that is known of it."""

    upgrade: Upgrade
    state: str  # in words
    next: str  # what comes now, or what came of it, in a sentence
    judge_says: str  # how far the trial is; empty without one
    steps: Sequence[Step]  # those that are over, then the one that runs
    cases: Sequence[CaseResult]

    @property
    def can_be_answered(self) -> bool:
        """Whether somebody is asked."""
        return self.upgrade.state == State.ASKED

    @property
    def cases_charge_nano(self) -> int:
        """What the organization paid for the answers to its cases."""
        return sum(case.charge_nano for case in self.cases)


def told(upgrade: Upgrade) -> Told:
    """What to say of it, in the language that is active."""
    report = upgrade.report
    return Told(
        upgrade=upgrade,
        state=str(WORDS[upgrade.state]),
        next=_next(upgrade),
        judge_says=report.get("said", "") if upgrade.state == State.TRIAL else "",
        steps=list(_steps(upgrade)),
        cases=[
            CaseResult(row["case"], row["old"], row["new"], row["why"], row["charge_nano"])
            for row in report.get("cases", ())
        ],
    )


def after_answer(upgrade: Upgrade) -> str:
    """What becomes of an upgrade that somebody has just agreed to, or declined."""
    return str(ANSWERED[upgrade.state]) % _names(upgrade)


def why_answered(upgrade: Upgrade) -> str:
    """Why nobody can agree to it or decline it any more; empty while somebody is asked."""
    if upgrade.state == State.ASKED:
        return ""
    state = WORDS[upgrade.state]
    return _("Nobody is asked about the upgrade to %(new)s any more: %(state)s.") % {**_names(upgrade), "state": state}


def _next(upgrade: Upgrade) -> str:
    if upgrade.state in NEXT:
        return str(NEXT[upgrade.state]) % _names(upgrade)
    return str(STAYED if upgrade.new_model else POLICY) % _names(upgrade)


def _names(upgrade: Upgrade) -> Mapping[str, object]:
    later = (share for share in STEPS if share > upgrade.share_basis_points)
    return {
        "old": upgrade.old_model,
        "new": upgrade.new_model,
        "task": task_words(upgrade.task),
        "first": format_percent(STEPS[0]),
        "share": format_percent(upgrade.share_basis_points),
        "next": format_percent(next(later, STEPS[-1])),
    }


def _steps(upgrade: Upgrade) -> Iterator[Step]:
    running = upgrade.report.get("now")
    for row in (*upgrade.report.get("steps", ()), *([running] if running and upgrade.ended_at is None else ())):
        old, new = _arm(upgrade.old_model, row["old"]), _arm(upgrade.new_model, row["new"])
        yield Step(row["share"], old, new, row["diverted"])


def _arm(model: str, row: Mapping[str, Any]) -> ArmFigures:
    counts = {name: row[name] for name in ("calls", "failed", "retried", "cut", "disliked")}
    timed = row["timed"]
    return ArmFigures(model, **counts, typical_s=exp(row["log_ms"] / timed) / MS_PER_S if timed else None)
