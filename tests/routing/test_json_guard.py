"""Bodies that a JSON parser would choke on, round or read in two ways are refused, and the trouble is named."""

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from komilion.common.errors import BadRequest
from routing.gateway.json_guard import parse_object


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        (b"   ", "not valid JSON: .*line 1"),
        (b'{"a": 1,}', "not valid JSON: .*column 8"),
        (b'{"a"', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 01}', "not valid JSON"),
        (b'{"a": 1e400}', "not valid JSON: .*infinity"),
        (b'{"a": "\x00"}', "not valid JSON: .*control character"),
        (b'{"a": "\\ud800"}', "not valid JSON: .*surrogate"),
        (b'{"a": NaN}', "NaN or Infinity"),
        (b'{"a": -Infinity}', "NaN or Infinity"),
        (b'{"a": [nan]}', "NaN or Infinity"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xff"}', "not valid UTF-8: byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"a": 123456789012345678901234567890}', "30 digits"),
        (b'{"a": 0.123456789012345678901234567890}', "30 digits"),
        (b'{"a": 18446744073709551616}', "beyond 64 bits: 18446744073709551616"),
        (b'{"a": -9223372036854775809}', "beyond 64 bits"),
        (b'{"a": 1, "a": 1}', 'the key "a" twice'),
        (b'{"a": {"b": [{"c": 1, "d": 2, "c": 3}]}}', 'the key "c" twice'),
        (b'{"a": 1, "\\u0061": 2}', 'the key "a" twice'),
        (b'{"a\\\\": 1, "a\\\\": 2}', "twice"),
        (b'{"' + b"x" * 100 + b'": 1, "' + b"x" * 100 + b'": 1}', '"x{60}"'),
        (b"[" * 10_000, "more than 200 levels"),
        (b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, "more than 200 levels"),
        (b"[" * 201 + b"]" * 201, "more than 200 levels"),
    ],
    ids=range(30),
)
def test_trouble_is_named(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b"{}", {}),
        (b' {"a" : [ ] } \n', {"a": []}),
        (b'{"a": "NaN \\" : {[ \\\\"}', {"a": 'NaN " : {[ \\'}),
        (b'{"a": "\\u0000"}', {"a": "\x00"}),
        (b'{"a": 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a": 0.1234567890123456789}', {"a": 0.12345678901234568}),
        (b'{"a": 12345678901234567890e2}', {"a": 1.234567890123456789e21}),
        (b'{"a": "123456789012345678901234567890"}', {"a": "123456789012345678901234567890"}),
        (b'{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}),
        (b'{"a": ' + b"[" * 199 + b"]" * 199 + b"}", None),
        (b'{"a": [' + b"[]," * 500 + b"1]}", None),
    ],
    ids=range(11),
)
def test_sound_bodies_are_read(body: bytes, document: Any) -> None:
    assert parse_object(body) == (orjson.loads(body) if document is None else document)


def test_tokens_are_counted_before_parsing(settings: Settings) -> None:
    settings.JSON_TOKENS_LIMIT = 10

    assert parse_object(b'{"a": "' + b",:[{" * 100 + b'"}')
    assert parse_object(b'{"a":                      1}')
    for body in (b'{"a": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}', b'{"a": "b", ' * 20, b'""' * 11, b"[[[[[[[[[[["):
        with pytest.raises(BadRequest, match="more than 10 JSON tokens"):
            parse_object(body)


def test_a_long_prompt_is_no_trouble() -> None:
    prompt = 'He said "no",\n\tand left: \\ {[\u00e9]} ' * 100_000

    assert parse_object(json.dumps({"prompt": prompt}).encode()) == {"prompt": prompt}


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
documents = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=15,
    ),
    max_size=5,
)
styles = st.sampled_from([{}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"indent": 1}])


@hypothesis_settings(deadline=None)
@given(documents, styles)
def test_what_both_parsers_read_alike_is_accepted(document: dict[str, Any], style: dict[str, Any]) -> None:
    body = json.dumps(document, **style).encode()
    assert parse_object(body) == document


@hypothesis_settings(deadline=None)
@given(documents, documents, st.text(max_size=5), styles)
def test_a_duplicate_key_at_any_depth_is_refused(
    inner: dict[str, Any], outer: dict[str, Any], key: str, style: dict[str, Any]
) -> None:
    name = json.dumps(key, **style)
    twice = json.dumps({**inner, key: 1}, **style)[:-1].rstrip() + f", {name}: 2}}"
    body = json.dumps({**outer, "placed": "here"}, **style).replace('"here"', twice)

    with pytest.raises(BadRequest, match="twice"):
        parse_object(body.encode())


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]:,"\\au0d8 1.e-NIn', max_size=40).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_request(body: bytes) -> None:
    try:
        document = parse_object(body)
    except BadRequest as refused:
        assert refused.message  # noqa: PT017 - either outcome is right
    else:
        assert document == json.loads(body)
        assert not any(isinstance(v, float) and math.isnan(v) for v in document.values())
