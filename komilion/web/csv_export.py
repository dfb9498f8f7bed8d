"""Tables as CSV (RFC 4180), sent in parts, that a spreadsheet does not run as formulas."""

import csv
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from io import StringIO
from itertools import batched

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

# A spreadsheet would calculate what begins so, also behind white space and signs that nobody sees (controls, zero
# width, direction, byte order mark), which some programs drop; a tab or a return begins another cell in some.
UNSEEN = r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
FORMULA = re.compile(rf"{UNSEEN}*[=+\-@]|[\t\r]")
ROWS_AT_ONCE = 500


def cell(text: str) -> str:
    """The text as it may stand in a cell: an apostrophe goes before what a spreadsheet would take for a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def csv_response(request: HttpRequest, name: str, rows: Iterable[Sequence[str]]) -> StreamingHttpResponse:
    """A download called `name`; `rows` are read while it is sent and include the header."""
    parts = _parts(rows)
    response = StreamingHttpResponse(
        _in_a_thread(parts) if isinstance(request, ASGIRequest) else parts,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _parts(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    for some in batched(rows, ROWS_AT_ONCE):
        text = StringIO()
        csv.writer(text).writerows(some)
        yield text.getvalue().encode()


async def _in_a_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The database is read in the request's own thread; given a plain iterator, Django would gather it whole."""
    read = sync_to_async(lambda: next(parts, None))
    while (part := await read()) is not None:
        yield part
