"""The base of every REST view: who asks, what may be asked for, and how it is answered."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast, override

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from accounts.access import Asker
from accounts.api.exceptions import invalid_fields
from komilion.common.errors import BadRequest, Unprocessable


class Strict(Serializer[Any]):
    """A serializer that refuses fields it does not know."""

    @override
    def to_internal_value(self, data: Any) -> Any:
        """The fields, checked. Raises `ValidationError`; `Unprocessable` for unknown ones."""
        if isinstance(data, Mapping):
            unknown = sorted(set(map(str, data)) - set(self.fields))
            if unknown:
                raise Unprocessable(f"There is no field {unknown[0][:100]!r} here.", param=unknown[0][:100])
        return super().to_internal_value(data)


class Api(APIView):
    """Query parameters are declared: by method in `query`, a serializer each; others are refused by name."""

    query: ClassVar[Mapping[str, type[Serializer[Any]]]] = {}

    @property
    def asker(self) -> Asker:
        """Who asks."""
        return cast(Asker, self.request.user)

    @override
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, count, and check the query parameters into `self.parameters`."""
        super().initial(request, *args, **kwargs)
        if request.method not in {*self.allowed_methods, "HEAD"} - {"OPTIONS"}:
            raise MethodNotAllowed(request.method or "")
        self.parameters = self._read_query(request)

    def body(self, kind: type[Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """The request's JSON body by this serializer. Raises 422 with the names of the fields."""
        serializer = kind(data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return cast("dict[str, Any]", serializer.validated_data)

    @override
    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Answers belong to one asker and may hold a secret: no cache keeps them."""
        final = super().finalize_response(request, response, *args, **kwargs)
        final["Cache-Control"] = "no-store"
        return final

    def _read_query(self, request: Request) -> dict[str, Any]:
        kind = self.query.get(request.method or "")
        serializer = kind(data=request.query_params.dict()) if kind is not None else None
        for name, values in request.query_params.lists():
            if serializer is None or name not in serializer.fields:
                raise BadRequest(f"There is no query parameter {name[:100]!r} here.", param=name[:100])
            if len(values) > 1:
                raise BadRequest(f"The query parameter {name!r} stands there twice.", param=name)
        if serializer is None:
            return {}
        if not serializer.is_valid():
            raise invalid_fields(serializer.errors, BadRequest)
        return cast("dict[str, Any]", serializer.validated_data)
