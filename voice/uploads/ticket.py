"""The signed address of an upload: who has it may send this one file until it is over, and needs no key for that."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner

from komilion.common.errors import Forbidden, NotFound

PATH = "/api/voice/audio/"
SALT = "komilion.voice.upload"


def url_ends_at(created_at: datetime) -> datetime:
    """Until when the address of an upload that was made then may be used; it counts whole seconds."""
    return created_at.replace(microsecond=0) + timedelta(seconds=settings.VOICE_UPLOAD_URL_LIFETIME_S)


def upload_url(key: str) -> str:
    """Where the file is put, for `VOICE_UPLOAD_URL_LIFETIME_S` from now."""
    return f"{settings.PUBLIC_URL}{PATH}{_signer().sign(key)}"


def read_ticket(path: str) -> str:
    """The key behind the path of such an address. Raises `NotFound`, `Forbidden` once it is over."""
    try:
        return _signer().unsign(path.removeprefix(PATH), max_age=settings.VOICE_UPLOAD_URL_LIFETIME_S)
    except SignatureExpired:
        raise Forbidden("This upload URL is over; ask for another one at POST /api/voice/upload.") from None
    except BadSignature:
        raise NotFound("This is no upload URL of ours.") from None


def _signer() -> TimestampSigner:
    return TimestampSigner(salt=SALT)
