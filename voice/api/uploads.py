"""`/api/voice/upload`: tickets for files of audio; the file itself goes where a ticket says."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.authentication import WITH_TOKENS
from accounts.api.base import Api, Strict
from komilion.common.errors import Unprocessable
from voice.access import access_upload, must_speak
from voice.actions.uploads import NewUpload, do_delete_upload, do_make_upload
from voice.api import documented
from voice.api.base import moment
from voice.models import Upload, UploadState
from voice.queries import UPLOADS_LISTED, uploads_of
from voice.uploads.names import clean_content_type, clean_name
from voice.uploads.store import store
from voice.uploads.ticket import url_ends_at

MOST_SIZE = 2**62


class UploadRequest(Strict):
    """A file that will be sent."""

    filename = serializers.CharField(max_length=500, trim_whitespace=False, help_text="its name, for display alone")
    contentType = serializers.CharField(max_length=200, help_text="its media type, such as `audio/mpeg`")
    size = serializers.IntegerField(
        required=False, min_value=1, max_value=MOST_SIZE, help_text="its bytes; needed where files go to a bucket"
    )


class UploadsQuery(serializers.Serializer[Any]):
    """How many."""

    limit = serializers.IntegerField(
        required=False, min_value=1, max_value=UPLOADS_LISTED, default=20, help_text="most uploads of the answer"
    )


class UploadsView(Api):
    """Tickets."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.MAKE_UPLOAD, request=UploadRequest)
    def post(self, request: Request) -> Response:
        """Make one."""
        asker = self.asker
        must_speak(asker)
        body = self.body(UploadRequest)
        where = store()
        if where.needs_size and "size" not in body:
            raise Unprocessable("size is needed here: the bytes of the file.", param="size")
        upload = do_make_upload(
            NewUpload(
                organization_id=asker.organization_id,
                member_id=asker.membership_id,
                key_id=None if asker.key is None else asker.key.pk,
                name=clean_name(body["filename"]),
                content_type=clean_content_type(body["contentType"]),
                size_bytes=body.get("size"),
            )
        )
        return Response(_ticket(upload), status=201)


class UploadListView(Api):
    """What is there."""

    authentication_classes = WITH_TOKENS
    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": UploadsQuery}

    @extend_schema(**documented.LIST_UPLOADS, parameters=[UploadsQuery])
    def get(self, request: Request) -> Response:
        """The newest first, as far as they were at the end of the last request that sent them."""
        found = uploads_of(self.asker, self.parameters["limit"])
        return Response({"data": [_upload_json(upload, upload.received_bytes) for upload in found]})


class UploadView(Api):
    """One upload."""

    authentication_classes = WITH_TOKENS

    @extend_schema(**documented.SEE_UPLOAD)
    def get(self, request: Request, audio_key: str) -> Response:
        """How far it is."""
        upload = access_upload(self.asker.organization_id, audio_key)
        whole = upload.state == UploadState.RECEIVED
        return Response(_upload_json(upload, upload.received_bytes if whole else store().received_bytes(upload)))

    @extend_schema(**documented.DELETE_UPLOAD)
    def delete(self, request: Request, audio_key: str) -> Response:
        """Delete it at once."""
        must_speak(self.asker)
        do_delete_upload(self.asker.organization_id, audio_key)
        return Response({"object": "upload", "audioKey": audio_key, "deleted": True})


def _ticket(upload: Upload) -> dict[str, Any]:
    target = store().target(upload)
    return {
        "uploadUrl": target.url,
        "audioKey": upload.key,
        **_ends(upload),
        "maxBytes": settings.VOICE_UPLOAD_LIMIT_BYTES,
        "method": "PUT",
        "headers": dict(target.headers),
    }


def _upload_json(upload: Upload, received_bytes: int) -> dict[str, Any]:
    return {
        "object": "upload",
        "audioKey": upload.key,
        "filename": upload.name,
        "contentType": upload.content_type,
        "receivedBytes": received_bytes,
        "complete": upload.state == UploadState.RECEIVED,
        "createdAt": moment(upload.created_at),
        **_ends(upload),
    }


def _ends(upload: Upload) -> dict[str, str]:
    """Until when it may be sent, and until when it is there."""
    return {"expiresAt": moment(url_ends_at(upload.created_at)), "keptUntil": moment(upload.expires_at)}
