"""The OpenAPI document and the page to try it on."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.json import ExactJSONRenderer
from komilion.web.rest.openapi import document


class OpenApiJson(ExactJSONRenderer):
    """The document's own media type, which some tools ask for."""

    media_type = "application/vnd.oai.openapi+json"


class SchemaView(APIView):
    """`GET /api/schema`: the OpenAPI document, for everybody."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (ExactJSONRenderer, OpenApiJson)
    schema = None

    def get(self, request: Request) -> Response:
        """The whole API, whoever asks."""
        return Response(document())


@require_safe
def explorer(request: HttpRequest) -> HttpResponse:
    """`GET /api/docs`: Swagger UI on the document; its script and style are files of ours, as the CSP demands."""
    return render(request, "api/docs.html")
