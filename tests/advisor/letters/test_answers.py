"""Answers to what a letter asks: whether a newer model is tried for a pin, and whether prompts may be kept."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry
from advisor.access import access_samples, access_upgrade
from advisor.actions.links import do_answer_samples, do_answer_upgrade
from advisor.actions.samples import Member, do_choose_samples
from advisor.actions.upgrades import do_decline
from advisor.errors import AdviceClosed
from advisor.letter import write
from advisor.models import EvaluationCase, PromptSample, SampleChoice, Upgrade, UsedLink
from komilion.common.clock import utc_now
from routing.actions.pins import Pinner, do_set_pin
from routing.selection.models import Pin
from tests.advisor.letters.delivering import asked, letter_to, links_in, made, week_now
from tests.advisor.letters.pressing import press, says
from tests.people import Person, new_member

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def links(alice: Person, models: None) -> dict[str, str]:
    """Of the first letter that Alice got: her pin is asked about, and whether prompts may be kept."""
    do_set_pin(Pinner(alice.organization_id, alice.email), "writing", "acme/large")
    asked(alice, week_now())
    made(alice, week_now())
    return links_in(write(letter_to(alice, week_now())))


def pinned() -> tuple[str, str, int]:
    pin = Pin.objects.get()
    return pin.model, pin.trial_model, pin.trial_basis_points


def opened(access: Any, path: str, now: datetime | None = None) -> Any:
    return access(path.rpartition("/")[2], now or utc_now())


def test_agreeing_begins_a_trial(links: dict[str, str], alice: Person, anybody: Client):
    page = says(anybody.get(links["agree"]))
    assert "Try acme/mini for writing?" in page
    assert "acme/mini answers 5 % of the calls that the pin sends to acme/large" in page
    assert "evaluation case" not in page
    assert "acme/mini is on trial" in says(press(anybody, links["agree"]))
    assert pinned() == ("acme/large", "acme/mini", 500)
    assert Upgrade.objects.get().state == "trial"
    assert AuditEntry.objects.filter(action="upgrade.agree", actor=alice.email).exists()


def test_where_there_are_cases_they_come_first_and_who_pays_is_said(
    links: dict[str, str], alice: Person, anybody: Client
):
    EvaluationCase.objects.create(
        organization_id=alice.organization_id, task="writing", name="greets", prompt="Hi", created_at=utc_now()
    )
    assert "evaluation case of this task type is put to both models first. Its calls are paid by your wallet" in says(
        anybody.get(links["agree"])
    )
    assert "Your evaluation cases come first" in says(press(anybody, links["agree"]))
    assert (Upgrade.objects.get().state, pinned()) == ("judged", ("acme/large", "", 0))


def test_declining_leaves_the_pin_as_it_is(links: dict[str, str], alice: Person, anybody: Client):
    assert "Stay with acme/large?" in says(anybody.get(links["decline"]))
    assert "acme/large stays pinned" in says(press(anybody, links["decline"]))
    upgrade = Upgrade.objects.get()
    assert (upgrade.state, upgrade.reason, pinned()) == ("refused", "a member declined it", ("acme/large", "", 0))
    assert AuditEntry.objects.filter(action="upgrade.decline", actor=alice.email).exists()


def test_a_pin_that_was_changed_meanwhile_is_tried_nothing_for(links: dict[str, str], anybody: Client):
    Pin.objects.update(model="acme/mini")
    answer = says(press(anybody, links["agree"]))
    assert "Nothing to try any more" in answer
    assert "It is not tried: the pin was changed." in answer


def test_what_was_answered_cannot_be_answered_by_the_other_link(links: dict[str, str], anybody: Client):
    press(anybody, links["decline"])
    for answer in (anybody.get(links["agree"]), Client().post(links["agree"])):
        assert answer.status_code == 409
        assert "Nobody is asked about the upgrade to acme/mini any more" in says(answer)
    assert (Upgrade.objects.get().state, UsedLink.objects.count()) == ("refused", 1)


def test_of_two_members_who_answer_at_once_one_is_too_late(links: dict[str, str], alice: Person):
    """Both have looked before either answers."""
    late = opened(access_upgrade, links["agree"])
    do_decline(Pinner(alice.organization_id, "bob@example.com"), Upgrade.objects.get().pk, utc_now())
    with pytest.raises(AdviceClosed):
        do_answer_upgrade(late, utc_now())
    assert (pinned(), UsedLink.objects.count()) == (("acme/large", "", 0), 0)


def test_the_page_says_what_is_kept_before_anybody_answers(links: dict[str, str], anybody: Client):
    page = says(anybody.get(links["samples"]))
    for words in (
        "May we keep typical prompts of yours?",
        "one prompt for each task type and day at most, up to 1,500 characters of it; no answers",
        "names that somebody introduces herself by",
        "14 days; at any time the page of the advisor deletes all of them",
        "the members of your organization; they stand in no letter",
    ):
        assert words in page, words


@pytest.mark.parametrize(("keep", "allowed"), [("yes", True), ("no", False)])
def test_an_answer_about_prompts_holds_for_the_organization(
    links: dict[str, str], alice: Person, anybody: Client, keep: str, allowed: bool
):
    assert press(anybody, links["samples"], keep=keep).status_code == 200
    choice = SampleChoice.objects.get()
    assert (choice.organization_id, choice.is_allowed, choice.chosen_by) == (
        alice.organization_id,
        allowed,
        alice.email,
    )
    action = "samples.allow" if allowed else "samples.refuse"
    assert AuditEntry.objects.filter(action=action, actor=alice.email).exists()


def test_a_form_that_says_neither_changes_nothing(links: dict[str, str], anybody: Client):
    for form in ({}, {"keep": "perhaps"}):
        assert "May we keep typical prompts" in says(press(anybody, links["samples"], **form))
    assert (SampleChoice.objects.count(), UsedLink.objects.count()) == (0, 0)


def test_an_old_letter_takes_back_nothing_that_was_answered_since(
    links: dict[str, str], alice: Person, anybody: Client
):
    """Nor does one who looked before the answer, and pressed the button after it."""
    late = opened(access_samples, links["samples"])
    do_choose_samples(Member(alice.organization_id, alice.email), allowed=False, now=utc_now())
    with pytest.raises(AdviceClosed):
        do_answer_samples(late, utc_now(), allowed=True)
    for answer in (anybody.get(links["samples"]), Client().post(links["samples"], {"keep": "yes"})):
        assert answer.status_code == 409
        assert "answered already" in says(answer)
    assert (SampleChoice.objects.get().is_allowed, UsedLink.objects.count()) == (False, 0)


def sample(person: Person, text: str, task: str = "summarization") -> None:
    PromptSample.objects.create(
        organization_id=person.organization_id, task=task, request_id=text, text=text, created_at=utc_now()
    )


def test_side_by_side_begins_with_the_newest_prompt_of_ones_own_and_says_so(
    links: dict[str, str], alice: Person, charlie: Person
):
    """The letter has none, so what is deleted is gone from old letters too."""
    sample(charlie, "Another's words")
    sample(alice, "About something else", "writing")
    page = alice.browser.get(links["compare"])
    assert page.context["run"].prompt.startswith("Sum this up in one sentence")
    assert "The prompt is a stand-in: none of yours is kept for this task type." in says(page)
    sample(alice, "Our older words")
    sample(alice, "Our own words")
    page = alice.browser.get(links["compare"])
    assert page.context["run"].prompt == "Our own words"
    assert "The prompt is a typical one of yours for this task type" in says(page)
    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    assert "Our own words" not in viewer.browser.get(links["compare"]).content.decode(), "who may ask nothing"
    PromptSample.objects.all().delete()
    assert alice.browser.get(links["compare"]).context["run"].prompt.startswith("Sum this up")
