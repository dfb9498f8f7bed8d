"""What the OpenAPI document says of uploads and jobs."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.api.documented import (
    MOMENT,
    READ_ONE,
    TEXT,
    WRITE,
    JsonSchema,
    answer,
    errors,
    ref,
    thing,
)
from billing.api.documented import operation

BYTES: JsonSchema = {"type": "integer", "minimum": 0}
TICKET: JsonSchema = thing(
    {
        "uploadUrl": {**TEXT, "description": "where the file is put; valid for six hours, without a key"},
        "audioKey": {**TEXT, "description": "what transcribe-meeting takes"},
        "expiresAt": {**MOMENT, "description": "when the file is deleted"},
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
        "expiresAt": MOMENT,
    }
)
DELETED_UPLOAD: JsonSchema = thing(
    {"object": {"type": "string", "const": "upload"}, "audioKey": TEXT, "deleted": {"type": "boolean", "const": True}}
)
COMPONENTS = {"UploadTicket": TICKET, "Upload": UPLOAD}

KEY_EXAMPLE = "aud_Uf1b3oD0ZQm8yqkq0Yd7cW2m1xF5sJ9R"
TICKET_EXAMPLE: dict[str, Any] = {
    "uploadUrl": f"https://api.example.com/api/voice/audio/{KEY_EXAMPLE}:1tZk2a:signature",
    "audioKey": KEY_EXAMPLE,
    "expiresAt": "2026-03-02T09:00:00Z",
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
    "expiresAt": "2026-03-02T09:00:00Z",
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
