"""`/api/feedback`: what somebody thought of an answer."""

from decimal import Decimal
from typing import Any, override

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api, Strict
from billing.access import access_usage_row
from komilion.common.errors import Unprocessable
from routing.actions.feedback import do_give_feedback
from routing.api import documented

THUMBS = {"up": 1.0, "down": 0.0}


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
class ScoreField(serializers.Field[float, Any, float, Any]):
    """A JSON number from 0 to 1; no text, and no truth value, which Python takes for a number."""

    @override
    def to_internal_value(self, data: Any) -> float:
        """Raises `ValidationError`."""
        if isinstance(data, bool) or not isinstance(data, int | Decimal) or not 0 <= data <= 1:
            raise serializers.ValidationError("Write a number from 0 to 1.")
        return float(data)


class FeedbackRequest(Strict):
    """A request of yours, and either `score` or `thumbs`."""

    request_id = serializers.CharField(max_length=64, help_text="`id` of the answer, or its X-Request-Id")
    score = ScoreField(required=False, help_text="0 is useless, 1 is right")
    thumbs = serializers.ChoiceField(choices=list(THUMBS), required=False, help_text="`up` is 1, `down` is 0")


class FeedbackView(Api):
    """Votes."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.GIVE_FEEDBACK, request=FeedbackRequest)
    def post(self, request: Request) -> Response:
        """Give one; a second one on the same request replaces the first."""
        self.asker.must_route()
        body = self.body(FeedbackRequest)
        if ("score" in body) == ("thumbs" in body):
            raise Unprocessable("Send either `score` or `thumbs`.", param="score")
        row = access_usage_row(self.asker.organization_id, body["request_id"], self.asker.only_key_id)
        feedback = do_give_feedback(row, body["score"] if "score" in body else THUMBS[body["thumbs"]])
        return Response(
            {
                "object": "feedback",
                "request_id": feedback.request_id,
                "score": feedback.score,
                "task_type": feedback.task or None,
                "model": feedback.model,
                "created_at": feedback.created_at.isoformat().replace("+00:00", "Z"),
            }
        )
