"""`python -m tests.advisor.letters.pictures`: takes the pictures of the advisor's letters in docs/pictures again.

The letters are made up, a digest and an alert, shown by Chromium as a mail program shows them: a picture comes along,
nothing is loaded.
"""

import base64
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from playwright.sync_api import Page, sync_playwright

from advisor.advice import NOTHING, Kind, Recommendation, Saving
from advisor.figures import Figures, Line
from advisor.weeks import last_day_told_of
from tests.advisor.letters.delivering import CHEAPER, DOLLAR, MONDAY, WEEK, asked, letter_to
from tests.advisor.letters.troubles import FAILING, NOW, about
from tests.e2e.browser import ARGUMENTS, SCHEMES, Scheme, program
from tests.people import Person

FOLDER = Path(__file__).parents[3] / "docs" / "pictures"
WIDTHS = (600, 360)
DAYS = (31, 35, 33, 30, 29, 9, 6, 33, 30, 38, 36, 31, 12, 8, 36, 41, 39, 37, 33, 12, 9, 31, 33, 35, 30, 32, 12, 9.4)
SAID = (
    replace(CHEAPER, subject="anthropic/claude-sonnet-4.5", model="google/gemini-3-flash", risks=("quality", "cache")),
    replace(
        CHEAPER,
        kind=Kind.ENDING,
        subject="openai/gpt-4-turbo",
        model="openai/gpt-5-mini",
        task="data-extraction",
        saving=Saving(3 * DOLLAR, 8 * DOLLAR, 12 * DOLLAR),
        evidence={"calls": 612, "days": 28, "charge_nano": 14 * DOLLAR, "ends_on": "2026-12-18"},
        risks=("length",),
    ),
    Recommendation(Kind.UNUSED_KEY, "12", saving=NOTHING, evidence={"name": "staging, old", "days": 74}),
)


CASES = (
    ("keeps to our tone of voice", True, True),
    ("names every party", True, True),
    ("ends with a question", False, True),
)
NEWER = (
    {
        "task": "code-generation",
        "old_model": "anthropic/claude-sonnet-4.5",
        "new_model": "anthropic/claude-sonnet-5",
        "state": "asked",
    },
    {
        "task": "writing",
        "old_model": "openai/gpt-5.1",
        "new_model": "openai/gpt-5.2",
        "state": "done",
        "ended_at": MONDAY - timedelta(days=2),
        "reason": "nothing speaks against it after 26 hours and 1,204 calls",
        "report": {"cases": [{"case": name, "old": old, "new": new} for name, old, new in CASES]},
    },
)


def _line(name: str, now: float, before: float) -> Line:
    return Line(name, round(now * DOLLAR), round(before * DOLLAR))


SPENT = Figures(
    last_day=last_day_told_of(WEEK),
    nano=round(182.4 * DOLLAR),
    before_nano=round(207 * DOLLAR),
    tasks=[
        _line("summarization", 71.2, 90),
        _line("tool-use", 52, 48),
        _line("code-generation", 33.9, 41),
        _line("data-extraction", 14, 0),
        _line("", 11.3, 28),
    ],
    models=[
        _line("anthropic/claude-sonnet-4.5", 118, 130),
        _line("google/gemini-3-flash", 40.2, 52.8),
        _line("openai/gpt-4-turbo", 24.2, 24.2),
    ],
    days=[round(day * DOLLAR) for day in DAYS],
)


def digest_to(person: Person) -> str:
    """The HTML of a letter to her, with its picture in it."""
    from advisor.actions.digests import do_make_digest
    from advisor.letter import write

    for newer in NEWER:
        asked(person, **newer)
    do_make_digest(person.organization_id, WEEK, SAID, SPENT, MONDAY)
    return _html(write(letter_to(person)))


def alert_to(person: Person) -> str:
    """The HTML of an alert to her."""
    from advisor.actions.alerts import do_say
    from advisor.alert_letter import write_alert
    from advisor.watch import Warned

    instead = (about(FAILING.kind), about(FAILING.kind, "data-extraction"))
    said = [
        replace(each, subject="anthropic/claude-sonnet-4.5", model="google/gemini-3-flash", risks=("quality", "named"))
        for each in instead
    ]
    warned = Warned(replace(FAILING, model="anthropic/claude-sonnet-4.5"), said)
    (alert,) = do_say(person.organization_id, [warned], NOW)
    return _html(write_alert(alert.letters.get(user__email=person.email)))


LETTERS = {"letter": digest_to, "alert": alert_to}


def _html(written: Any) -> str:
    from komilion.common.mail import bodies

    _, html = bodies(written.template, written.context, subject=written.subject)
    assert html is not None
    for picture in written.extras.pictures:
        data = base64.b64encode(picture.png).decode()
        html = html.replace(f"cid:{picture.cid}", f"data:image/png;base64,{data}")
    return html


@contextmanager
def opened(html: str) -> Iterator[Any]:
    """`(width, scheme) -> Page` that shows it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program(), args=[*ARGUMENTS], headless=True)

        def show(width: int, scheme: Scheme) -> Page:
            context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page = context.new_page()
            page.set_content(html)
            return page

        try:
            yield show
        finally:
            chromium.close()


def main() -> int:
    """Make a database for it, and take them."""
    with tempfile.TemporaryDirectory(prefix="komilion-letter-") as folder:
        database = f"sqlite:///{folder}/komilion.sqlite3"
        os.environ |= {"DATA_DIR": folder, "DATABASE_URL": database, "PUBLIC_URL": "https://komilion.example.com"}
        os.environ["DJANGO_SETTINGS_MODULE"] = "komilion.settings"
        django.setup()
        from django.core.management import call_command

        from accounts.models import Organization
        from tests.people import new_owner

        call_command("migrate", verbosity=0)
        alice = new_owner("alice@example.com")
        Organization.objects.update(name="Northwind Research")
        for name in sys.argv[1:] or LETTERS:
            with opened(LETTERS[name](alice)) as show:
                for width in WIDTHS:
                    for scheme in SCHEMES:
                        path = FOLDER / f"{name}-{width}-{scheme}.png"
                        show(width, scheme).screenshot(path=path, full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
