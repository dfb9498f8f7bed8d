"""`multipart/form-data` (RFC 7578) as a form of texts and one file; written by anyone, so with limits on everything."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from komilion.common.errors import BadRequest

MOST_PARTS = 64
FIELD_LIMIT_BYTES = 64 * 2**10
TYPE_CHARACTERS = 100
NAMELESS = (
    *("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"),
    *("application/ogg", "application/mp4"),
)


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form. `name` is what its sender calls it, unchecked; `extension` says what of its kind."""

    content_type: str
    extension: str
    data: bytes
    name: str = ""


@dataclass(slots=True)
class Form:
    """The texts by name, in their order, and the files by name."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, FormFile] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """One text; empty where there is none. Raises `BadRequest` where there are several."""
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise BadRequest(f"{name} may be given only once.", param=name)
        return values[0] if values else ""


def is_form(content_type: str) -> bool:
    """Whether a Content-Type says that the body is such a form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def is_audio(content_type: str) -> bool:
    """Whether a Content-Type may stand for audio. What says nothing may: curl calls any body a form unless told."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in NAMELESS or (kind.startswith(("audio/", "video/")) and not kind.endswith("+xml"))


def parse_form(content_type: str, body: bytes) -> Form:
    """The form in `body`. Raises `BadRequest` for what is malformed, cut off or above a limit."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequest("The Content-Type of a form must name its boundary.")
    reader = _Reader(body)
    try:
        parser = MultipartParser(boundary, reader.callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise BadRequest("The request body is no well-formed multipart form.") from None
    if not reader.is_whole:
        raise BadRequest("The multipart form is cut off: its last boundary is missing.")
    return reader.form


class _Reader:
    """Puts together what the parser calls out; the whole body is parsed in one go, so places in it are kept."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.form = Form()
        self.is_whole = False
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header = [b"", b""]
        self._pieces: list[tuple[int, int]] = []
        self.callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadRequest(f"A form may have {MOST_PARTS} parts at most.")
        self._headers, self._pieces = {}, []

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = [b"", b""]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._pieces and self._pieces[-1][1] == start:
            self._pieces[-1] = (self._pieces[-1][0], end)
        else:
            self._pieces.append((start, end))

    def _end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not name:
            raise BadRequest("Every part of a form needs a name.")
        content = b"".join(self._body[start:end] for start, end in self._pieces)
        if b"filename" not in options:
            self._add_text(name, content)
            return
        if name in self.form.files:
            raise BadRequest(f"{name} may be given only once.", param=name)
        content_type = self._headers.get(b"content-type", b"").decode("latin-1")[:TYPE_CHARACTERS].lower()
        called = options[b"filename"].decode("utf-8", "replace")
        extension = called.rpartition(".")[2][:TYPE_CHARACTERS].lower()
        self.form.files[name] = FormFile(content_type, extension, content, called)

    def _add_text(self, name: str, content: bytes) -> None:
        if len(content) > FIELD_LIMIT_BYTES:
            raise BadRequest(f"{name[:TYPE_CHARACTERS]} is longer than {FIELD_LIMIT_BYTES:,} bytes.")
        try:
            self.form.fields.setdefault(name, []).append(content.decode())
        except UnicodeDecodeError:
            raise BadRequest(f"{name[:TYPE_CHARACTERS]} is no UTF-8 text.") from None

    def _finish(self) -> None:
        self.is_whole = True
