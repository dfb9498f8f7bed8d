"""Upgrades of pins by the REST API: who sees which, and what answering them does."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import AuditEntry
from advisor.canary import Arm
from advisor.models import EvaluationCase, Upgrade
from komilion.common.clock import utc_now
from routing.selection.models import Pin
from tests.advisor.pinning import NEW, OLD, TASK, pin_for, pin_of
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(db: None) -> Person:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in (OLD, NEW, "acme/other"):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
    return new_owner("alice@example.com")


def session(person: Person) -> Api:
    return Api(browser=person.browser)


def upgrade(person: Person, state: str = "asked", **values: Any) -> Upgrade:
    now = utc_now()
    ended_at = now if state in {"done", "refused", "rolled_back"} else None
    found = {"task": TASK, "old_model": OLD, "new_model": NEW, "step_at": now, "created_at": now, "ended_at": ended_at}
    return Upgrade.objects.create(organization_id=person.organization_id, state=state, **{**found, **values})


def listed(api: Api) -> list[dict[str, Any]]:
    answer = api("GET", "/api/advisor/upgrades")
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def answered(api: Api, upgrade_id: int, how: str) -> Any:
    return api("POST", f"/api/advisor/upgrades/{upgrade_id}/{how}")


def test_who_agrees_has_the_newer_model_tried(alice: Person):
    pin_for(alice)
    asked = upgrade(alice)
    (row,) = listed(session(alice))
    assert (row["task_type"], row["model"], row["new_model"], row["state"]) == (TASK, OLD, NEW, "asked")
    assert row["can_be_answered"]
    answer = answered(session(alice), asked.pk, "agree")
    assert (answer.status_code, answer.json()["state"], answer.json()["share_basis_points"]) == (200, "trial", 500)
    assert "5 % of the requests. While nothing gets worse, 50 % follow" in answer.json()["next"]
    assert (pin_of(alice).trial_model, pin_of(alice).trial_basis_points) == (NEW, 500)
    assert AuditEntry.objects.get(action="upgrade.agree").actor == alice.email


def test_evaluation_cases_come_before_the_trial(alice: Person):
    pin_for(alice)
    EvaluationCase.objects.create(
        organization_id=alice.organization_id, task=TASK, name="a", check_kind="contains", created_at=utc_now()
    )
    answer = answered(session(alice), upgrade(alice).pk, "agree")
    assert answer.json()["state"] == "judged"
    assert "answer your evaluation cases" in answer.json()["next"]
    assert pin_of(alice).trial_model == ""


def test_who_declines_keeps_the_pin(alice: Person):
    pin_for(alice)
    answer = answered(session(alice), upgrade(alice).pk, "decline").json()
    assert (answer["state"], answer["reason"], answer["can_be_answered"]) == ("refused", "a member declined it", False)
    assert answer["ended_at"]
    assert (pin_of(alice).model, pin_of(alice).trial_model) == (OLD, "")
    assert AuditEntry.objects.get(action="upgrade.decline").actor == alice.email


@pytest.mark.parametrize("state", ["judged", "trial", "done", "rolled_back", "refused"])
def test_what_nobody_is_asked_about_any_more_is_a_conflict(alice: Person, state: str):
    pin_for(alice)
    over = upgrade(alice, state)
    for how in ("agree", "decline"):
        answer = answered(session(alice), over.pk, how)
        assert answer.status_code == 409
        assert f"Nobody is asked about the upgrade to {NEW} any more" in answer.json()["error"]["message"]
    assert Upgrade.objects.get().state == state


def test_figures_and_cases_are_told(alice: Person):
    step = {
        "share": 500,
        "old": asdict(Arm(calls=950, failed=3, timed=100, log_ms=690.8)),
        "new": asdict(Arm(calls=50, retried=1, cut=2, disliked=4)),
        "diverted": 6,
    }
    case = {"case": "greets", "old": True, "new": False, "why": "the text is not in it", "charge_nano": 1_500_000}
    upgrade(alice, "trial", report={"now": step, "said": "50 of 200 calls", "cases": [case]}, share_basis_points=500)
    (row,) = listed(session(alice))
    (told,) = row["steps"]
    assert (told["share_basis_points"], told["not_sent"], row["progress"]) == (500, 6, "50 of 200 calls")
    assert (told["model"]["calls"], told["model"]["failed"], told["model"]["typical_s"]) == (950, 3, 1.0)
    assert told["new_model"] == {
        "calls": 50,
        "failed": 0,
        "retried": 1,
        "cut": 2,
        "voted_down": 4,
        "typical_s": None,
    }
    assert row["cases"] == [
        {
            "name": "greets",
            "model_passes": True,
            "new_model_passes": False,
            "why": "the text is not in it",
            "charge_usd": "0.0015",
        }
    ]


def test_a_model_that_left_for_the_policy_has_no_newer_one(alice: Person):
    upgrade(alice, "refused", new_model="", reason="it ends on 1 December")
    (row,) = listed(session(alice))
    assert (row["new_model"], row["next"]) == (None, f"The policy chooses for {TASK} again.")


def test_what_runs_comes_first_and_what_ended_long_ago_is_gone(alice: Person):
    now = utc_now()
    for days, task in ((61, "math"), (2, "vision"), (1, "other")):
        upgrade(alice, "done", task=task, ended_at=now - timedelta(days=days))
    upgrade(alice, "trial")
    assert [row["task_type"] for row in listed(session(alice))] == [TASK, "other", "vision"]


def test_upgrades_are_the_organizations_own(alice: Person):
    charlie = session(new_owner("charlie@example.com"))
    pin_for(alice)
    asked = upgrade(alice)
    assert listed(charlie) == []
    for how in ("agree", "decline"):
        assert answered(charlie, asked.pk, how).status_code == 404
        assert answered(session(alice), 2**70, how).status_code == 404
    assert Upgrade.objects.get().state == "asked"


def test_who_may_not_route_reads_and_answers_nothing(alice: Person):
    pin_for(alice)
    asked = upgrade(alice)
    viewer = session(new_member("vera@example.com", alice.organization_id, "viewer"))
    assert [row["id"] for row in listed(viewer)] == [asked.pk]
    assert {answered(viewer, asked.pk, how).status_code for how in ("agree", "decline")} == {403}
    assert answered(Api(), asked.pk, "agree").status_code == 401
    assert Pin.objects.get().trial_model == ""


def test_a_key_sees_and_answers_nothing_of_models_that_it_may_not_call(alice: Person):
    pin_for(alice)
    asked = upgrade(alice)
    for allowed in ({OLD}, {NEW}):
        narrow = Api(alice.key(models_allowed=frozenset(allowed)).secret)
        assert listed(narrow) == []
        assert answered(narrow, asked.pk, "agree").status_code == 404
    both = Api(alice.key("both", models_allowed=frozenset({OLD, NEW})).secret)
    assert answered(both, asked.pk, "agree").status_code == 200
    assert AuditEntry.objects.get(action="upgrade.agree").actor.startswith("key ")


def test_a_key_that_reads_its_own_usage_alone_sees_no_figures_of_all_keys(alice: Person):
    step = {"share": 500, "old": asdict(Arm(calls=950)), "new": asdict(Arm(calls=50)), "diverted": 0}
    case = {"case": "greets", "old": True, "new": True, "why": "", "charge_nano": 1}
    upgrade(alice, "trial", report={"now": step, "said": "50 of 200 calls", "cases": [case]}, share_basis_points=500)
    (row,) = listed(Api(alice.key().secret))
    assert (row["state"], row["progress"], row["steps"], row["cases"]) == ("trial", None, None, None)
    (row,) = listed(Api(alice.key(can_manage=True).secret))
    assert (len(row["steps"]), len(row["cases"])) == (1, 1)
