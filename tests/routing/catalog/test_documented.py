"""docs/catalogue.md lists the shipped providers, and names and commands that work as they stand there."""

import json
import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.core.management import call_command

from routing.catalog.resolve import resolve
from routing.catalog.shipped import read_providers
from tests.routing.catalog.conftest import AS_OF, Shipped

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "catalogue.md").read_text()
ROW = re.compile(r"^\| [^|]+ \| `(\w+_API_KEY)` \| `(\w+_BASE_URL)` \| `(https://\S+)` \|$", re.MULTILINE)


def test_every_shipped_provider_is_in_the_table_and_nothing_else() -> None:
    shipped = {(row.api_key_env, row.base_url_env, row.base_url) for row in read_providers()}
    assert set(ROW.findall(PAGE)) == shipped


def test_the_readme_names_every_key() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    keys = {row.api_key_env for row in read_providers()} - {"DASHSCOPE_API_KEY"}  # that one has no models yet
    assert all(f"`{key}`" in readme for key in keys)


def test_every_name_in_the_table_means_what_it_says(shipped: Shipped) -> None:
    table = PAGE.partition("| way | example | means |")[2].partition("\n\n")[0]
    rows = [[re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[2:4]] for row in table.splitlines()[2:]]
    assert len(rows) == 8
    for names, models in rows:
        assert [resolve(shipped(), name).model.id for name in names] == models
        assert all(resolve(shipped(), name).model.sunset_on is None for name in names if not name.startswith("gpt-4o"))


@pytest.mark.django_db
def test_every_command_runs_as_it_stands() -> None:
    commands = re.findall(r"manage\.py (catalog (?:list|show)[^#\n]*)", PAGE.partition("catalog reset NAME")[2])
    assert len(commands) == 3
    with time_machine.travel(AS_OF, tick=False):
        call_command("catalog_seed", verbosity=0)
        for command in commands:
            name, *words = shlex.split(command)
            output = StringIO()
            call_command(name, *words, stdout=output)
            assert output.getvalue(), command


def test_the_example_of_failover_names_models_that_there_are(shipped: Shipped) -> None:
    body = json.loads((DOCS / "failover.md").read_text().partition("```json\n")[2].partition("```")[0])
    assert body["messages"]
    for model in (body["model"], *body["models"]):
        assert resolve(shipped(), model).model.sunset_on is None
