"""`/api/voice/jobs`: meetings that are transcribed in the background, how far they are, and what came of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api
from accounts.api.json import usd
from komilion.common.errors import Conflict
from routing.providers.speech import Transcript
from voice.access import access_job, must_speak
from voice.actions.jobs import do_cancel_or_delete, result_of
from voice.api import documented
from voice.api.base import moment
from voice.meetings.options import FORMATS
from voice.meetings.transcript import written
from voice.models import JobState, TranscriptionJob
from voice.queries import JOBS_LISTED, jobs_of


class JobsQuery(serializers.Serializer[Any]):
    """How many."""

    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=JOBS_LISTED, default=20, help_text="most jobs of the answer"
    )


class JobQuery(serializers.Serializer[Any]):
    """In which shape."""

    format = serializers.ChoiceField(
        FORMATS, required=False, help_text="the transcript itself as `text`, `srt` or `vtt`, instead of the job"
    )


class JobsView(Api):
    """The jobs of the organization, or of the key."""

    authentication_classes = WITH_TOKENS
    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": JobsQuery}

    @extend_schema(**documented.LIST_JOBS, parameters=[JobsQuery])
    def get(self, request: Request) -> Response:
        """The newest first, without their results."""
        return Response({"data": [job_json(job) for job in jobs_of(self.asker, self.parameters["limit"])]})


class JobView(Api):
    """One job."""

    authentication_classes = WITH_TOKENS
    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": JobQuery}

    @extend_schema(**documented.SEE_JOB, parameters=[JobQuery])
    def get(self, request: Request, job_id: str) -> Response | HttpResponse:
        """How far it is, and what came of it."""
        job = access_job(self.asker, job_id)
        result = result_of(job)
        wanted = self.parameters.get("format", "json")
        if wanted != "json":
            if result is None:
                raise Conflict("This job has no transcript (yet).")
            body, media_type = written(msgspec.convert(result["transcript"], Transcript), wanted)
            return HttpResponse(body, content_type=media_type)
        return Response({**job_json(job), "result": _result(job, result)})

    @extend_schema(**documented.DELETE_JOB)
    def delete(self, request: Request, job_id: str) -> Response:
        """Cancel an open job, delete one that ended."""
        must_speak(self.asker)
        is_gone = do_cancel_or_delete(access_job(self.asker, job_id))
        return Response({"object": "transcription.job", "id": job_id, "deleted": is_gone, "canceled": not is_gone})


def job_json(job: TranscriptionJob) -> dict[str, Any]:
    """A job without its result."""
    told = {"reason": job.error_reason, "message": job.error_message}
    is_put_off = job.state == JobState.QUEUED and job.error_reason
    return {
        "object": "transcription.job",
        "id": job.pk,
        "status": job.state,
        "progress": job.progress,
        "duration": None if job.duration_ms is None else job.duration_ms / 1_000,
        "cost_usd": usd(job.cost_nano),
        "cost_nano_usd": job.cost_nano,
        "error": told if job.state == JobState.FAILED else None,
        "waiting": told | {"nextTryAt": _moment_or_none(job.lease_ends_at)} if is_put_off else None,
        "createdAt": moment(job.created_at),
        "finishedAt": _moment_or_none(job.finished_at),
        "expiresAt": moment(job.expires_at),
    }


def _moment_or_none(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def _result(job: TranscriptionJob, result: dict[str, Any] | None) -> Any:
    """As the call asked for it: an object, or the transcript as a text. Amounts stay exact numbers."""
    if result is None:
        return None
    wanted = job.options.get("format", "json")
    if wanted != "json":
        return written(msgspec.convert(result["transcript"], Transcript), wanted)[0]
    answer = result["answer"]
    return {**answer, "cost_usd": usd(answer["cost_nano_usd"])}
