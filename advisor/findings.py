"""What a digest is made of: what is recommended to an organization in a week, and where its money went."""

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.advice import Recommendation
from advisor.collect import read_evidence
from advisor.figures import DAYS_DRAWN, Figures, figures_of
from advisor.queries import daily_spend
from advisor.weeks import last_day_told_of


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one organization and week; the best advice first."""

    recommendations: Sequence[Recommendation]
    figures: Figures


def find(organization_id: int, week: str) -> Findings:
    """Look at the weeks before this one. Where nothing is worth saying there are no recommendations."""
    through = last_day_told_of(week)
    (evidence,) = read_evidence([organization_id], through)
    return Findings((), figures_of(evidence, daily_spend(organization_id, through, DAYS_DRAWN)))
