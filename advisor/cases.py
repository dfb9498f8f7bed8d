"""Evaluation cases: an organization's prompts are put to both models of an upgrade, and their answers checked.

The calls go through the gateway like any other, on behalf of a member who may call models, and the organization's
wallet pays. Each has an Idempotency-Key, so a worker that dies and begins anew pays for no answer twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from accounts.access import Caller, Right, access_session_token, access_viewer, ticket_of
from accounts.models import Membership
from advisor.checks import Checked, check
from advisor.models import EvaluationCase, Upgrade
from komilion.common.errors import KomilionError, Unauthenticated
from routing.gateway.authenticate import scopes_of
from routing.gateway.exchange import Vouch
from routing.gateway.inside import ChatRefused, Finished, TextDelta, ask
from routing.gateway.services import Services
from routing.gateway.types import Session

CASES_MOST = 20  # of one task type that are put to models, the oldest
ANSWER_TOKENS_MOST = 2_048


@dataclass(frozen=True, slots=True)
class Answered:
    """What one model made of one case."""

    model: str
    checked: Checked
    charge_nano: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One case at both models."""

    name: str
    old: Answered
    new: Answered

    @property
    def is_worse(self) -> bool:
        """Whether the newer model fails what the older one passes."""
        return self.old.checked.passed and not self.new.checked.passed

    @property
    def told(self) -> Mapping[str, Any]:
        """A row of the table in the report of the upgrade."""
        return {
            "case": self.name,
            "old": self.old.checked.passed,
            "new": self.new.checked.passed,
            "why": self.new.checked.why or self.old.checked.why,
            "charge_nano": self.old.charge_nano + self.new.charge_nano,
        }


def cases_of(upgrade: Upgrade) -> Sequence[EvaluationCase]:
    """Those that judge it."""
    rows = EvaluationCase.objects.filter(organization_id=upgrade.organization_id, task=upgrade.task)
    return list(rows.order_by("pk")[:CASES_MOST])


async def judge_by_cases(upgrade: Upgrade, cases: Sequence[EvaluationCase], services: Services) -> list[Judged]:
    """Put every case to both models, one call after the other. Raises `ChatRefused` for a call that is not answered."""
    judged = []
    for case in cases:
        old = await _answer(upgrade, case, upgrade.old_model, services)
        new = await _answer(upgrade, case, upgrade.new_model, services)
        judged.append(Judged(case.name, old, new))
    return judged


async def _answer(upgrade: Upgrade, case: EvaluationCase, model: str, services: Services) -> Answered:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": case.prompt}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS_MOST,
    }
    text, charge = list[str](), 0
    key = f"upgrade-{upgrade.pk}-case-{case.pk}-{'new' if model == upgrade.new_model else 'old'}"
    try:
        async for event in ask(_payer(upgrade.organization_id), body, services, idempotency_key=key):
            if isinstance(event, TextDelta):
                text.append(event.text)
            elif isinstance(event, Finished):
                charge = int(event.bill.get("cost_nano_usd") or 0)
    except KomilionError as error:
        raise ChatRefused(error.status, error.reason, error.message) from error
    checked = await asyncio.to_thread(check, case.check_kind, case.expected, "".join(text))
    return Answered(model, checked, charge)


def _payer(organization_id: int) -> Vouch:
    async def renew() -> Session:
        caller = await asyncio.to_thread(_caller_apart, organization_id)
        return Session(caller, scopes_of(caller))

    return renew


def _caller_apart(organization_id: int) -> Caller:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return _caller(organization_id)
    finally:
        connection.close()


def _caller(organization_id: int) -> Caller:
    """A member who may call models, the oldest. Raises `Unauthenticated` where there is none."""
    members = Membership.objects.filter(organization_id=organization_id, user__is_active=True).order_by("pk")
    for member in members:
        viewer = access_viewer(member.user_id, organization_id)
        if viewer is None or viewer.membership_id != member.pk or not viewer.may(Right.KEYS):
            continue
        caller = access_session_token(ticket_of(viewer))
        if caller is not None:
            return caller
    raise Unauthenticated("Nobody in the organization may call models.")
