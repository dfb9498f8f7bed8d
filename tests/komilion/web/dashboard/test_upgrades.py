"""Upgrades of pins on `/dashboard/advisor`: what is asked and answered, what they showed, and how pins take them."""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import AuditEntry
from advisor.canary import Arm
from advisor.models import Advice, EvaluationCase, PromptSample, Upgrade
from komilion.common.clock import utc_now
from routing.actions.pins import Pinner, do_set_upgrades
from routing.queries import charged_prices
from routing.selection.models import Pin
from tests.advisor.effects import noted
from tests.advisor.letters.delivering import CHEAPER, made, week_now
from tests.advisor.pinning import NEW, OLD, TASK, pin_for, pin_of
from tests.komilion.web.dashboard.reading import open_page, tables_of, text_of
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Person:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in (OLD, NEW):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
    alice = new_owner("alice@example.com")
    pin_for(alice)
    return alice


def page(person: Person) -> str:
    return open_page(person, "/dashboard/advisor")


def words(person: Person) -> str:
    return text_of(page(person))


def post(person: Person, path: str = "", **form: Any) -> str:
    """To the page that comes of it, in words."""
    answer = person.browser.post(f"/dashboard/advisor/upgrades{path}", form, follow=True)
    return text_of(answer.content.decode())


def upgrade(person: Person, state: str = "asked", **values: Any) -> Upgrade:
    now = utc_now()
    ended_at = now if state in {"done", "refused", "rolled_back"} else None
    found = {"task": TASK, "old_model": OLD, "new_model": NEW, "step_at": now, "created_at": now, "ended_at": ended_at}
    return Upgrade.objects.create(organization_id=person.organization_id, state=state, **{**found, **values})


def step(share: int, **of_new: int) -> dict[str, Any]:
    old, new = Arm(calls=950, timed=950), Arm(**{"calls": 50, "timed": 50, **of_new})
    return {"share": share, "old": asdict(old), "new": asdict(new), "diverted": 0}


def test_who_is_asked_reads_what_a_yes_does_and_says_it(alice: Person):
    asked = upgrade(alice)
    shown = words(alice)
    assert f"{NEW} in the place of {OLD} for {TASK}" in shown
    assert "It waits for your answer. If you agree" in shown
    assert "Yes, try it" in shown
    assert f"{NEW} answers 5 % of the requests for {TASK} from now on" in post(alice, "/agree", upgrade=asked.pk)
    assert (pin_of(alice).trial_model, pin_of(alice).trial_basis_points) == (NEW, 500)
    assert AuditEntry.objects.get(action="upgrade.agree").actor == alice.email
    assert "Yes, try it" not in words(alice)


def test_a_yes_says_that_evaluation_cases_come_first(alice: Person):
    EvaluationCase.objects.create(
        organization_id=alice.organization_id, task=TASK, name="a", check_kind="contains", created_at=utc_now()
    )
    told = post(alice, "/agree", upgrade=upgrade(alice).pk)
    assert f"Both models answer your evaluation cases for {TASK} first" in told
    assert pin_of(alice).trial_model == ""


def test_a_yes_for_a_pin_that_was_changed_says_that_nothing_begins(alice: Person):
    asked = upgrade(alice)
    Pin.objects.all().delete()
    assert "was changed meanwhile, so nothing begins." in post(alice, "/agree", upgrade=asked.pk)


def test_a_no_keeps_the_pin(alice: Person):
    told = post(alice, "/decline", upgrade=upgrade(alice).pk)
    assert f"{OLD} stays for {TASK}. You are not asked about {NEW} again." in told
    assert (Upgrade.objects.get().state, pin_of(alice).model) == ("refused", OLD)
    assert "a member declined it" in words(alice)


def test_what_nobody_is_asked_about_changes_nothing_and_says_why(alice: Person):
    trial = upgrade(alice, "trial")
    for path in ("/agree", "/decline"):
        assert f"Nobody is asked about the upgrade to {NEW} any more: on trial." in post(alice, path, upgrade=trial.pk)
        for wrong in ("", "x", "99", str(2**70)):
            assert "There is no such upgrade." in post(alice, path, upgrade=wrong)
    assert Upgrade.objects.get().state == "trial"


def test_upgrades_of_another_organization_are_nobody_elses(alice: Person):
    asked = upgrade(alice)
    charlie = new_owner("charlie@example.com")
    assert NEW not in words(charlie)
    for path in ("/agree", "/decline"):
        assert "There is no such upgrade." in post(charlie, path, upgrade=asked.pk)
    assert "There is no such pin any more." in post(charlie, task=TASK, upgrades="off")
    assert (Upgrade.objects.get().state, pin_of(alice).upgrades) == ("asked", "auto")


def test_what_waits_for_an_answer_comes_first(alice: Person):
    upgrade(alice, "trial", task="math")
    upgrade(alice)
    shown = words(alice)
    assert shown.index(f"{NEW} in the place of {OLD} for {TASK}") < shown.index(f"{NEW} in the place of {OLD} for math")


def test_who_may_not_change_routing_sees_it_without_buttons(alice: Person):
    asked = upgrade(alice)
    vera = new_member("vera@example.com", alice.organization_id, "viewer")
    assert "It waits for your answer." in words(vera)
    assert "dashboard/advisor/" not in page(vera), "there are no forms"
    for path in ("", "/agree", "/decline"):
        form = {"upgrade": asked.pk, "task": TASK, "upgrades": "off"}
        assert vera.browser.post(f"/dashboard/advisor/upgrades{path}", form).status_code == 403


