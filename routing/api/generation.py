"""`/api/generation`: one request whole, with why its model was chosen."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import Api
from billing.access import access_usage_row
from billing.api.usage import generation_json
from routing.api import documented
from routing.selection.queries import feedback_on
from routing.selection.receipts import stored_explanation


class GenerationQuery(serializers.Serializer[Any]):
    """Which request."""

    id = serializers.CharField(max_length=64, help_text="the request id: `id` of the answer, or its X-Request-Id")


class GenerationView(Api):
    """One request whole."""

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": GenerationQuery}

    @extend_schema(**documented.READ_GENERATION, parameters=[GenerationQuery])
    def get(self, request: Request) -> Response:
        """Once it is settled."""
        row = access_usage_row(self.asker.organization_id, self.parameters["id"], self.asker.only_key_id)
        data = generation_json(row)
        feedback = feedback_on(row.organization_id, row.request_id)
        data["finish_reason"] = row.detail.get("finish_reason")
        data["x_komilion"] |= {
            "task_type": row.detail.get("task_type"),
            "receipt": stored_explanation(row),
            "feedback": None if feedback is None else feedback.score,
        }
        return Response({"data": data})


@extend_schema_view(get=extend_schema(**documented.READ_GENERATION_V1, parameters=[GenerationQuery]))
class GenerationV1View(GenerationView):
    """The same where OpenRouter has it."""
