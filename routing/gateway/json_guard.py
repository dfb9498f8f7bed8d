"""Reading a request body as a JSON object, and refusing what JSON parsers disagree about or choke on.

Everything is counted on the raw bytes by C-speed calls before the parser runs: a body of 20 MiB must not
become ten million objects, nor 10,000 brackets ten thousand stack frames. A backslash is legal inside strings
only, so with the escapes gone the pieces between quotes are, in turn, structure and text; the structure alone
gives numbers, depth and the count of keys. A duplicate key shows as more keys in the text than in the result.
"""

import json
import re
from collections import Counter
from itertools import accumulate
from typing import Any, NoReturn

import orjson

from komilion.common.errors import BadRequest
from komilion.common.numbers import numbers

NUMBER_DIGITS_LIMIT = 29
LEAST_INTEGER = -(2**63)
MOST_INTEGER = 2**64 - 1
KEY_SHOWN_CHARACTERS = 60

LONG_NUMBER = re.compile(rb"[0-9]{19}")
NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
NOT_A_NUMBER = re.compile(rb"NaN|[+-]?Infinity|\b[+-]?(?:nan|inf)\b")
BYTES_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises `BadRequest` that names the trouble; never anything else.

    Refused: what is no JSON (with its position) or no object, NaN and Infinity, numbers of 30 digits or more
    and integers beyond 64 bits (which the parser would round), nesting and token counts above the settings'
    limits, duplicate keys, lone surrogates, bytes that are not UTF-8, a byte order mark.
    """
    structure = _structure(body)
    _check_depth(structure)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_malformed(body, structure, error)
    if type(document) is not dict:
        raise BadRequest("The request body must be a JSON object.")
    if LONG_NUMBER.search(structure) is not None:
        _check_numbers(structure)
    if structure.count(b":") != _keys(document):
        _refuse_duplicate(body)
    return document


def _structure(body: bytes) -> bytes:
    """The body without its strings. Raises `BadRequest` when there are more tokens than allowed.

    A token is a string, or one of the marks `[ { , :`; every other value follows one of these.
    """
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    strings = bare.count(b'"') >> 1
    limit = numbers.JSON_TOKENS_LIMIT
    if strings <= limit:
        structure = b"".join(bare.split(b'"')[::2])
        if len(structure) <= limit - strings:  # nearly always, and then there is nothing to count
            return structure
        count = structure.count
        if strings + count(b",") + count(b":") + count(b"[") + count(b"{") <= limit:
            return structure
    raise BadRequest(f"The request body holds more than {limit:,} JSON tokens.")


def _check_depth(structure: bytes) -> None:
    limit = numbers.JSON_DEPTH_LIMIT
    if structure.count(b"[") + structure.count(b"{") > limit:
        brackets = structure.translate(None, BYTES_BUT_BRACKETS)
        if max(accumulate(map(STEP.__getitem__, brackets))) > limit:
            raise BadRequest(f"The request body is nested more than {limit} levels deep.")


def _check_numbers(structure: bytes) -> None:
    for number in NUMBER.finditer(structure):
        text = number.group()
        if sum(map(text.count, b"0123456789")) > NUMBER_DIGITS_LIMIT:
            raise BadRequest("The request body holds a number of 30 digits or more.")
        is_integer = number.group(1) is None and number.group(2) is None
        if is_integer and not LEAST_INTEGER <= int(text) <= MOST_INTEGER:
            raise BadRequest(f"The request body holds an integer beyond 64 bits: {text.decode()}.")


def _keys(document: dict[str, Any]) -> int:
    """How many keys the document has at all levels."""
    count = 0
    containers: list[Any] = [document]
    while containers:
        node = containers.pop()
        if type(node) is dict:
            count += len(node)
            node = node.values()
        containers += [child for child in node if type(child) is dict or type(child) is list]
    return count


def _refuse_malformed(body: bytes, structure: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    """Say what is wrong in words for the usual mistakes, else in the parser's."""
    if not body:
        raise BadRequest("The request body is empty; a JSON object is expected.") from None
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadRequest("The request body must not begin with a byte order mark.") from None
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        raise BadRequest(f"The request body is not valid UTF-8: byte {wrong.start}.") from None
    if NOT_A_NUMBER.search(structure) is not None:
        raise BadRequest("The request body holds NaN or Infinity, which JSON does not have.") from None
    raise BadRequest(f"The request body is not valid JSON: {error}.") from None


def _refuse_duplicate(body: bytes) -> NoReturn:
    """Find the name by a second, slower parse; the request is refused anyway."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names = Counter(name for name, _ in pairs)
        twice.extend(name for name, times in names.items() if times > 1)

    json.loads(body, object_pairs_hook=note)
    shown = json.dumps(twice[0][:KEY_SHOWN_CHARACTERS])
    raise BadRequest(f"The request body has the key {shown} twice in one object.")
