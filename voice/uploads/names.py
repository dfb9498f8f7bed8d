"""What an upload may be called and what it may be: words of strangers, checked before anything is made of them."""

import re

from komilion.common.errors import BadRequest, Unprocessable, UnsupportedMediaType
from komilion.common.names import hidden_characters

NAME_MOST_CHARACTERS = 200
KEY = re.compile(r"aud_[A-Za-z0-9_-]{32}")
CONTENT_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]*(;[a-z0-9-]+=\"?[a-z0-9.,+-]+\"?)*")
CONTENT_TYPE_MOST_CHARACTERS = 100
OTHER_TYPE = "application/octet-stream"
PLAYED = {
    *("audio/aac", "audio/flac", "audio/m4a", "audio/mp3", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/opus"),
    *("audio/wav", "audio/wave", "audio/webm", "audio/x-flac", "audio/x-m4a", "audio/x-wav", "application/ogg"),
    *("application/mp4", "video/mp4", "video/mpeg", "video/ogg", "video/quicktime", "video/webm"),
}
CONTAINERS = {"application/ogg", "application/mp4", "application/x-matroska"}  # others begin with audio/ or video/


def clean_name(name: str) -> str:
    """A file's name without its path, for people to read. Raises `Unprocessable` for what is more than a name."""
    name = name.strip()
    if not name or len(name) > NAME_MOST_CHARACTERS:
        message = f"filename must have 1 to {NAME_MOST_CHARACTERS} characters."
        raise Unprocessable(message, param="filename")
    if "/" in name or "\\" in name or name.startswith("..") or name == ".":
        message = "filename must be the name of a file alone, without folders and without '..' at its beginning."
        raise Unprocessable(message, param="filename")
    if hidden_characters(name):
        raise Unprocessable("filename holds characters that cannot be seen.", param="filename")
    return name


def kept_name(name: str, otherwise: str) -> str:
    """What a part of a form calls its file, without the folders that some senders name too; `otherwise` where that is
    no name to be shown.
    """
    try:
        return clean_name(re.split(r"[/\\]", name)[-1])
    except Unprocessable:
        return otherwise


def media_type(text: str) -> str:
    """A media type as it is compared: lower case, no blanks, with its parameters."""
    return re.sub(r"\s", "", text).lower()


def clean_content_type(text: str) -> str:
    """The media type of sound. Raises `Unprocessable` for a text that is none, `UnsupportedMediaType` for others."""
    kind = media_type(text)
    if len(kind) > CONTENT_TYPE_MOST_CHARACTERS or not CONTENT_TYPE.fullmatch(kind):
        raise Unprocessable("contentType must be a media type such as audio/mpeg.", param="contentType")
    bare = kind.partition(";")[0]
    if (not bare.startswith(("audio/", "video/")) and bare not in CONTAINERS) or "+" in bare:  # +xml: a document
        message = f"{bare} is no sound; contentType must begin with audio/ or video/."
        raise UnsupportedMediaType(message, param="contentType")
    return kind


def kept_content_type(text: str) -> str:
    """What a part of a form says of itself, where that is a media type of sound; else that of bytes."""
    try:
        return clean_content_type(text)
    except (Unprocessable, UnsupportedMediaType):
        return OTHER_TYPE


def played_content_type(kind: str) -> str:
    """As what a browser is given a file: one of `PLAYED`, or bytes, but never a document of a stranger's."""
    bare = kind.partition(";")[0]
    return bare if bare in PLAYED else OTHER_TYPE


def clean_key(key: object, *, param: str = "audioKey") -> str:
    """A key of the shape that we give out. Raises `BadRequest`."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise BadRequest(f"{param} must be a key that POST /api/voice/upload gave.", param=param)
    return key
