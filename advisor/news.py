"""What a digest tells of the upgrades of pins: which of them belong to its week, and what it says of each.

An upgrade is told of twice at most: in the letter after the week in which it began, and in the one after the week in
which it ended. What a member ended, by an answer or by changing the pin, is no news; what was overtaken is told by the
move that overtook it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext_lazy, ngettext

from advisor.actions.upgrades import DECLINED, OVERTAKEN, PIN
from advisor.canary import STEPS
from advisor.models import Upgrade
from advisor.weeks import WEEK, monday_of
from advisor.words import task_words

UPGRADES_MOST = 20  # in one letter
CASES_MOST = 40  # rows in one letter, over all its tables: mail programs cut what is longer than 100 kB
State = Upgrade.State
NO_NEWS_ALONE = frozenset({State.JUDGED, State.TRIAL})
"""On its way by itself: told where a letter goes out anyway, and when it ends."""
NO_NEWS_AT_ALL = frozenset({PIN, DECLINED, OVERTAKEN})
ORDER = (State.ASKED, State.ROLLED_BACK, State.REFUSED, State.DONE, State.TRIAL, State.JUDGED)

TITLES: Mapping[str, Any] = {
    State.ASKED: gettext_lazy("Try %(new)s for %(task)s?"),
    State.JUDGED: gettext_lazy("Before a trial for %(task)s: %(new)s"),
    State.TRIAL: gettext_lazy("On trial for %(task)s: %(new)s"),
    State.DONE: gettext_lazy("%(new)s answers %(task)s now"),
    State.ROLLED_BACK: gettext_lazy("%(old)s stays for %(task)s: the trial of %(new)s is over"),
    State.REFUSED: gettext_lazy("%(old)s stays for %(task)s: %(new)s is not tried"),
}
TEXTS: Mapping[str, Any] = {
    State.ASKED: gettext_lazy(
        "It follows %(old)s, which is pinned. It can do as much and costs no more than the pin allows. If you agree, a "
        "small share of the calls tries it; where anything gets worse, the pin stays as it is."
    ),
    State.JUDGED: gettext_lazy("It follows %(old)s, which is pinned. Your evaluation cases are put to both first."),
    State.TRIAL: gettext_lazy(
        "It answers %(share)s %% of the calls that the pin sent to %(old)s, and more while nothing gets worse."
    ),
    State.DONE: gettext_lazy("It took the place of %(old)s: %(why)s."),
    State.ROLLED_BACK: gettext_lazy("Why: %(why)s."),
    State.REFUSED: gettext_lazy("Why: %(why)s."),
}
TO_THE_POLICY = gettext_lazy("neo-mode chooses again for %(task)s")
PIN_IS_GONE = gettext_lazy("The pin to %(old)s is gone: %(why)s.")


@dataclass(frozen=True, slots=True)
class Case:
    """An evaluation case that was put to both models, and who passed it."""

    name: str
    old: bool
    new: bool


@dataclass(frozen=True, slots=True)
class Told:
    """An upgrade in words. `cases` has those first at which the models differ; `more` is about those left out."""

    upgrade: Upgrade
    title: str
    text: str
    cases: Sequence[Case]
    more: str

    @property
    def old(self) -> str:
        """The model without its maker, as a column has room for it."""
        return self.upgrade.old_model.rpartition("/")[2]

    @property
    def new(self) -> str:
        """Likewise."""
        return self.upgrade.new_model.rpartition("/")[2]

    @property
    def waits(self) -> bool:
        """Whether somebody is asked."""
        return self.upgrade.state == State.ASKED


def upgrades_told(organization_id: int, week: str, as_of: datetime) -> list[Upgrade]:
    """Those of the organization that the digest of this week, made at that moment, tells of; what waits comes first."""
    end = datetime.combine(monday_of(week), time(), UTC)
    in_week = {"gte": end - WEEK, "lt": end}
    ended = Q(**{f"ended_at__{name}": moment for name, moment in in_week.items()})
    begun = Q(**{f"created_at__{name}": moment for name, moment in in_week.items()})
    begun &= Q(ended_at=None) | Q(ended_at__gte=as_of)
    rows = Upgrade.objects.filter(ended | begun, organization_id=organization_id).order_by("-pk")
    news = [row for row in rows if row.ended_at is None or row.ended_at >= end or not _goes_unsaid(row)]
    return sorted(news[:UPGRADES_MOST], key=lambda row: (ORDER.index(State(row.state)), row.task, row.pk))


def are_news(upgrades: Iterable[Upgrade]) -> bool:
    """Whether they are worth a letter: somebody is asked, or it ended by itself."""
    return any(upgrade.state not in NO_NEWS_ALONE for upgrade in upgrades)


def tell(upgrades: Iterable[Upgrade]) -> list[Told]:
    """Each in the words of the state in which it is now, in the language that is active."""
    told, room = list[Told](), CASES_MOST
    for upgrade in upgrades:
        told.append(_told(upgrade, room))
        room -= len(told[-1].cases)
    return told


def _told(upgrade: Upgrade, room: int) -> Told:
    names = {
        "old": upgrade.old_model,
        "new": upgrade.new_model,
        "task": task_words(upgrade.task),
        "share": upgrade.share_basis_points // 100 or STEPS[0] // 100,
        "why": upgrade.reason.rstrip("."),
    }
    is_gone = not upgrade.new_model
    title = TO_THE_POLICY if is_gone else TITLES[upgrade.state]
    text = PIN_IS_GONE if is_gone else TEXTS[upgrade.state]
    cases = [Case(row["case"], row["old"], row["new"]) for row in upgrade.report.get("cases", ())]
    shown = sorted(cases, key=lambda case: case.old == case.new)[: max(room, 0)]
    return Told(upgrade, str(title) % names, str(text) % names, shown, _more(cases, len(shown)))


def _more(cases: Sequence[Case], shown: int) -> str:
    left_out = len(cases) - shown
    if not left_out:
        return ""
    text = ngettext(
        "%(count)s more case is on the page of the advisor.", "%(count)s more are on the page of the advisor.", left_out
    )
    return text % {"count": left_out}


def _goes_unsaid(upgrade: Upgrade) -> bool:
    return upgrade.report.get("ended_by") in NO_NEWS_AT_ALL
