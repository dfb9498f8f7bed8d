"""The recording of a meeting for the player of its page, in pieces: browsers ask for ranges (RFC 9110, section 14)."""

import re

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import Viewer, asker_of
from komilion.common.errors import BadRequest, NotFound
from komilion.web.guards import with_viewer
from voice.access import access_job
from voice.models import Upload, UploadState
from voice.uploads.names import played_content_type
from voice.uploads.store import store

PIECE_BYTES = 2**20
RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?")


@require_safe
@with_viewer()
@never_cache
def play(request: HttpRequest, viewer: Viewer, job_id: str) -> HttpResponse:
    """At most `PIECE_BYTES` from where the browser asks. Raises `NotFound` once it is deleted, `BadRequest`."""
    upload = access_job(asker_of(viewer), job_id).upload
    if upload is None or upload.state != UploadState.RECEIVED:
        raise NotFound("The recording was deleted; recordings are kept for a day.")
    wanted = RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None:
        raise BadRequest("Ask for the recording by ranges: `Range: bytes=0-`.")
    return _piece(upload, int(wanted[1]), None if wanted[2] is None else int(wanted[2]))


def _piece(upload: Upload, start: int, last: int | None) -> HttpResponse:
    size = upload.received_bytes
    if start >= size or (last is not None and last < start):
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    most = min(PIECE_BYTES, (size if last is None else min(size, last + 1)) - start)
    body = store().read(upload, start, most)
    response = HttpResponse(body, status=206, content_type=played_content_type(upload.content_type))
    response["Content-Disposition"] = "attachment"  # who opens the address itself gets a file, and no page
    response["X-Content-Type-Options"] = "nosniff"
    response["Accept-Ranges"] = "bytes"
    response["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{size}"
    return response
