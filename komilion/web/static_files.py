"""Static files with far-future names, by whitenoise, from an ASGI server."""

from typing import Any, override

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Whitenoise streams files by a blocking iterator, which Django warns of under ASGI; ours are small, so whole."""

    @staticmethod
    @override
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """One file, or 304 where the client has it."""
        found = static_file.get_response(request.method, request.META)
        with found.file or _Nothing() as file:
            response = HttpResponse(file.read(), status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response


class _Nothing:
    """The body of an answer that has none."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read(self) -> bytes:
        return b""
