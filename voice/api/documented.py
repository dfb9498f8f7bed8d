"""What the OpenAPI document says of uploads and jobs."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.api.documented import (
    MOMENT,
    READ,
    READ_ONE,
    TEXT,
    WRITE,
    JsonSchema,
    answer,
    errors,
    money,
    nullable,
    ref,
    thing,
)
from billing.api.documented import operation

BYTES: JsonSchema = {"type": "integer", "minimum": 0}
ENDS: dict[str, JsonSchema] = {
    "expiresAt": {**MOMENT, "description": "until when `uploadUrl` may be used"},
    "keptUntil": {**MOMENT, "description": "when the file is deleted"},
}
TICKET: JsonSchema = thing(
    {
        "uploadUrl": {**TEXT, "description": "where the file is put, without a key"},
        "audioKey": {**TEXT, "description": "what transcribe-meeting takes"},
        **ENDS,
        "maxBytes": BYTES,
        "method": {"type": "string", "const": "PUT"},
        "headers": {"type": "object", "additionalProperties": TEXT, "description": "to be sent with the file"},
    }
)
UPLOAD: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "upload"},
        "audioKey": TEXT,
        "filename": TEXT,
        "contentType": TEXT,
        "receivedBytes": BYTES,
        "complete": {"type": "boolean"},
        "createdAt": MOMENT,
        **ENDS,
    }
)
DELETED_UPLOAD: JsonSchema = thing(
    {"object": {"type": "string", "const": "upload"}, "audioKey": TEXT, "deleted": {"type": "boolean", "const": True}}
)
FAULT: JsonSchema = thing({"reason": TEXT, "message": TEXT})
WAITING: JsonSchema = thing({"reason": TEXT, "message": TEXT, "nextTryAt": nullable(MOMENT)})
JOB_FIELDS: dict[str, JsonSchema] = {
    "object": {"type": "string", "const": "transcription.job"},
    "id": TEXT,
    "status": {"type": "string", "enum": ["queued", "running", "completed", "failed", "canceled"]},
    "progress": {"type": "integer", "minimum": 0, "maximum": 100, "description": "percent"},
    "duration": {**nullable({"type": "number"}), "description": "seconds of audio, once they are known"},
    **money("cost"),
    "error": {**nullable(FAULT), "description": "why it failed"},
    "waiting": {**nullable(WAITING), "description": "why a queued one was put off, and when it is tried again"},
    "createdAt": MOMENT,
    "finishedAt": nullable(MOMENT),
    "expiresAt": {**MOMENT, "description": "when the job goes, with its transcript"},
}
JOB: JsonSchema = thing(JOB_FIELDS)
RESULT: JsonSchema = {
    "description": "what transcribe-meeting would have answered: an object, a text where `format` was one; null before",
    "type": ["object", "string", "null"],
}
DELETED_JOB: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "transcription.job"},
        "id": TEXT,
        "deleted": {"type": "boolean"},
        "canceled": {"type": "boolean"},
    }
)
COMPONENTS = {
    "UploadTicket": TICKET,
    "Upload": UPLOAD,
    "TranscriptionJob": JOB,
    "TranscriptionResult": thing({**JOB_FIELDS, "result": RESULT}),
}

KEY_EXAMPLE = "aud_Uf1b3oD0ZQm8yqkq0Yd7cW2m1xF5sJ9R"
TICKET_EXAMPLE: dict[str, Any] = {
    "uploadUrl": f"https://api.example.com/api/voice/audio/{KEY_EXAMPLE}:1tZk2a:signature",
    "audioKey": KEY_EXAMPLE,
    "expiresAt": "2026-03-01T15:00:00Z",
    "keptUntil": "2026-03-02T09:00:00Z",
    "maxBytes": 500_000_000,
    "method": "PUT",
    "headers": {"Content-Type": "audio/mpeg"},
}
UPLOAD_EXAMPLE: dict[str, Any] = {
    "object": "upload",
    "audioKey": KEY_EXAMPLE,
    "filename": "monday.mp3",
    "contentType": "audio/mpeg",
    "receivedBytes": 4_823_001,
    "complete": True,
    "createdAt": "2026-03-01T09:00:00Z",
    "expiresAt": "2026-03-01T15:00:00Z",
    "keptUntil": "2026-03-02T09:00:00Z",
}

MAKE_UPLOAD = operation(
    "make_upload",
    "voice",
    "Ask where to put a file",
    "For audio of up to `maxBytes`. Send the file to `uploadUrl` with `method` and `headers`; name it by `audioKey`.",
    {201: answer(ref("UploadTicket"), "The ticket.", TICKET_EXAMPLE), **errors(*WRITE)},
) | {
    "examples": [
        OpenApiExample("request", value={"filename": "monday.mp3", "contentType": "audio/mpeg"}, request_only=True)
    ]
}
SEE_UPLOAD = operation(
    "see_upload",
    "voice",
    "See how far an upload is",
    "`complete` once every byte is there.",
    {200: answer(ref("Upload"), "The upload.", UPLOAD_EXAMPLE), **errors(*READ_ONE)},
)
LIST_UPLOADS = operation(
    "list_uploads",
    "voice",
    "List uploads",
    "The newest first, with the recordings that came in the form that asked for a job. A key that manages no others"
    " sees its own.",
    {
        200: answer(
            thing({"data": {"type": "array", "items": ref("Upload")}}), "The uploads.", {"data": [UPLOAD_EXAMPLE]}
        ),
        **errors(*READ),
    },
)
DELETE_UPLOAD = operation(
    "delete_upload",
    "voice",
    "Delete an upload",
    "At once; otherwise it is deleted a day after it was asked for. 409 while a job reads it.",
    {
        200: answer(DELETED_UPLOAD, "It is gone.", {"object": "upload", "audioKey": KEY_EXAMPLE, "deleted": True}),
        **errors(*READ_ONE, 409),
    },
)

JOB_EXAMPLE: dict[str, Any] = {
    "object": "transcription.job",
    "id": "job-019aa9c5d21a57c2c22f3267425473",
    "status": "completed",
    "progress": 100,
    "duration": 1_834.5,
    "cost_usd": 0.2752,
    "cost_nano_usd": 275_200_000,
    "error": None,
    "waiting": None,
    "createdAt": "2026-03-01T09:00:00Z",
    "finishedAt": "2026-03-01T09:01:10Z",
    "expiresAt": "2026-03-31T09:00:00Z",
}
LIST_JOBS = operation(
    "list_jobs",
    "voice",
    "List transcription jobs",
    "The newest first, without their results. A key that manages no others sees its own.",
    {
        200: answer(
            thing({"data": {"type": "array", "items": ref("TranscriptionJob")}}), "The jobs.", {"data": [JOB_EXAMPLE]}
        ),
        **errors(*READ),
    },
)
SEE_JOB = operation(
    "see_job",
    "voice",
    "See a transcription job",
    "How far it is, and its result. With `format` the transcript itself; 409 while there is none.",
    {
        200: answer(
            ref("TranscriptionResult"),
            "The job.",
            {**JOB_EXAMPLE, "result": {"text": "Good morning.", "utterances": []}},
        ),
        **errors(*READ_ONE, 409),
    },
)
DELETE_JOB = operation(
    "delete_job",
    "voice",
    "Cancel or delete a transcription job",
    "An open job is canceled; what was heard, or is being heard, is charged. One that ended is deleted with everything"
    " that was said and its recording, unless another job was made from that too. 409 while a part of a canceled one is"
    " being heard.",
    {
        200: answer(
            DELETED_JOB,
            "It is canceled, or gone.",
            {"object": "transcription.job", "id": JOB_EXAMPLE["id"], "deleted": True, "canceled": False},
        ),
        **errors(*READ_ONE, 409),
    },
)
