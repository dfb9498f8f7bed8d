"""Upgrades that wait for the organization's evaluation cases: judged by them, then tried or refused."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from advisor.actions.upgrades import UNAVAILABLE, State, do_go_on, end, read_again
from advisor.cases import Judged, cases_of, judge_by_cases
from advisor.models import EvaluationCase, Upgrade
from routing.gateway.inside import ChatRefused
from routing.gateway.services import build_services

MOST_AT_ONCE = 20
WAITED_FOR = timedelta(hours=20)  # answers that were paid for are kept for a day

type _Work = tuple[Upgrade, Sequence[EvaluationCase]]


def do_judge_upgrades(now: datetime) -> int:
    """Put their cases to both models of those that wait, the oldest first; how many went on or were refused.

    What cannot be asked now, as where the wallet is empty or a provider is down, is asked again at the next run.
    """
    waiting = Upgrade.objects.filter(state=State.JUDGED, ended_at=None).order_by("pk")[:MOST_AT_ONCE]
    work = [(upgrade, cases_of(upgrade)) for upgrade in waiting]
    outcomes = asyncio.run(_judge(work)) if any(cases for _, cases in work) else {}
    return sum(_do_finish(upgrade, outcomes.get(upgrade.pk, ()), now) for upgrade, _ in work)


async def _judge(work: Sequence[_Work]) -> Mapping[int, Sequence[Judged] | ChatRefused]:
    services = build_services()
    await services.start()
    outcomes: dict[int, Sequence[Judged] | ChatRefused] = {}
    try:
        for upgrade, cases in work:
            try:
                outcomes[upgrade.pk] = await judge_by_cases(upgrade, cases, services)
            except ChatRefused as refused:
                outcomes[upgrade.pk] = refused
    finally:
        await services.stop()
    return outcomes


def _do_finish(upgrade: Upgrade, outcome: Sequence[Judged] | ChatRefused, now: datetime) -> bool:
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        if isinstance(outcome, ChatRefused):
            if now < same.step_at + WAITED_FOR:
                return False
            reason = f"the evaluation cases could not be put to both models: {outcome.message}"
            end(same, State.REFUSED, reason, now, ended_by=UNAVAILABLE)
            return True
        same.report = {**same.report, "cases": [judged.told for judged in outcome]}
        worse = [judged for judged in outcome if judged.is_worse]
        if worse:
            names = ", ".join(judged.name for judged in worse)
            reason = f"{same.new_model} fails what {same.old_model} passes: {names} ({worse[0].new.checked.why})"
            end(same, State.REFUSED, reason, now, ended_by="cases")
        else:
            do_go_on(same, now, is_judged=True)
    return True
