"""docs/settings.md names every setting and every environment variable, with the value that holds."""

import re
from pathlib import Path

import pytest
from django.conf import global_settings

from komilion import settings

ROOT = Path(settings.__file__).parents[1]
PAGE = (ROOT / "docs" / "settings.md").read_text()
ROW = re.compile(r"^\| `(?P<name>[A-Z0-9_]+)` \| (?P<value>[^|]+) \|", re.MULTILINE)
DOCUMENTED = {row["name"]: row["value"].strip() for row in ROW.finditer(PAGE)}
SETTINGS = {name: value for name, value in vars(settings).items() if name.isupper()}
VARIABLES = set(re.findall(r'env\.\w+\("([A-Z_]+)"', Path(settings.__file__).read_text()))
FRAMEWORKS = ("ACCOUNT_", "CELERY_", "MFA_", "REST_", "SOCIALACCOUNT_", "SPECTACULAR_", "WHITENOISE_", "HEADLESS_")
OURS = {name for name in SETTINGS if not hasattr(global_settings, name) and not name.startswith(FRAMEWORKS)}
NUMBERS = sorted(name for name, value in SETTINGS.items() if isinstance(value, int) and not isinstance(value, bool))


def test_every_setting_of_ours_is_documented_and_nothing_that_is_none() -> None:
    """What a framework defines is documented by its makers; where we say something of it, it must be there."""
    assert OURS - {"CSP", "MAILERS", "ANYMAIL"} | VARIABLES <= set(DOCUMENTED)
    assert set(DOCUMENTED) <= set(SETTINGS) | VARIABLES


def test_no_setting_is_documented_twice() -> None:
    assert len(ROW.findall(PAGE)) == len(DOCUMENTED)


def test_every_environment_variable_is_in_the_first_table() -> None:
    first_table = PAGE.partition("## From the environment")[2].partition("\n## ")[0]
    assert {row["name"] for row in ROW.finditer(first_table)} == VARIABLES


@pytest.mark.parametrize("name", [name for name in NUMBERS if name in OURS - VARIABLES])
def test_the_documented_number_is_the_one_in_force(name: str) -> None:
    assert int(DOCUMENTED[name].replace(",", "")) == SETTINGS[name]
