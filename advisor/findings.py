"""What a digest is made of: what is recommended to an organization in a week, and where its money went."""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.advice import Kind, Recommendation
from advisor.brief import Said
from advisor.collect import read_evidence
from advisor.figures import DAYS_DRAWN, Figures, figures_of
from advisor.landscape import recent_landscape
from advisor.queries import daily_spend, earlier_advice
from advisor.recommend import recommend
from advisor.rules import Rules
from advisor.weeks import last_day_told_of, monday_of

RULES = Rules()


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one organization and week; the best advice first."""

    recommendations: Sequence[Recommendation]
    figures: Figures


def find(organization_id: int, week: str) -> Findings:
    """Look at the weeks before this one. Where nothing is worth saying there are no recommendations."""
    through = last_day_told_of(week)
    (evidence,) = read_evidence([organization_id], through)
    found = recommend(evidence, recent_landscape(monday_of(week)), history_of(organization_id, week), RULES)
    return Findings(found, figures_of(evidence, daily_spend(organization_id, through, DAYS_DRAWN)))


def history_of(organization_id: int, week: str) -> list[Said]:
    """What it was told before, and what became of it."""
    rows = earlier_advice(organization_id, week)
    return [
        Said(row.week, Kind(row.kind), row.subject, row.task, row.model, row.state, row.saving_mid_nano) for row in rows
    ]
