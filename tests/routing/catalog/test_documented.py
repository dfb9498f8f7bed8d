"""docs/catalogue.md lists the shipped providers with their variables and addresses."""

import re
from pathlib import Path

from routing.catalog.shipped import read_providers

PAGE = (Path(__file__).parents[3] / "docs" / "catalogue.md").read_text()
ROW = re.compile(r"^\| [^|]+ \| `(\w+_API_KEY)` \| `(\w+_BASE_URL)` \| `(https://\S+)` \|$", re.MULTILINE)


def test_every_shipped_provider_is_in_the_table_and_nothing_else() -> None:
    shipped = {(row.api_key_env, row.base_url_env, row.base_url) for row in read_providers()}
    assert set(ROW.findall(PAGE)) == shipped


def test_the_readme_names_every_key() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    keys = {row.api_key_env for row in read_providers()} - {"DASHSCOPE_API_KEY"}  # that one has no models yet
    assert all(f"`{key}`" in readme for key in keys)
