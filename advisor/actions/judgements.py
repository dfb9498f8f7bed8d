"""Upgrades that wait for the organization's evaluation cases: judged by them, then tried or refused.

A run is short, as the same worker ends trials and writes to people: it takes turns among organizations, begins no case
when its time is over, and keeps what each case showed as soon as it is known, so that the next run goes on from there.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from advisor.actions.upgrades import UNAVAILABLE, State, do_go_on, end, read_again
from advisor.cases import Asking, cases_of, in_thread, is_worse, judge_case
from advisor.models import EvaluationCase, Upgrade
from komilion.common.clock import monotonic_s
from routing.gateway.inside import ChatRefused
from routing.gateway.services import build_services

log = logging.getLogger(__name__)

RUN_S = 60.0
MOST_AT_ONCE = 100
SIDE_BY_SIDE = 8
ONCE_IN = timedelta(days=1)  # a task type of an organization is judged
WAITED_FOR = timedelta(hours=20)  # without a case more; answers that were paid for are kept for a day
OURS = "something went wrong on our side"


@dataclass(frozen=True, slots=True)
class _Run:
    now: datetime
    until_s: float  # of the monotonic clock
    room: asyncio.Semaphore
    asking: Asking

    @property
    def is_over(self) -> bool:
        return monotonic_s() >= self.until_s


def do_judge_upgrades(now: datetime) -> int:
    """Put cases to both models of upgrades that wait, one of an organization; how many went on or were refused.

    What cannot be asked now, as where the wallet is empty or a provider is down, is asked again at the next run.
    """
    turn = _in_turn(now)
    return asyncio.run(_judge_all(turn, now)) if turn else 0


def _in_turn(now: datetime) -> Sequence[Upgrade]:
    """One of each organization, those first that were never tried, or not for the longest time.

    Whoever changes a pin again and again has its task type judged once a day: no cap of a key bounds these calls.
    """
    others = Upgrade.objects.filter(organization_id=OuterRef("organization_id"), task=OuterRef("task"))
    judged_of_late = others.filter(tried_at__gt=now - ONCE_IN).exclude(pk=OuterRef("pk"))
    waiting = Upgrade.objects.filter(~Exists(judged_of_late), state=State.JUDGED, ended_at=None)
    oldest_first = waiting.order_by(F("tried_at").asc(nulls_first=True), "pk")
    by_organization: dict[int, int] = {}
    for pk, organization_id in oldest_first.values_list("pk", "organization_id"):
        by_organization.setdefault(organization_id, pk)
    turn = list(by_organization.values())[:MOST_AT_ONCE]
    found = Upgrade.objects.in_bulk(turn)
    return [found[pk] for pk in turn if pk in found]


async def _judge_all(turn: Sequence[Upgrade], now: datetime) -> int:
    services = build_services()
    await services.start()
    asking = Asking(services, asyncio.Lock())
    run = _Run(now, monotonic_s() + RUN_S, asyncio.Semaphore(SIDE_BY_SIDE), asking)
    try:
        return sum(await asyncio.gather(*(_judge(upgrade, run) for upgrade in turn)))
    finally:
        await services.stop()


async def _judge(upgrade: Upgrade, run: _Run) -> bool:
    """Whether it is judged, and went on or was refused. Raises nothing: the others are judged all the same."""
    async with run.room:
        if run.is_over:
            return False
        try:
            return await _put_cases(upgrade, run)
        except Exception:
            log.exception("an upgrade could not be judged", extra={"upgrade": upgrade.pk})
            return False


async def _put_cases(upgrade: Upgrade, run: _Run) -> bool:
    current = await in_thread(_do_begin, upgrade, run.now)
    try:
        while current is not None and (case := await in_thread(_next_case, current)) is not None:
            if run.is_over:
                return False
            row = await judge_case(current, case, run.asking)
            current = await in_thread(_do_note, current, row, run.now)
        return current is not None and await in_thread(_do_finish, current, run.now)
    except ChatRefused as refused:
        why = refused.message
    except Exception:
        log.exception("an upgrade could not be judged", extra={"upgrade": upgrade.pk})
        why = OURS
    return current is not None and await in_thread(_do_wait, current, why, run.now)


def _next_case(upgrade: Upgrade) -> EvaluationCase | None:
    judged = {row["id"] for row in upgrade.report["cases"]}
    return next((case for case in cases_of(upgrade) if case.pk not in judged), None)


def _do_begin(upgrade: Upgrade, now: datetime) -> Upgrade | None:
    """It is its turn; None where somebody else was there meanwhile. Cases that are gone judge nothing any more.

    Noted before anything is asked: one that ends the worker comes last the next time.
    """
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return None
        if same.tried_at is None:
            same.step_at = now
        there = {case.pk for case in cases_of(same)}
        same.report = {**same.report, "cases": [row for row in same.report.get("cases", ()) if row["id"] in there]}
        same.tried_at = now
        same.save()
        return same


def _do_note(upgrade: Upgrade, row: Any, now: datetime) -> Upgrade | None:
    """Keep what a case showed."""
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return None
        others = [other for other in same.report["cases"] if other["id"] != row["id"]]
        same.report = {**same.report, "cases": [*others, row]}
        same.step_at = now
        same.save()
        return same


def _do_finish(upgrade: Upgrade, now: datetime) -> bool:
    """All were put to both."""
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        worse = [row for row in same.report["cases"] if is_worse(row)]
        if worse:
            names = ", ".join(row["case"] for row in worse)
            reason = f"{same.new_model} fails what {same.old_model} passes: {names} ({worse[0]['why']})"
            end(same, State.REFUSED, reason, now, ended_by="cases")
        else:
            do_go_on(same, now, is_judged=True)
    return True


def _do_wait(upgrade: Upgrade, why: str, now: datetime) -> bool:
    """One of them could not be put to both: it is tried again, unless that has gone on for too long."""
    if now < upgrade.step_at + WAITED_FOR:
        return False
    with transaction.atomic():
        same = read_again(upgrade)
        if same is None:
            return False
        reason = f"the evaluation cases could not be put to both models: {why}"
        end(same, State.REFUSED, reason, now, ended_by=UNAVAILABLE)
    return True
