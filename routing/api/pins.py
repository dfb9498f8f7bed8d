"""`/api/pins`: which model answers which task type, whatever the policy would choose."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Asker
from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api, Strict
from billing.api.fields import UsdField
from routing.actions.pins import Pinner, do_remove_pin, do_set_ceiling, do_set_pin, do_set_upgrades
from routing.api import documented
from routing.api.base import WordField, either, pin_json, pinner_of
from routing.selection.models import Pin
from routing.selection.queries import pins_of


class PinRequest(Strict):
    """A task type, and the model that answers it; either spelling."""

    taskType = WordField(help_text="a task type, or one of its other names (`coding` is `code-generation`)")
    modelId = WordField(help_text="an id from `GET /v1/models`")
    task_type = WordField(help_text="the same as `taskType`")
    model_id = WordField(help_text="the same as `modelId`")


class PinSettings(PinRequest):
    """The same, and what becomes of the pin when a newer model of its line appears; what is left out stays."""

    upgrades = serializers.ChoiceField(
        Pin.Upgrades.choices,
        required=False,
        help_text="`auto`: a newer model of the line takes over where a trial shows that it is no worse; `ask`: once "
        "somebody agrees; `off`: never, and a trial that runs ends",
    )
    ceiling = serializers.DictField(
        child=UsdField(),
        required=False,
        help_text="what a newer model may cost at most: US dollars per million units by bucket (`input`, `output`, "
        "...), fee included; a bucket that is left out keeps the pinned model's price",
    )


class PinQuery(serializers.Serializer[Any]):
    """Which pin."""

    taskType = WordField(help_text="its task type")
    task_type = WordField(help_text="the same as `taskType`")


class PinsView(Api):
    """The pins of the organization."""

    authentication_classes = WITH_TOKENS

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"DELETE": PinQuery}

    @extend_schema(**documented.LIST_PINS)
    def get(self, request: Request) -> Response:
        """All of them."""
        return Response({"data": [pin_json(pin) for pin in pins_of(self.asker.organization_id)]})

    @extend_schema(**documented.SET_PIN, request=PinSettings)
    def post(self, request: Request) -> Response:
        """Set one, or change it."""
        self.asker.must_route()
        body, pinner = self.body(PinSettings), _pinner(self.asker)
        with transaction.atomic():
            pin = do_set_pin(pinner, *_named(body))
            if "upgrades" in body:
                pin = do_set_upgrades(pinner, pin.task, Pin.Upgrades(body["upgrades"]))
            if "ceiling" in body:
                pin = do_set_ceiling(pinner, pin.task, body["ceiling"])
        return Response(pin_json(pin))

    @extend_schema(**documented.REMOVE_PIN, parameters=[PinQuery])
    def delete(self, request: Request) -> Response:
        """Remove one."""
        self.asker.must_route()
        task = either(self.parameters, "taskType", "task_type")
        return Response(pin_json(do_remove_pin(_pinner(self.asker), task)))


def _named(body: dict[str, Any]) -> tuple[str, str]:
    """The task type and the model of a request, under either name of each."""
    return either(body, "taskType", "task_type"), either(body, "modelId", "model_id")


def _pinner(asker: Asker) -> Pinner:
    """Who asks: a person or a key."""
    return pinner_of(asker, Pin.Source.PERSON if asker.key is None else Pin.Source.KEY)
