"""`/api/advisor/upgrades`: pins on their way to newer models, and what is answered where somebody is asked."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Asker
from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api
from advisor.actions.upgrades import do_agree, do_decline
from advisor.api import documented
from advisor.api.base import may_call, pinner
from advisor.models import Upgrade
from advisor.queries import one_upgrade, upgrades_of
from advisor.upgrade_report import ArmFigures, CaseResult, Step, told
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from komilion.common.money import format_usd
from routing.actions.pins import Pinner


class UpgradesView(Api):
    """Upgrades under way, and those that ended of late."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.LIST_UPGRADES)
    def get(self, request: Request) -> Response:
        """All that the asker may see."""
        rows = upgrades_of(self.asker.organization_id, utc_now())
        return Response({"data": [upgrade_json(row, self.asker) for row in rows if _may_see(self.asker, row)]})


class AgreeView(Api):
    """Upgrades that somebody wants."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.AGREE, request=None)
    def post(self, request: Request, upgrade_id: int) -> Response:
        """Judge and try the newer model."""
        return _answer(self.asker, upgrade_id, do_agree)


class DeclineView(Api):
    """Upgrades that nobody wants."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.DECLINE, request=None)
    def post(self, request: Request, upgrade_id: int) -> Response:
        """Leave the pin as it is."""
        return _answer(self.asker, upgrade_id, do_decline)


def upgrade_json(row: Upgrade, asker: Asker) -> dict[str, Any]:
    """One upgrade as the API shows it; a key that reads its own usage alone sees no figures of all keys' calls."""
    known = told(row)
    sees_all = asker.only_key_id is None
    return {
        "object": "upgrade",
        "id": row.pk,
        "task_type": row.task,
        "model": row.old_model,
        "new_model": row.new_model or None,
        "state": row.state,
        "can_be_answered": known.can_be_answered,
        "share_basis_points": row.share_basis_points,
        "reason": row.reason or None,
        "next": known.next,
        "progress": known.judge_says if known.judge_says and sees_all else None,
        "steps": [_step_json(step) for step in known.steps] if sees_all else None,
        "cases": [_case_json(case) for case in known.cases] if sees_all else None,
        "created_at": _moment(row.created_at),
        "step_at": _moment(row.step_at),
        "ended_at": None if row.ended_at is None else _moment(row.ended_at),
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "share_basis_points": step.share_basis_points,
        "model": _arm_json(step.old),
        "new_model": _arm_json(step.new),
        "not_sent": step.diverted,
    }


def _arm_json(arm: ArmFigures) -> dict[str, Any]:
    return {
        "calls": arm.calls,
        "failed": arm.failed,
        "retried": arm.retried,
        "cut": arm.cut,
        "voted_down": arm.disliked,
        "typical_s": None if arm.typical_s is None else round(arm.typical_s, 3),
    }


def _case_json(case: CaseResult) -> dict[str, Any]:
    return {
        "name": case.name,
        "model_passes": case.old_passes,
        "new_model_passes": case.new_passes,
        "why": case.why or None,
        "charge_usd": format_usd(case.charge_nano),
    }


def _answer(asker: Asker, upgrade_id: int, act: Callable[[Pinner, int, datetime], Upgrade]) -> Response:
    asker.must_route()
    row = one_upgrade(asker.organization_id, upgrade_id)
    if row is None or not _may_see(asker, row):
        raise NotFound("There is no such upgrade.")
    return Response(upgrade_json(act(pinner(asker), upgrade_id, utc_now()), asker))


def _may_see(asker: Asker, row: Upgrade) -> bool:
    """A key sees nothing of models that it may not call."""
    return may_call(asker, row.old_model, row.new_model)


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
