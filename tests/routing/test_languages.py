"""Languages: codes and names lead to each other, and what nobody knows stays as it is."""

import pytest

from routing.providers.languages import NAMES, code_of, name_of


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ("en", "en", "english"),
        ("English", "en", "english"),
        ("en-US", "en-US", "english"),
        ("zh", "zh", "chinese"),
        ("multi", "multi", "multi"),
        ("", "", ""),
    ],
)
def test_a_language_is_known_by_code_and_name(given: str, code: str, name: str) -> None:
    assert code_of(given) == code
    assert name_of(code) == name


def test_every_code_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(set(NAMES.values())) == 100
    assert all(code_of(name) == code for code, name in NAMES.items())
