"""Meetings: sending a recording, the list, and one with its transcript. What costs is asked of the API by the page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import Right, Viewer, asker_of
from komilion.common.errors import Conflict
from komilion.web.guards import with_viewer
from komilion.web.voice.export import exported, names_in
from komilion.web.voice.rows import LANGUAGES, SCRIPTS, MeetingRow, told_of
from voice.access import access_job
from voice.actions.jobs import do_cancel_or_delete, result_of
from voice.meetings.options import AUDIO_MOST_BYTES, SPEAKERS_MOST
from voice.models import UploadState
from voice.models.job import OPEN_STATES
from voice.page_queries import names_of
from voice.queries import jobs_of

REFRESH = "HX-Refresh"


@require_safe
@with_viewer()
@never_cache
def list_meetings(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    """The form and the newest jobs of the organization."""
    jobs = jobs_of(asker_of(viewer))
    names = names_of(jobs)
    context = {
        "rows": [MeetingRow(job, names[job.pk]) for job in jobs],
        "any_open": any(job.state in OPEN_STATES for job in jobs),
        "languages": LANGUAGES,
        "direct_limit_bytes": AUDIO_MOST_BYTES,
        "speakers": range(1, SPEAKERS_MOST + 1),
        "scripts": SCRIPTS["list"],
    }
    return render(request, "voice/meetings.html", context)


@require_safe
@with_viewer()
@never_cache
def one_meeting(request: HttpRequest, viewer: Viewer, job_id: str) -> HttpResponse:
    """How far it is, or what was said. Open ones are asked for anew; the whole page comes once they ended."""
    job = access_job(asker_of(viewer), job_id)
    is_open = job.state in OPEN_STATES
    context: dict[str, Any] = {"row": MeetingRow(job, names_of([job])[job.pk]), "is_open": is_open}
    if not is_open:
        upload = job.upload
        context |= {
            "told": told_of(result_of(job)),
            "has_audio": upload is not None and upload.state == UploadState.RECEIVED,
            "scripts": SCRIPTS["one"],
        }
    response = render(request, "voice/meeting.html", context)
    if not is_open and request.headers.get("HX-Request"):
        response[REFRESH] = "true"
    return response


@require_POST
@with_viewer()
@never_cache
def export(request: HttpRequest, viewer: Viewer, job_id: str) -> HttpResponse:
    """The transcript as a file, with the names that the page gave the speakers. Raises `BadRequest`, `Conflict`."""
    job = access_job(asker_of(viewer), job_id)
    result = result_of(job)
    if result is None:
        raise Conflict("This meeting has no transcript.")
    file = exported(result, request.POST.get("format", ""), names_in(request.POST.get("names", "")))
    response = HttpResponse(file.body, content_type=file.media_type)
    response["Content-Disposition"] = f'attachment; filename="meeting-{job.created_at:%Y-%m-%d}.{file.ending}"'
    return response


@require_POST
@with_viewer(Right.KEYS)
def delete(request: HttpRequest, viewer: Viewer, job_id: str) -> HttpResponseBase:
    """An open one is canceled, one that ended goes with all that was said."""
    if do_cancel_or_delete(access_job(asker_of(viewer), job_id)):
        return redirect("voice:meetings")
    return redirect("voice:meeting", job_id=job_id)
