"""`python -m tests.e2e.pictures [NAME ...]`: takes the pictures of the README again, from pages with a fortnight of
traffic; all of them where none is named.

The traffic is real calls to the scripted upstream, moved into the past in the database of an installation that lives
for these pictures only.
"""

import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from playwright.sync_api import expect

from komilion.common.clock import utc_now
from routing.selection.words import POLICIES
from tests.e2e.browser import Browser, Scheme, Visit, browser
from tests.e2e.server import PROJECT, Installation, UpstreamProcess
from tests.e2e.steps import make_key, sign_up, top_up
from tests.e2e.talking import on_stage, speak_into, with_microphone
from tests.fakes.client import call, chat
from tests.fakes.replies import Reply
from tests.fakes.spoken_socket import Spoken
from tests.fakes.upstream import Upstream
from tests.services.valkey import ValkeyServer, free_url

FOLDER = PROJECT / "docs" / "pictures"
MODELS = {"acme/large": 5, "acme/mini": 9, "delta/reasoner": 3}  # and how often each is called
CALLS, DAYS = 90, 14
PLAYGROUND = "/playground?models=delta/writer,delta/brief,neo-mode&prompt=How+do+I+sort+a+list+in+Python%3F&task=coding"
PICTURES: tuple[tuple[str, str, str, int, Scheme], ...] = (
    ("landing", "/", "anybody", 1_440, "light"),
    ("models", "/models", "anybody", 1_440, "light"),
    ("overview", "/dashboard?days=30", "owner", 1_440, "light"),
    ("overview-narrow", "/dashboard?days=30", "owner", 360, "dark"),
    ("request", "/dashboard/usage/{request}", "owner", 1_440, "light"),
    ("key", "/dashboard/keys/new", "owner", 1_440, "dark"),
    ("wallet", "/dashboard/wallet", "owner", 1_440, "light"),
    ("statement", "/dashboard/wallet/statement", "owner", 1_440, "dark"),
    ("playground", PLAYGROUND, "owner", 1_440, "light"),
    ("playground-narrow", PLAYGROUND, "owner", 360, "dark"),
    ("routing", "/dashboard/routing", "owner", 1_440, "light"),
    ("voice", "/dashboard/usage", "owner", 1_440, "light"),
)
WHOLE = ("voice",)  # longer than the window, and all of it is worth a look
BALANCE_NANO = 14_990_000_000
SORTING = """Sorting a list costs **n log n** comparisons at best:

```python
def ordered(values):
    return sorted(values)
```

| n | comparisons |
|---:|---:|
| 10 | 34 |
| 1,000 | 9,966 |

`sorted` is stable and keeps the list as it was.
"""
SHORT = """Use `sorted(values)`. It is stable, keeps the list as it was, and takes *n log n* comparisons.

- `key=` says what to compare
- `reverse=True` turns it round
"""


WRITTEN = {"delta/writer": SORTING, "delta/brief": SHORT}
TURNS_MS = 20_000  # two rounds of what the microphone plays
PROMPTS = (
    "Write a Python function that merges two sorted lists.",
    "Translate into German: the train is late.",
    "Summarise in one sentence what a ledger is.",
    "What is 17 times 23?",
    "Write a short poem about rain.",
)


def main(wanted: list[str]) -> int:
    """Start an installation, live in it, take the pictures."""
    os.environ["TEST_PAYMENTS"] = "1"
    with tempfile.TemporaryDirectory(prefix="komilion-pictures-") as name:
        folder = Path(name)
        valkey = ValkeyServer(folder, free_url())
        upstream, writer = UpstreamProcess(folder), Upstream()
        valkey.start()
        database = folder / "komilion.sqlite3"
        site = Installation(folder, database_url=f"sqlite:///{database}", valkey_url=valkey.url)
        try:
            microphone = with_microphone(speak_into(folder / "speech.wav"))
            with writer, browser(site.url, arguments=microphone) as people:
                _prepare(site, upstream, writer)
                _take(people, *_live(site, people, database), wanted)
        finally:
            site.close()
            upstream.stop()
            valkey.kill()
    return 0


