"""What the letter tells of upgrades of pins, and what it asks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from accounts.models import Organization
from advisor.actions.samples import Member, do_choose_samples
from advisor.actions.upgrades import DECLINED, OVERTAKEN, PIN
from advisor.models import Upgrade
from advisor.news import CASES_MOST
from routing.selection.words import TASKS
from tests.advisor.letters.delivering import CHEAPER, MONDAY, WEEK, asked, letter_to, made
from tests.advisor.letters.test_letter import both, plain, words_of
from tests.people import Person, new_member

NEXT = "2026-W50"
LAST_WEEK = MONDAY - timedelta(days=3)
WAS_TRIED = [
    {"case": "greets", "old": True, "new": True, "why": "", "charge_nano": 7},
    {"case": "says no", "old": True, "new": False, "why": "the text is not in it", "charge_nano": 7},
]


@pytest.fixture(autouse=True)
def _on_monday():
    with time_machine.travel(MONDAY, tick=False):
        yield


def over(person: Person, state: str, reason: str, **more: Any) -> Upgrade:
    """One that ended in the week that is told of."""
    return asked(person, state=state, reason=reason, ended_at=LAST_WEEK, **more)


def told(person: Person, week: str = WEEK) -> list[str]:
    """The titles of what her letter tells of pins."""
    return [newer.told.title for newer in both(person, week)[0].context["upgrades"]]


def seen(html: str) -> str:
    return plain(" ".join(words_of(html).found))


def test_a_question_about_a_pin_is_worth_a_letter(alice: Person):
    Organization.objects.update(name="Acme")
    asked(alice)
    assert not made(alice, said=()).is_silent
    written, text, html = both(alice)
    assert written.subject == "Acme: Try acme/mini for writing?"
    for part in (
        "Newer models for your pins",
        "Try acme/mini for writing?",
        "It follows acme/large, which is pinned.",
        "Stay with large",
    ):
        assert part in plain(text), part
        assert part in seen(html), part
    assert "Worth" not in text
    (newer,) = written.context["upgrades"]
    assert {newer.agree, newer.decline} <= set(words_of(html).links)
    assert newer.agree in text
    assert newer.decline in text


@pytest.mark.parametrize(
    ("state", "new_model", "reason", "words"),
    [
        (
            "done",
            "acme/mini",
            "nothing speaks against it after 26 hours and 1024 calls",
            "acme/mini answers writing now It took the place of acme/large: nothing speaks against it after 26 hours",
        ),
        (
            "rolled_back",
            "acme/mini",
            "the newer model fails in 9.0% of calls (18 of 200), the older one in 1.0% (38 of 3800)",
            "acme/large stays for writing: the trial of acme/mini is over Why: the newer model fails in 9.0% of calls",
        ),
        (
            "refused",
            "acme/mini",
            "acme/mini cannot do what acme/large can: vision",
            "acme/large stays for writing: acme/mini is not tried Why: acme/mini cannot do what acme/large can",
        ),
        (
            "done",
            "acme/large-2",
            "acme/large ends on 2026-12-06; acme/large-2 is its successor",
            "acme/large-2 answers writing now It took the place of acme/large: acme/large ends on 2026-12-06;",
        ),
        (
            "refused",
            "",
            "acme/large ends on 2026-12-06 and has no successor that your keys may call: the policy chooses again",
            "neo-mode chooses again for writing The pin to acme/large is gone: acme/large ends on 2026-12-06 and has",
        ),
    ],
    ids=["moved", "rolled back", "refused", "moved before its model ends", "left to the policy before its model ends"],
)
def test_how_it_ended_is_worth_a_letter_and_said_with_the_reason(
    alice: Person, state: str, new_model: str, reason: str, words: str
):
    over(alice, state, reason, new_model=new_model)
    assert not made(alice, said=()).is_silent
    written, text, html = both(alice)
    assert words in plain(text).replace("* ", "")
    assert words in seen(html)
    assert written.context["upgrades"][0].agree == ""


@pytest.mark.parametrize("state", ["judged", "trial"])
def test_what_is_on_its_way_is_told_where_a_letter_goes_out_anyway(alice: Person, charlie: Person, state: str):
    for person in (alice, charlie):
        asked(person, state=state, share_basis_points=500)
    assert made(alice, said=()).is_silent
    made(charlie, said=(CHEAPER,))
    (title,) = told(charlie)
    assert title.endswith("trial for writing: acme/mini")
    if state == "trial":
        assert "It answers 5 % of the calls that the pin sent to acme/large" in plain(both(charlie)[1])


def test_what_a_member_ended_or_another_move_overtook_is_no_news(alice: Person):
    over(alice, "refused", "a member declined it", report={"ended_by": DECLINED})
    over(alice, "rolled_back", "the pin or its setting was changed", task="math", report={"ended_by": PIN})
    over(alice, "rolled_back", "acme/large ends on 2026-12-06", task="vision", report={"ended_by": OVERTAKEN})
    assert made(alice, said=()).is_silent
    made(alice, NEXT)
    assert told(alice, NEXT) == []


def test_each_is_told_by_its_week_and_once(alice: Person):
    """A question after the week in which it was asked, and how it ended after the week in which it did."""
    upgrade = asked(alice)
    made(alice, said=())
    assert told(alice) == ["Try acme/mini for writing?"]
    assert made(alice, NEXT, said=(), now=MONDAY + timedelta(days=7)).is_silent, "it is asked once"
    Upgrade.objects.filter(pk=upgrade.pk).update(
        state="done", reason="nothing speaks against it", ended_at=MONDAY + timedelta(days=8)
    )
    made(alice, "2026-W51", said=(), now=MONDAY + timedelta(days=14))
    assert told(alice, "2026-W51") == ["acme/mini answers writing now"]
    assert made(alice, "2026-W52", said=(), now=MONDAY + timedelta(days=21)).is_silent


def test_a_week_is_from_monday_to_sunday_in_utc(alice: Person):
    for moment, task in (
        ("2026-11-22T23:59:59", "math"),
        ("2026-11-23T00:00:00", "writing"),
        ("2026-11-29T23:59:59", "vision"),
        ("2026-11-30T00:00:00", "reasoning"),
    ):
        asked(alice, task=task, created_at=datetime.fromisoformat(moment).replace(tzinfo=UTC))
    made(alice, said=())
    assert told(alice) == ["Try acme/mini for vision?", "Try acme/mini for writing?"]


def test_what_was_asked_and_ended_before_the_letter_was_made_is_told_by_the_next(alice: Person):
    asked(alice, state="done", reason="nothing speaks against it", ended_at=MONDAY - timedelta(hours=1))
    assert made(alice, said=()).is_silent
    made(alice, NEXT, said=(), now=MONDAY + timedelta(days=7))
    assert told(alice, NEXT) == ["acme/mini answers writing now"]


def test_what_was_answered_before_the_letter_went_out_has_no_buttons(alice: Person):
    upgrade = asked(alice)
    made(alice, said=())
    later = {"state": "refused", "reason": "a member declined it", "report": {"ended_by": DECLINED}}
    Upgrade.objects.filter(pk=upgrade.pk).update(ended_at=MONDAY + timedelta(minutes=5), **later)
    assert told(alice) == ["acme/large stays for writing: acme/mini is not tried"]
    assert both(alice)[0].context["upgrades"][0].agree == ""


def test_the_cases_that_both_models_were_put_are_a_table_with_the_difference_first(alice: Person):
    why = "acme/mini fails what acme/large passes: says no (the text is not in it)"
    over(alice, "refused", why, report={"ended_by": "cases", "cases": WAS_TRIED})
    made(alice, said=())
    _, text, html = both(alice)
    assert "evaluation case large mini says no passes fails greets passes passes" in seen(html)
    assert "at large and at mini: - says no: passes, fails - greets: passes, passes" in plain(text)


def test_a_letter_is_small_enough_to_be_shown_whole_however_much_there_is_to_tell(alice: Person):
    """Gmail cuts after 102 kB."""
    for task in TASKS:
        cases = [{"case": f"case {number} of {task} " + "x" * 70, "old": True, "new": False} for number in range(20)]
        over(alice, "refused", "x" * 500, task=task, report={"cases": cases})
    made(alice, said=[CHEAPER])
    written, text, html = both(alice)
    assert len(html.encode()) < 95_000
    shown = [newer.told for newer in written.context["upgrades"]]
    assert (len(shown), sum(len(one.cases) for one in shown)) == (len(TASKS), CASES_MOST)
    assert "20 more are on the page of the advisor." in text


def test_who_may_not_answer_has_no_links_and_nobody_hears_of_others_pins(alice: Person, charlie: Person):
    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    asked(alice)
    made(alice, said=())
    assert told(viewer) == ["Try acme/mini for writing?"]
    assert both(viewer)[0].context["upgrades"][0].agree == ""
    made(charlie)
    assert told(charlie) == []


def asks(person: Person, week: str = WEEK) -> bool:
    """Whether her letter asks if prompts may be kept."""
    written, text, html = both(person, week)
    is_asked = bool(written.context["samples_url"])
    assert ("May we keep typical prompts of yours?" in text) is is_asked
    assert (written.context["samples_url"] in words_of(html).links) is is_asked
    return is_asked


def test_the_first_letter_asks_once_whether_prompts_may_be_kept(alice: Person):
    made(alice, "2026-W48", said=())
    made(alice)
    assert asks(alice), "a silent digest was no letter"
    made(alice, NEXT)
    assert not asks(alice, NEXT)


def test_who_may_not_answer_is_not_asked(alice: Person):
    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    made(alice)
    assert asks(alice)
    assert not asks(viewer)


@pytest.mark.parametrize("allowed", [True, False])
def test_after_an_answer_nobody_is_asked_and_the_letter_says_what_tests_start_with(alice: Person, allowed: bool):
    made(alice)
    assert "Tests start with a stand-in prompt, as your prompts are not kept." in plain(both(alice)[1])
    do_choose_samples(Member(alice.organization_id, alice.email), allowed=allowed, now=MONDAY)
    assert not asks(alice)
    own = "Tests start with a typical prompt of yours where one is kept, else with a stand-in."
    _, text, html = both(alice)
    assert (own in plain(text), own in seen(html)) == (allowed, allowed)
    assert letter_to(alice).state == "waiting"
