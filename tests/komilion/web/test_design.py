"""The design system keeps its promises: contrast, one vocabulary of classes, nothing inline."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHEETS = sorted((ROOT / "static" / "web").glob("*.css"))
OTHERS = {"mail", "operator"}  # tables for mail programs, and the looks of Django's admin
TEMPLATES = sorted(page for page in (ROOT / "templates").rglob("*.html") if not OTHERS & set(page.parts))
PAIR = re.compile(r"^\s*--(?P<name>[\w-]+): light-dark\((?P<light>#\w{6}), (?P<dark>#\w{6})\);", re.MULTILINE)
COLOURS = {row["name"]: row for row in PAIR.finditer((ROOT / "static/web/tokens.css").read_text())}
TAGS = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}", re.DOTALL)
CLASSES = re.compile(r'class="([^"]*)"')
DJANGOS = {"errorlist", "nonfield", "helptext"}  # that Django's own forms write

TEXT_ON = [
    *(("ink", ground) for ground in ("paper", "surface", "sunken", "accent-wash")),
    *(("ink-muted", ground) for ground in ("paper", "surface", "sunken")),
    *(("accent", ground) for ground in ("paper", "surface", "sunken", "accent-wash")),
    *(("accent-strong", ground) for ground in ("paper", "surface", "sunken", "accent-wash")),
    *((state, f"{state}-wash") for state in ("good", "warn", "bad", "info")),
    *(("ink", f"{state}-wash") for state in ("good", "warn", "bad", "info")),
    *((state, ground) for state in ("bad", "good", "danger") for ground in ("paper", "surface", "sunken")),
    *(("on-accent", ground) for ground in ("accent", "accent-strong")),
    *(("on-danger", ground) for ground in ("danger", "danger-strong")),
]
SHAPES_ON = [
    *(("line-strong", ground) for ground in ("paper", "surface", "sunken")),
    *((f"series-{number}", ground) for number in range(1, 7) for ground in ("paper", "surface")),
]


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The ratio by WCAG 2, 1 to 21."""
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground", "least"), [(*pair, 4.5) for pair in TEXT_ON] + [(*p, 3.0) for p in SHAPES_ON]
)
def test_what_is_drawn_stands_out_from_what_it_is_drawn_on(ink: str, ground: str, least: float, scheme: str):
    assert contrast(COLOURS[ink][scheme], COLOURS[ground][scheme]) >= least


def test_contrast_is_that_of_the_standard():
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert round(contrast("#767676", "#ffffff"), 2) == 4.54


def classes_of(page: Path) -> set[str]:
    """The classes that a template names whole; one that is put together by a tag is left out."""
    found: set[str] = set()
    for value in CLASSES.findall(re.sub(r"{%.*?%}", " ", page.read_text())):
        found |= {name for name in value.split() if "{{" not in name and "}}" not in name and not name.endswith("--")}
    return {name for name in found if re.fullmatch(r"[a-z][\w-]*", name)}


@pytest.mark.parametrize("page", TEMPLATES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_class_has_a_style(page: Path):
    sheets = "".join(sheet.read_text() for sheet in SHEETS)
    assert {name for name in classes_of(page) if not re.search(rf"\.{name}(?![\w-])", sheets)} - DJANGOS == set()


@pytest.mark.parametrize("page", TEMPLATES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_inline(page: Path):
    """The policy would refuse it: styles and scripts come from files."""
    text = TAGS.sub("", page.read_text())
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=\"|javascript:", text) == []
    assert [tag for tag in re.findall(r"<script[^>]*>", text) if " src=" not in tag] == []


@pytest.mark.parametrize("page", TEMPLATES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_table_says_what_it_is(page: Path):
    text = page.read_text()
    assert text.count("<table") == text.count("<caption"), "a table without a caption"
    assert [cell for cell in re.findall(r"<th\b[^>]*>", text) if "scope=" not in cell] == []


@pytest.mark.parametrize("page", TEMPLATES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_row_that_becomes_a_card_has_a_label_for_each_value(page: Path):
    for table in re.findall(r'<table class="table table--cards.*?</table>', page.read_text(), re.DOTALL):
        body = table.partition("<tbody")[2].partition("</tbody>")[0]
        bare = [cell for cell in re.findall(r"<td\b[^>]*>", body) if not re.search("data-label|colspan", cell)]
        assert len(bare) <= table.count('"visually-hidden">Actions<'), table


def test_sheets_take_their_colours_from_the_tokens():
    others = [sheet for sheet in SHEETS if sheet.name not in {"tokens.css", "print.css"}]
    assert {sheet.name: re.findall(r"#[0-9a-f]{6}\b", sheet.read_text()) for sheet in others} == {
        sheet.name: [] for sheet in others
    }


def test_every_part_says_how_to_use_it():
    parts = sorted((ROOT / "templates" / "components").glob("*.html"))
    assert parts
    assert [part.name for part in parts if not part.read_text().startswith("{#")] == []
