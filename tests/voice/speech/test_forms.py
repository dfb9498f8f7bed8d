"""Multipart forms of strangers: what is well-formed is read, everything else is told; none takes long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komilion.common.errors import BadRequest
from tests.voice.speech.stand import form
from voice.speech.forms import is_form, parse_form

TYPE = "multipart/form-data; boundary=b0undary"


def test_texts_and_a_file_are_read() -> None:
    body, content_type = form({"model": "nova", "g[]": ["word", "segment"]}, {"file": ("Möte.WAV", b"\r\n--b0\x00")})
    found = parse_form(content_type, body)
    assert found.fields == {"model": ["nova"], "g[]": ["word", "segment"]}
    assert found.text("model") == "nova"
    assert found.text("nothing") == ""
    assert found.files["file"].data == b"\r\n--b0\x00"
    assert (found.files["file"].extension, found.files["file"].content_type) == ("wav", "audio/wav")


def test_a_name_may_be_quoted_or_foreign() -> None:
    body = b'--b0undary\r\nContent-Disposition: form-data; name="a\\"b\xc3\xb6"\r\n\r\nx\r\n--b0undary--\r\n'
    assert parse_form(TYPE, body).fields == {'a"bö': ["x"]}


def test_a_boundary_may_be_quoted() -> None:
    body, _ = form({"a": "b"}, {})
    assert parse_form('multipart/form-data; charset=utf-8; boundary="b0undary"', body).text("a") == "b"


@pytest.mark.parametrize(
    "body",
    [
        b'--b0undary\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b0undary--\r\n',
        b'--b0undary\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--b0undary--\r\n',
        b"--b0undary\r\n\r\nx\r\n--b0undary--\r\n",
        b"--b0undary\r\n" + b"X: y\r\n" * 500 + b"\r\nx\r\n--b0undary--\r\n",
        b"--b0undary\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--b0undary--\r\n",
        form({}, {"f": ("a", b"x")})[0].removesuffix(b"--\r\n") + b"\r\n" + form({}, {"f": ("a", b"x")})[0],
    ],
    ids=["no UTF-8", "no form data", "no name", "many headers", "a long header", "a file twice"],
)
def test_what_is_malformed_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_form(TYPE, body)


def test_a_boundary_without_end_is_refused() -> None:
    with pytest.raises(BadRequest):
        parse_form(f"multipart/form-data; boundary={'x' * 500}", b"")


@pytest.mark.parametrize("filling", [b"\r", b"\r\n--b0undar", b"\n", b"--", b"\r\n--"])
def test_bytes_that_look_like_a_boundary_take_no_more_than_moments(filling: bytes) -> None:
    body, content_type = form({}, {"file": ("a.wav", filling * (4 * 2**20 // len(filling)))})
    started = time.process_time()
    parse_form(content_type, body)
    assert time.process_time() - started < 5


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    for data in (body, b"--b0undary\r\n" + body, form({"a": "b"}, {"file": ("x", body)})[0]):
        try:
            parse_form(TYPE, data)
        except BadRequest:
            continue


@given(st.binary(max_size=200))
def test_a_file_comes_back_byte_by_byte(data: bytes) -> None:
    body, content_type = form({"a": "b"}, {"file": ("x.mp3", data)})
    if b"\r\n--b0undary" not in data + b"\r\n":
        assert parse_form(content_type, body).files["file"].data == data


def test_only_forms_are_forms() -> None:
    assert is_form("Multipart/Form-Data; boundary=x")
    assert not is_form("application/json")
