"""A newer model of a pin's line, from its appearance to its end, with a real gateway, Celery worker and beat.

Alice's newer model is bad, Charlie's is good. Time moves by starting the processes at another moment.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from komilion.common.clock import utc_now
from tests.e2e.conftest import AddStaticFiles, Install
from tests.e2e.server import Installation, Process, UpstreamProcess
from tests.e2e.steps import ask, key_of, owner
from tests.fakes.client import call, chat
from tests.services.valkey import ValkeyServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_S = 90
TASK = "summarization"
ARTICLE = "A ledger is a book in which every payment is written down once, in order, and never changed. " * 20
PROMPT = [{"role": "user", "content": f"Summarize the following article in three bullet points:\n\n{ARTICLE}"}]
ALICE, CHARLIE = "alice@example.com", "charlie@example.com"
OLD = {ALICE: "acme/one", CHARLIE: "zeta/one"}
NEW = {ALICE: "acme/two", CHARLIE: "zeta/two"}
BAD, GOOD = "503,frames=3", "ok,frames=3"  # of the newer models, so that the upstream's journal tells them apart
WORKER = ("worker", "--pool", "solo", "--queues", "advisor", "--without-gossip", "--without-mingle")
BEAT = ("beat",)
FEW = 20  # calls, enough to meet both models at a share of one half
LINES = f"""
from routing.catalog.models import Model
for old, new in {list(zip(OLD.values(), NEW.values(), strict=True))!r}:
    Model.objects.filter(pk=old).update(line=new)
"""
STATE = """
from accounts.models import Membership
from advisor.models import Upgrade
who = Membership.objects.get(user__email={!r})
mine = Upgrade.objects.filter(organization_id=who.organization_id)
told = " ".join(f"{{row.state}} {{row.share_basis_points}}" for row in mine)
"""


@pytest.fixture
def site(install: Install, add_static_files: AddStaticFiles) -> Installation:
    """A running installation with the models that are to be pinned."""
    installation = install("sqlite")
    add_static_files(installation)
    for model in OLD.values():
        installation.add_model(model, "draining", "ok", context=200_000)
    installation.start()
    return installation


@contextmanager
def jobs(site: Installation, moment: datetime, *programs: tuple[str, ...]) -> Iterator[None]:
    """These programs of Celery at that moment."""
    command = (sys.executable, "-m", "tests.advisor.letters.celery_at", moment.isoformat())
    log = site.folder / "celery.log"
    running = [Process((*command, *program), log, site.environment).start() for program in programs]
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{error}\n{running[0].last_words()}") from error
    finally:
        for process in running:
            process.terminate()  # so that the next beat need not wait for this one's lock


def state(site: Installation, person: str) -> str:
    return ask(site, STATE.format(person))


def becomes(site: Installation, moment: datetime, alice: str, charlie: str) -> None:
    """What the jobs of that moment make of both upgrades."""
    with jobs(site, moment, WORKER, BEAT):
        wait_until(lambda: (state(site, ALICE), state(site, CHARLIE)) == (alice, charlie), PATIENCE_S, f"{moment}")


def asked(site: Installation, key: str) -> str:
    """The model that answered one more call, which never fails."""
    answer = chat(site.url, key, model="neo-mode", messages=PROMPT, taskHint=TASK)
    assert answer.status == 200, answer.body
    told = answer.json["x_komilion"]
    assert (told["task_type"], told["rule"]) == (TASK, "pinned"), told
    return str(answer.json["model"])


def page(site: Installation, cookies: list[dict[str, str]]) -> str:
    (cookie,) = cookies
    answer = call(site.url, "/dashboard/advisor", headers={"Cookie": f"{cookie['name']}={cookie['value']}"})
    assert answer.status == 200
    return answer.body.decode()


def test_a_bad_newer_model_is_gone_by_itself_and_a_good_one_takes_the_pin(
    site: Installation, upstream: UpstreamProcess, valkey_server: ValkeyServer
):
    cookies = {person: owner(site, person, tier="high") for person in (ALICE, CHARLIE)}
    keys = {person: key_of(site, person) for person in (ALICE, CHARLIE)}
    for person, key in keys.items():
        assert call(site.url, "/api/pins", key, {"taskType": TASK, "modelId": OLD[person]}).status == 200
        assert asked(site, key) == OLD[person]
    with jobs(site, utc_now() - timedelta(minutes=10), BEAT), valkey_server.client as valkey:
        # From then on beat counts the minutes to the first look.
        wait_until(lambda: list(valkey.scan_iter("*beat::statics")), PATIENCE_S, "the schedule")

    ask(site, f"{LINES}\ntold = ''")
    for person, script in ((ALICE, BAD), (CHARLIE, GOOD)):
        site.add_model(NEW[person], "draining", script, context=200_000)
    becomes(site, utc_now(), alice="trial 500", charlie="trial 500")

    def tries() -> int:
        return sum(call.model == BAD for call in upstream.calls())

    def has_failed_four_times() -> bool:
        assert asked(site, keys[ALICE]) == OLD[ALICE]  # answers where the newer one failed, too
        return tries() >= 4

    wait_until(has_failed_four_times, PATIENCE_S)
    assert {asked(site, keys[CHARLIE]) for _ in range(FEW)} <= {OLD[CHARLIE], NEW[CHARLIE]}
    becomes(site, utc_now() + timedelta(minutes=10), alice="rolled_back 0", charlie="trial 500")
    shown = page(site, cookies[ALICE])
    assert f"the newer model fails in 100.0% ({tries()} of {tries()}) of calls, the older one in 0.0%" in shown
    assert [asked(site, keys[ALICE]) for _ in range(FEW)] == [OLD[ALICE]] * FEW

    later = utc_now() + timedelta(hours=9)
    becomes(site, later, alice="rolled_back 0", charlie="trial 5000")
    site.begin_again((later + timedelta(minutes=5)).isoformat())
    assert {asked(site, keys[CHARLIE]) for _ in range(FEW)} == {OLD[CHARLIE], NEW[CHARLIE]}
    becomes(site, later + timedelta(days=14, hours=1), alice="rolled_back 0", charlie="done 10000")
    assert [asked(site, keys[CHARLIE]) for _ in range(FEW)] == [NEW[CHARLIE]] * FEW
    (pin,) = call(site.url, "/api/pins", keys[CHARLIE]).json["data"]
    assert (pin["model"], pin["trial"]) == (NEW[CHARLIE], None)
    assert NEW[CHARLIE] in page(site, cookies[CHARLIE])
