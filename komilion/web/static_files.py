"""Static files with far-future names, by whitenoise, from an ASGI server."""

import hashlib
from typing import Any, override

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

FINGERPRINT_FILE = ".collected"


def do_collect_static() -> bool:
    """Gather the static files of every app in STATIC_ROOT; False where they lie there already as they are now.

    Gathering takes as long as the rest of a start, so it is left out where nothing has changed.
    """
    mark = settings.STATIC_ROOT / FINGERPRINT_FILE
    fingerprint = _fingerprint()
    if mark.exists() and mark.read_text() == fingerprint:
        return False
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    mark.write_text(fingerprint)
    return True


def _fingerprint() -> str:
    """Changes with the name, size or time of any static file of the installed apps."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in sorted(finder.list([]), key=lambda found: found[0]):
            modified = storage.get_modified_time(path).timestamp()
            digest.update(f"{storage.path(path)} {storage.size(path)} {modified}\n".encode())
    return digest.hexdigest()


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