def _prepare(site: Installation, upstream: UpstreamProcess, writer: Upstream) -> None:
    site.migrate()
    site.manage("collectstatic", "--no-input", "--verbosity", "0")
    site.add_provider("acme", upstream.url)
    site.add_provider("delta", upstream.url)
    for number, model in enumerate(MODELS):
        options = {"context": 128_000 << number, "capabilities": "tools,vision" if number % 2 else "tools"}
        site.add_model(model, model.partition("/")[0], "ok", **options)
    site.add_provider("epsilon", writer.url)
    for model, text in WRITTEN.items():
        reply = Reply(content=text, frames=60, before_content_s=0.2, between_frames_s=0.01)
        script = writer.script(model.partition("/")[2], reply)
        site.add_model(model, "epsilon", script, capabilities="tools")
    site.start()


def _live(site: Installation, people: Browser, database: Path) -> tuple[list[dict[str, object]], dict[str, str]]:
    """Cookies and names of somebody who has called for a fortnight."""
    chance = random.Random(20_260_131)
    with people.person() as person:
        page = sign_up(site, person, "ann@example.com")
        top_up(site, page)
        keys = [make_key(site, page, cap="25.00", name=name) for name in ("checkout, production", "nightly reports")]
        made = []
        for model in chance.choices(list(MODELS), weights=list(MODELS.values()), k=CALLS):
            answer = chat(site.url, chance.choice(keys), model=model, max_tokens=chance.randint(20, 200))
            if answer.status == 200:
                made.append(answer.json["id"])
        _move_into_the_past(database, made[:-5], chance)
        call(site.url, "/api/pins", keys[0], {"taskType": "translation", "modelId": "acme/mini"})
        for place, prompt in enumerate(PROMPTS):
            model = f"neo-mode/{POLICIES[place % len(POLICIES)]}"
            chat(site.url, keys[0], model=model, messages=[{"role": "user", "content": prompt}])
        today = utc_now().date()
        site.manage("usage", "rollup", "--from", _day(today - timedelta(days=DAYS)), "--to", _day(today))
        return person.cookies(), {"request": made[-1]}


def _day(day: date) -> str:
    return day.isoformat()


def _move_into_the_past(database: Path, request_ids: list[str], chance: random.Random) -> None:
    with sqlite3.connect(database, timeout=20) as connection:
        for request_id in request_ids:
            shift = f"-{chance.randint(0, DAYS - 1)} days"
            connection.execute(
                "UPDATE billing_usagerow SET created_at = strftime('%Y-%m-%d %H:%M:%f000', created_at, ?)"
                " WHERE request_id = ?",
                (shift, request_id),
            )


def _take(people: Browser, cookies: list[dict[str, object]], names: dict[str, str], wanted: list[str]) -> None:
    for name, path, who, width, scheme in PICTURES:
        if wanted and name not in wanted:
            continue
        with people.person(width=width, scheme=scheme, cookies=cookies if who == "owner" else None) as person:
            visit = person.visit(path.format(**names))
            if name in STEPS:
                STEPS[name](visit)
            visit.check()
            visit.screenshot(FOLDER / f"{name}.png", whole=width < 1_000 or name in WHOLE)


def _run(visit: Visit) -> None:
    """A run of the playground, with the receipt of the policy's choice open."""
    page = visit.page
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Run").click()
    expect(page.get_by_text("Done. This run cost")).to_be_visible()
    page.get_by_role("article", name="Model 3").get_by_text("Why this model").click()


def _talk(visit: Visit) -> None:
    """A conversation, while the second answer is spoken."""
    first = Spoken("A ledger is a book in which every amount is written once.", seconds=0.5)
    second = Spoken("An entry that is only ever added, never changed.", 20.0, heard="And what is a posting?")
    stage = on_stage(visit, first, second)
    stage.options["balance_nano"] = BALANCE_NANO
    stage.start()
    captions = visit.page.get_by_role("log", name="Captions")
    expect(captions).to_contain_text(second.words, timeout=TURNS_MS)
    expect(visit.page.locator("#state")).to_have_text("Speaking")


STEPS: dict[str, Callable[[Visit], None]] = {"playground": _run, "playground-narrow": _run, "voice": _talk}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
