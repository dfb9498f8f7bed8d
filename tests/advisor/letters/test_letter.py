"""What a letter says, as text and as HTML."""

import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, override

import numpy as np
import pytest
import time_machine

from accounts.models import Organization
from advisor.advice import NOTHING, Kind
from advisor.chart import BEFORE, HEIGHT_PX, NOW, WIDTH_PX, bars
from advisor.letter import TEMPLATE, write
from advisor.models import Advice
from advisor.prompts import NEUTRAL
from advisor.words import REASONS, TITLES, dollars
from komilion.common.mail import bodies
from routing.selection.words import TASKS
from tests.advisor.letters.delivering import CHEAPER, MONDAY, WEEK, letter_to, made
from tests.people import Person


@pytest.fixture(autouse=True)
def _on_monday():
    with time_machine.travel(MONDAY, tick=False):
        yield


def both(person: Person, week: str = WEEK) -> tuple[Any, str, str]:
    """Her letter, its text and its HTML."""
    written = write(letter_to(person, week))
    text, html = bodies(TEMPLATE, written.context, subject=written.subject)
    assert html is not None
    return written, text, html


class Words(HTMLParser):
    """What a reader without pictures sees: text, and what pictures say instead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self._hidden = 0

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._hidden += tag in {"style", "title"}
        self.found += [given["alt"] or ""] if "alt" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []

    @override
    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)


def words_of(html: str) -> Words:
    words = Words()
    words.feed(html)
    return words


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_subject_names_the_organization_and_what_matters_most(alice: Person):
    Organization.objects.update(name="Acme & Sons")
    made(alice)
    assert both(alice)[0].subject == "Acme & Sons: about $34 a month to save"


def test_without_a_saving_the_subject_is_the_first_advice(alice: Person):
    ending = replace(CHEAPER, kind=Kind.ENDING, saving=NOTHING, evidence={"ends_on": "2027-01-15"})
    made(alice, said=(ending, replace(ending, task="math")))
    written = both(alice)[0]
    assert written.subject.endswith(": acme/large will be shut down on 15 January: summarization, and more")


def test_text_and_html_say_the_same(alice: Person):
    made(alice)
    _, text, html = both(alice)
    seen = plain(" ".join(words_of(html).found))
    for part in (
        "23 November to 29 November",
        "$63.00 for chats last week",
        "+50 % against the week before ($42.00).",
        "Let acme/mini answer summarization",
        "About $34 less a month, at least $21",
        "What could get worse: a few answers may be worse; it counts tokens in another way",
        "4,312 calls in 28 days",
        "Spent on chats on each of the last 28 days. Week by week: $42.00, $42.00, $42.00, $63.00.",
        "Unsubscribe",
        "as a member of",
        "Letter settings",
    ):
        assert part in plain(text), part
        assert part in seen, part
    assert "a code of tomorrow" not in text


def test_both_have_the_same_links(alice: Person):
    made(alice)
    _, text, html = both(alice)
    in_text = set(re.findall(r"https?://\S+", text))
    in_html = set(words_of(html).links)
    assert len(in_html) == 9
    assert in_html <= {link.rstrip(".,") for link in in_text} | in_text


def test_nothing_is_loaded_from_afar(alice: Person):
    made(alice)
    html = both(alice)[2]
    assert re.findall(r'(?:src|background)="(?!cid:)', html) == []
    assert "url(" not in html
    assert "<link" not in html


def test_the_html_is_small_enough_to_be_shown_whole(alice: Person):
    """Gmail cuts after 102 kB."""
    made(alice, said=[replace(CHEAPER, task=task) for task in TASKS[:5]])
    assert len(both(alice)[2].encode()) < 60_000


def test_dark_screens_have_colours_of_their_own(alice: Person):
    made(alice)
    html = both(alice)[2]
    assert '<meta name="color-scheme" content="light dark">' in html
    dark = html.partition("@media (prefers-color-scheme: dark)")[2]
    assert ".headline" in dark


def test_names_are_text_wherever_they_stand(alice: Person):
    Organization.objects.update(name="<b>Bold</b>")
    made(alice, said=(replace(CHEAPER, subject="<script>alert(1)</script>"),))
    _, text, html = both(alice)
    assert "<script>" not in html
    assert "<b>Bold" not in html
    assert "<b>Bold</b>" in text


def test_what_was_answered_meanwhile_is_said_and_has_no_buttons(alice: Person):
    made(alice)
    Advice.objects.update(state="accepted", state_by="bob@example.com")
    written, text, _ = both(alice)
    assert "Accepted by bob@example.com." in text
    assert (written.context["items"][0].accept, written.context["items"][0].dismiss) == ("", "")


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_its_words(alice: Person, kind: Kind):
    assert kind in TITLES
    assert kind in REASONS
    made(
        alice,
        said=(replace(CHEAPER, kind=kind, subject="12", model=""), replace(CHEAPER, kind=kind, subject="12", task="")),
    )
    written, text, _ = both(alice)
    assert "%(" not in text
    assert not written.context["items"][0].accept, "without a model there is nothing to pin"


def test_each_task_type_has_a_stand_in_prompt():
    assert set(NEUTRAL) == set(TASKS)


@pytest.mark.parametrize(
    ("nano", "words"),
    [
        (0, "$0.00"),
        (1, "under $0.01"),
        (12_345_678_901, "$12.35"),
        (999_999_000_000, "$1,000"),
        (1_234_567_000_000, "$1,235"),
    ],
)
def test_amounts_are_rounded_for_reading(nano: int, words: str):
    assert dollars(nano) == words


def pixels(png: bytes) -> Any:
    """Height, width, 4: as any reader of PNG decodes an unfiltered one."""
    data, at = b"", 8
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        content = png[at + 8 : at + 8 + size]
        assert int.from_bytes(png[at + 8 + size : at + 12 + size]) == zlib.crc32(kind + content)
        data += content if kind == b"IDAT" else b""
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(HEIGHT_PX, 1 + 4 * WIDTH_PX)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(HEIGHT_PX, WIDTH_PX, 4)


def test_the_chart_has_a_bar_for_each_day_and_the_last_week_stands_out():
    png = bars([5] * 21 + [10] * 7, 7)
    assert len(png) < 8_000
    image = pixels(png)
    row = image[HEIGHT_PX - 10]
    is_bar = row[:, 3] == 255
    edges = np.flatnonzero(np.diff(is_bar.astype(int)) == 1).size + int(is_bar[0])
    assert edges == 28
    colours = {tuple(int(part) for part in pixel[:3]) for pixel in row[is_bar]}
    assert colours == {NOW, BEFORE}
    heights = (image[:-2, :, 3] == 255).sum(axis=0)
    assert heights.max() == HEIGHT_PX - 2
    assert abs(heights[: WIDTH_PX // 2].max() - heights.max() / 2) <= 1


@pytest.mark.parametrize("values", [[], [0] * 28, [0] * 27 + [1], [1, 10**18]])
def test_a_chart_of_next_to_nothing_is_a_picture_too(values: list[int]):
    assert pixels(bars(values, 7)).shape == (HEIGHT_PX, WIDTH_PX, 4)


@pytest.mark.parametrize(
    ("kind", "evidence", "words"),
    [
        (Kind.UNUSED_KEY, {"name": "old", "days": 90}, "Nobody uses the key “old” Seen: not used for 90 days"),
        (
            Kind.CAP_SOON,
            {"name": "batch", "cap_nano": 10**10, "spent_nano": 8 * 10**9, "reached_on": "2026-12-05"},
            "$8.00 of $10.00 spent, reached about 5 December",
        ),
        (Kind.FAILING, {"failed_share": 0.0823, "failed_share_before": 0.011}, "8.2 % failed, 1.1 % before"),
        (Kind.SLOW, {"log_ms": 7.6, "log_ms_before": 7.0}, "takes 1.8 times as long as before"),
        (Kind.SHORTER, {"usual_ratio": 2.31}, "2.3 times as long as usual"),
        (Kind.CHEAPER, {"calls": 1, "days": 28}, "1 call in 28 days"),
    ],
)
def test_an_advice_names_what_it_rests_on(alice: Person, kind: Kind, evidence: dict[str, Any], words: str):
    from advisor.words import said

    made(alice, said=(replace(CHEAPER, kind=kind, subject="12", evidence=evidence),))
    found = said(Advice.objects.get())
    assert all(part in f"{found.title} {found.basis}" for part in words.split(" Seen: "))


def test_advice_about_a_key_leads_to_the_key(alice: Person):
    key = alice.key("batch").row
    made(alice, said=(replace(CHEAPER, kind=Kind.UNUSED_KEY, subject=str(key.pk), evidence={"name": "batch"}),))
    item = both(alice)[0].context["items"][0]
    assert item.accept == ""
    assert alice.browser.get(item.key.removeprefix("http://127.0.0.1:8000")).status_code == 200


def test_who_names_the_model_in_every_call_is_told_that_a_pin_alone_changes_nothing(alice: Person):
    made(alice, said=(replace(CHEAPER, risks=("named",)),))
    _, text, html = both(alice)
    note = "Calls that name acme/large follow no pin: have them name acme/mini, or call neo-mode instead. The pin"
    assert note in plain(text)
    assert note in html
    assert "What could get worse" not in text
