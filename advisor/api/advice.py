"""`/api/advisor/`: what the organization is advised, and how it answers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Asker
from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api, Strict
from advisor.actions.advice import do_accept_pair, do_dismiss, why_closed
from advisor.advice import ABOUT_KEYS, PINS
from advisor.api import documented
from advisor.api.base import may_call, pinner
from advisor.api.effects import effect_json
from advisor.errors import AdviceClosed
from advisor.models import Advice
from advisor.page_queries import Outcome, outcomes_of
from advisor.queries import advice_for, advice_of, one_advice
from advisor.words import said
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, NotFound
from komilion.common.money import format_usd
from routing.actions.pins import check_model, check_task
from routing.api.base import either, pin_json
from routing.api.pins import PinRequest


class StateQuery(serializers.Serializer[Any]):
    """Which advice."""

    state = serializers.ChoiceField(
        choices=Advice.State.values, default=Advice.State.OPEN, help_text="`over` was not answered in time"
    )


class DismissRequest(Strict):
    """The id of the advice, or the task type and model that it recommends."""

    id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    taskType = serializers.CharField(required=False, max_length=200)
    modelId = serializers.CharField(required=False, max_length=200)
    task_type = serializers.CharField(required=False, max_length=200, help_text="the same as `taskType`")
    model_id = serializers.CharField(required=False, max_length=200, help_text="the same as `modelId`")


class RecommendationsView(Api):
    """What the organization is advised."""

    authentication_classes = WITH_TOKENS
    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": StateQuery}

    @extend_schema(**documented.LIST_RECOMMENDATIONS, parameters=[StateQuery])
    def get(self, request: Request) -> Response:
        """All that the asker may see."""
        rows = _seen_by(self.asker, self.parameters["state"])
        brought = {} if self.asker.only_key_id else {each.advice.pk: each for each in outcomes_of(rows)}
        return Response({"data": [advice_json(row, self.asker, brought.get(row.pk)) for row in rows]})


class AcceptView(Api):
    """Recommendations that somebody agrees with."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.ACCEPT, request=PinRequest)
    def post(self, request: Request) -> Response:
        """Pin what was recommended; what was not is pinned as well."""
        self.asker.must_route()
        body = self.body(PinRequest)
        task, model_id = either(body, "taskType", "task_type"), either(body, "modelId", "model_id")
        return Response(pin_json(do_accept_pair(pinner(self.asker), task, model_id, utc_now())))


class DismissView(Api):
    """Recommendations that somebody does not want."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.DISMISS, request=DismissRequest)
    def post(self, request: Request) -> Response:
        """Hear no more of it for a while."""
        self.asker.must_route()
        now = utc_now()
        advice = _named(self.asker, self.body(DismissRequest))
        if reason := why_closed(advice, now):
            raise Conflict(reason)
        try:
            return Response(advice_json(do_dismiss(pinner(self.asker), advice.pk, now), self.asker))
        except AdviceClosed as error:  # somebody answered it just now
            raise Conflict(str(error)) from error


def advice_json(row: Advice, asker: Asker, outcome: Outcome | None = None) -> dict[str, Any]:
    """One advice as the API shows it, with what it brought where it was accepted.

    What it tells of the whole organization is null for a key that reads its own usage alone, as `/api/usage` has it.
    """
    words, sees_all = said(row), asker.only_key_id is None
    saving = {"low": row.saving_low_nano, "mid": row.saving_mid_nano, "high": row.saving_high_nano}
    return {
        "object": "recommendation",
        "id": row.pk,
        "week": row.week,
        "kind": row.kind,
        "subject": row.subject,
        "task_type": row.task or None,
        "model": row.model or None,
        "title": words.title,
        "reason": words.reason,
        "saving_usd_per_month": {name: format_usd(nano) for name, nano in saving.items()} if sees_all else None,
        "confidence": round(row.confidence, 4),
        "evidence": row.evidence if sees_all else None,
        "risks": words.risks,
        "note": words.note or None,
        "expires_on": row.expires_on.isoformat(),
        "can_be_accepted": row.kind in PINS and bool(row.model) and not why_closed(row, utc_now()),
        "state": row.state,
        "answered_by": (row.state_by or None) if sees_all else None,
        "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
        "effect": effect_json(outcome) if outcome is not None and row.state == Advice.State.ACCEPTED else None,
    }


def _seen_by(asker: Asker, state: str) -> list[Advice]:
    return [row for row in advice_of(asker.organization_id, state, utc_now()) if _may_see(asker, row)]


def _may_see(asker: Asker, row: Advice) -> bool:
    """A key sees nothing of other keys unless it manages them, and nothing that it could neither call nor pin."""
    if row.kind in ABOUT_KEYS:
        return asker.key is None or asker.may_manage
    return may_call(asker, row.subject, row.model)


def _named(asker: Asker, body: Mapping[str, Any]) -> Advice:
    """The advice that the body means. Raises `BadRequest` and `NotFound`."""
    if "id" in body:
        advice = one_advice(asker.organization_id, body["id"])
    else:
        task = check_task(either(dict(body), "taskType", "task_type"))
        model = check_model(either(dict(body), "modelId", "model_id"))
        advice = advice_for(asker.organization_id, task, model)
    if advice is None or not _may_see(asker, advice):
        raise NotFound("There is no such advice.", param="id" if "id" in body else "taskType")
    return advice
