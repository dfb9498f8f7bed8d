"""What every store of uploads says: where a file is to be put, and that it is not there."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from komilion.common.errors import BadRequest, KomilionError, NotFound
from voice.models import Upload, UploadState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file is put, by PUT and with these headers."""

    url: str
    headers: Mapping[str, str]


def not_there(upload: Upload) -> KomilionError:
    """Why the file of an upload cannot be read: nobody sent all of it yet, or it came and we have lost it.

    The latter is `NotFound` and an alarm: a restored database whose files were not restored with it.
    """
    if upload.state != UploadState.RECEIVED:
        return BadRequest("The file of this audioKey was not uploaded (to its end) yet.", param="audioKey")
    log.error("the file of an upload is gone", extra={"alarm": "upload_missing", "upload": upload.pk})
    return recording_gone()


def recording_gone() -> KomilionError:
    """It came, and is not here any more."""
    message = "This recording came whole, but its file is gone on our side, through no mistake of yours; send it again."
    return NotFound(message, param="audioKey")
