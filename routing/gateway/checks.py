"""Small checks of request values: functions of a value and its field's name that pass or raise `BadRequest`.

Types are compared exactly: a JSON `true` is an int to Python, and must not pass for a number.
"""

from collections.abc import Callable
from typing import Any

from komilion.common.errors import BadRequest

type Check = Callable[[Any, str], None]


def wrong(param: str, expected: str) -> BadRequest:
    """The error for a field that is not what it must be; `param` is its path, e.g. `messages[2].role`."""
    return BadRequest(f"`{param}` must be {expected}.", param=param)


def missing(param: str) -> BadRequest:
    """The error for a field that has to be there."""
    return BadRequest(f"`{param}` is required.", param=param)


def anything(_value: Any, _name: str) -> None:
    """For what is dropped unread."""


def boolean(value: Any, name: str) -> None:
    """True or false."""
    if value is not True and value is not False:
        raise wrong(name, "true or false")


def mapping(value: Any, name: str) -> None:
    """Any object."""
    if type(value) is not dict:
        raise wrong(name, "an object")


def inner(parent: dict[str, Any], field: str, where: str) -> dict[str, Any]:
    """The object in a field of the object at `where`. Raises `BadRequest` where it is none."""
    value = parent.get(field)
    if type(value) is not dict:
        raise wrong(f"{where}.{field}", "an object")
    return value


def array(value: Any, name: str) -> None:
    """Any list."""
    if type(value) is not list:
        raise wrong(name, "a list")


def number(least: float, most: float) -> Check:
    """An integer or a float within the bounds."""

    def check(value: Any, name: str) -> None:
        kind = type(value)
        if (kind is not float and kind is not int) or not least <= value <= most:
            raise wrong(name, f"a number from {least:g} to {most:g}")

    return check


def integer(least: int, most: int) -> Check:
    """An integer within the bounds."""

    def check(value: Any, name: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise wrong(name, f"an integer from {least} to {most}")

    return check


def text(most_characters: int, least_characters: int = 1) -> Check:
    """A string of limited length without control characters: one that may be stored and shown."""
    expected = f"a string of {least_characters} to {most_characters} characters without control characters"

    def check(value: Any, name: str) -> None:
        if type(value) is not str or not least_characters <= len(value) <= most_characters:
            raise wrong(name, expected)
        if not value.isprintable() and any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in value):
            raise wrong(name, expected)

    return check


def string(value: Any, name: str) -> None:
    """Any string; what a model reads may hold any character."""
    if type(value) is not str:
        raise wrong(name, "a string")


def one_of(*words: str) -> Check:
    """One of a few words."""
    allowed = frozenset(words)
    expected = "one of " + ", ".join(f'"{word}"' for word in words)

    def check(value: Any, name: str) -> None:
        if type(value) is not str or value not in allowed:
            raise wrong(name, expected)

    return check


def refusal(why: str, *, unless: Any = None) -> Check:
    """Always refuses, unless the value means "do not", e.g. `store: false`."""

    def check(value: Any, name: str) -> None:
        if unless is None or value != unless:
            raise BadRequest(f"`{name}` is not accepted: {why}.", param=name)

    return check
