"""`python -m tests.e2e.pictures`: takes the pictures of the README again, from pages with a fortnight of traffic.

The traffic is real calls to the scripted upstream, moved into the past in the database of an installation that lives
for these pictures only.
"""

import os
import random
import sqlite3
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from komilion.common.clock import utc_now
from tests.e2e.browser import Browser, Scheme, browser
from tests.e2e.server import PROJECT, Installation, UpstreamProcess
from tests.e2e.steps import make_key, sign_up, top_up
from tests.fakes.client import chat
from tests.services.valkey import ValkeyServer, free_url

FOLDER = PROJECT / "docs" / "pictures"
MODELS = {"acme/large": 5, "acme/mini": 9, "delta/reasoner": 3}  # and how often each is called
CALLS, DAYS = 90, 14
PICTURES: tuple[tuple[str, str, str, int, Scheme], ...] = (
    ("landing", "/", "anybody", 1_440, "light"),
    ("models", "/models", "anybody", 1_440, "light"),
    ("overview", "/dashboard?days=30", "owner", 1_440, "light"),
    ("overview-narrow", "/dashboard?days=30", "owner", 360, "dark"),
    ("request", "/dashboard/usage/{request}", "owner", 1_440, "light"),
    ("key", "/dashboard/keys/new", "owner", 1_440, "dark"),
    ("wallet", "/dashboard/wallet", "owner", 1_440, "light"),
    ("statement", "/dashboard/wallet/statement", "owner", 1_440, "dark"),
)


def main() -> int:
    """Start an installation, live in it, take the pictures."""
    os.environ["TEST_PAYMENTS"] = "1"
    with tempfile.TemporaryDirectory(prefix="komilion-pictures-") as name:
        folder = Path(name)
        valkey = ValkeyServer(folder, free_url())
        upstream = UpstreamProcess(folder)
        valkey.start()
        database = folder / "komilion.sqlite3"
        site = Installation(folder, database_url=f"sqlite:///{database}", valkey_url=valkey.url)
        try:
            _prepare(site, upstream)
            with browser(site.url) as people:
                _take(people, *_live(site, people, database))
        finally:
            site.close()
            upstream.stop()
            valkey.kill()
    return 0


def _prepare(site: Installation, upstream: UpstreamProcess) -> None:
    site.migrate()
    site.manage("collectstatic", "--no-input", "--verbosity", "0")
    site.add_provider("acme", upstream.url)
    site.add_provider("delta", upstream.url)
    for number, model in enumerate(MODELS):
        options = {"context": 128_000 << number, "capabilities": "tools,vision" if number % 2 else "tools"}
        site.add_model(model, model.partition("/")[0], "ok", **options)
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


def _take(people: Browser, cookies: list[dict[str, object]], names: dict[str, str]) -> None:
    for name, path, who, width, scheme in PICTURES:
        with people.person(width=width, scheme=scheme, cookies=cookies if who == "owner" else None) as person:
            visit = person.visit(path.format(**names))
            visit.check()
            visit.screenshot(FOLDER / f"{name}.png", whole=width < 1_000)


if __name__ == "__main__":
    sys.exit(main())
