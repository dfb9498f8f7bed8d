"""The documents: links lead somewhere, what they name exists, and every dependency has its reason."""

import re
from importlib.metadata import PackageNotFoundError, metadata
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {".venv", "var", "node_modules"}
PAGES = sorted(
    page
    for start in ROOT.iterdir()
    if start.name not in NOT_OURS and not (start.is_dir() and start.name.startswith("."))
    for page in ([start] if start.suffix == ".md" else start.rglob("*.md"))
    if not NOT_OURS & set(page.parts)
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?<!\\)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
SOURCE_PATH = re.compile(r"\b(?:accounts|billing|komilion|routing|tests)/[\w./-]+\.(?:py|lua)\b")
PACKAGE_ROW = re.compile(r"^\| `(?P<name>[\w-]+)` \| [^|]+ \| [^|]+ \| (?P<reason>[^|]+) \|$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links_of(page: Path) -> list[str]:
    """Targets of the links and pictures of a page; code and other sites' addresses left out."""
    prose = CODE.sub("``", FENCE.sub("", page.read_text()))
    return [target for target in LINK.findall(prose) if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors_of(page: Path) -> set[str]:
    """The fragments that GitHub gives to the headings of a page."""
    anchors: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def packages_in(file: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return {re.split(r"[\[<>=~!;\s]", line)[0].lower() for line in lines if line and not line.startswith("-")}


def licence_of(package: str) -> str:
    """Everything that the installed package says about its licence."""
    about = metadata(package)
    named = about.get("License-Expression") or about.get("License") or ""
    classified = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([named.partition("\n")[0], *classified])


def is_gpl_only(licence: str) -> bool:
    """GPL or AGPL with nothing beside it to choose; the LGPL is another licence."""
    gpl = re.search(r"(?<!L)A?GPL|(?<!Lesser )General Public License", licence)
    return bool(gpl) and not re.search(r"\bOR\b|\bMIT\b|BSD|Apache|MPL|Mozilla|LGPL|Lesser", licence)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    dead = []
    for link in links_of(page):
        path, _, fragment = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (fragment and (target.suffix != ".md" or fragment not in anchors_of(target))):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_source_files_that_are_named_exist(page: Path):
    prose = FENCE.sub("", page.read_text())
    assert [path for path in SOURCE_PATH.findall(prose) if not (ROOT / path).exists() and "NAME" not in path] == []


def test_every_step_of_the_gateway_is_on_the_walk():
    """Whoever adds a module to the hot path says where it stands in the life of a request."""
    walk = (ROOT / "docs" / "life-of-a-request.md").read_text()
    modules = [path for path in (ROOT / "routing" / "gateway").rglob("*.py") if path.name != "__init__.py"]
    assert [path.name for path in modules if str(path.relative_to(ROOT)) not in walk] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_verb_exists_and_is_explained(page: str):
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    targets = set(declared.group(1).split())
    text = (ROOT / page).read_text()
    named = {verb for words in re.findall(r"`make ([a-z0-9 -]+)`", text) for verb in words.split()}
    typed = set(re.findall(r"^make ([a-z0-9-]+)", text, re.MULTILINE))
    assert named == targets
    assert typed <= targets


def test_every_command_in_the_readme_exists():
    from django.core.management import get_commands

    named = set(re.findall(r"manage\.py ([a-z_]+)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(get_commands())


def test_decisions_are_numbered_without_a_gap_and_say_what_enforces_them():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
    for page in pages:
        headings = HEADING.findall(page.read_text())
        assert headings[0].startswith(page.name[:4])
        wanted = ["Context", "Decision", "Alternatives considered", "Consequences", "What enforces it"]
        assert [heading for heading in headings if heading in wanted] == wanted, page.name


def test_every_dependency_has_its_line_of_reason():
    page = (ROOT / "docs" / "decisions" / "0008-dependencies.md").read_text()
    runs, _, tests = page.partition("### What builds and tests")
    for table, file in ((runs, "requirements.in"), (tests, "requirements-dev.in")):
        assert {row["name"] for row in PACKAGE_ROW.finditer(table)} == packages_in(file), file


def test_nothing_under_the_gpl_alone_ships():
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert locked
    found = {}
    for package in locked:
        try:
            found[package] = licence_of(package)
        except PackageNotFoundError:
            continue  # for other systems only
    assert [package for package, licence in found.items() if not licence.strip()] == [], "says nothing of its licence"
    assert [package for package, licence in found.items() if is_gpl_only(licence)] == []


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("License :: OSI Approved :: GNU General Public License v2 (GPLv2)", True),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-2.0-only OR MIT", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", False),
    ],
)
def test_which_licences_are_the_gpl_alone(licence: str, expected: bool):
    assert is_gpl_only(licence) is expected