def test_a_trial_shows_its_share_both_models_and_what_is_found(alice: Person):
    report = {"now": step(500, failed=2, log_ms=345), "said": "50 of 200 calls, 3 of 6 hours"}
    upgrade(alice, "trial", share_basis_points=500, report=report)
    shown, rows = words(alice), tables_of(page(alice))
    assert f"{NEW} answers 5 % of the requests. While nothing gets worse, 50 % follow" in shown
    assert "50 of 200 calls, 3 of 6 hours" in shown
    assert [NEW, "5 %", "50", "2", "0", "0", "0", "1.0 s"] in rows
    assert [OLD, "5 %", "950", "0", "0", "0", "0", "0.0 s"] in rows


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("done", "nothing speaks against it", "moved"),
        ("rolled_back", "the newer model fails in 9.0% of calls", "rolled back"),
        ("refused", "it costs more", "refused"),
    ],
)
def test_an_upgrade_that_ended_says_how_and_why_with_its_figures(alice: Person, state: str, reason: str, said: str):
    upgrade(alice, state, reason=reason, report={"steps": [step(500), step(5_000, failed=7)], "now": step(500)})
    rows = tables_of(page(alice))
    (row,) = [row for row in rows if row[:2] == [TASK, f"{OLD} to {NEW} {reason}"]]
    assert row[2].startswith(said)
    assert [row[1:4] for row in rows if row[0] == NEW] == [["5 %", "50", "0"], ["50 %", "50", "7"]]


def test_evaluation_cases_stand_in_a_table_with_what_they_cost(alice: Person):
    case = {"case": "greets", "old": True, "new": False, "why": "the text is not in it", "charge_nano": 210_000_000}
    upgrade(alice, "refused", reason="it fails", report={"cases": [case]})
    assert ["greets", "passes", "fails", "the text is not in it"] in tables_of(page(alice))
    assert "These answers cost $0.21 , paid from your wallet." in words(alice)


def test_a_model_that_ended_without_a_successor_left_for_the_policy(alice: Person):
    upgrade(alice, "refused", new_model="", reason="it ends on 1 December: the policy chooses again")
    assert any(row[1:2] and row[1].startswith(f"{OLD} to the policy it ends") for row in tables_of(page(alice)))


def test_a_pin_says_and_takes_how_newer_models_are_taken(alice: Person):
    assert "by themselves, after a trial" in words(alice)
    post(alice, task=TASK, upgrades="ask")
    assert pin_of(alice).upgrades == "ask"
    assert "after a trial, once somebody agrees" in words(alice)
    assert "Select a valid choice" in post(alice, task=TASK, upgrades="x")
    for wrong in ({"task": "math", "upgrades": "off"}, {}):
        assert "There is no such pin any more." in post(alice, **wrong)
    assert pin_of(alice).upgrades == "ask"


def test_a_pin_has_a_ceiling_for_what_newer_models_cost(alice: Person):
    price = charged_prices(OLD)
    post(alice, task=TASK, upgrades="auto", most_input="$4.5", most_output="")
    assert pin_of(alice).ceiling == {"input": 4_500_000_000, "output": price["output"]}
    assert "$4.50 in" in words(alice)
    assert 'value="4.50"' in page(alice)
    assert AuditEntry.objects.filter(action="pin.ceiling").count() == 1
    refused = post(alice, task=TASK, upgrades="off", most_input="much", most_output="1")
    assert "Write an amount in US dollars" in refused
    assert (pin_of(alice).upgrades, pin_of(alice).ceiling["input"]) == ("auto", 4_500_000_000)


def test_a_form_without_prices_leaves_the_ceiling_alone(alice: Person):
    post(alice, task=TASK, upgrades="auto", most_input="4.5", most_output="20")
    post(alice, task=TASK, upgrades="off")
    assert pin_of(alice).ceiling == {"input": 4_500_000_000, "output": 20_000_000_000}


def test_a_ceiling_without_a_price_for_input_is_shown_as_it_is(alice: Person):
    Pin.objects.update(ceiling={"output": 2_000_000_000})  # set after its model had left the catalogue
    assert "$2.00 out" in words(alice)
    assert "in, $2.00 out" not in words(alice)


def test_a_pin_from_before_there_were_ceilings_allows_what_it_costs_itself(alice: Person):
    Pin.objects.update(ceiling={})
    assert "what it costs itself" in words(alice)
    do_set_upgrades(Pinner(alice.organization_id, alice.email), TASK, Pin.Upgrades.OFF)
    assert "what it costs itself" in words(alice)


def test_the_page_takes_few_queries_with_everything_on_it(alice: Person, time_machine: Any):
    made(alice, week_now(), [replace(CHEAPER, task=task, model=NEW) for task in ("math", "vision")])
    advice = Advice.objects.order_by("rank")[0]
    alice.browser.post("/dashboard/advisor/accept", {"advice": advice.pk})
    noted(advice, "2026-W46")
    alice.browser.post("/dashboard/advisor/samples", {"keep": "yes"})
    for number, task in enumerate(("knowledge-qa", "reasoning", "other")):
        pin_for(alice, task=task)
        upgrade(alice, task=task, report={"now": step(500)})
        upgrade(alice, "done", task=task, report={"steps": [step(500)]})
        row = {"organization_id": alice.organization_id, "task": task, "created_at": utc_now()}
        EvaluationCase.objects.create(**row, name="a", check_kind="contains")
        PromptSample.objects.create(**row, request_id=f"r{number}", text="x")
    alice.browser.get("/dashboard/advisor")  # which takes away the messages of these clicks
    time_machine.move_to(utc_now() + timedelta(hours=2))  # what is counted once an hour is counted now
    shown = words(alice)  # which counts the queries
    assert shown.count("Yes, try it") == 3
    assert "measured over 1 week" in shown
