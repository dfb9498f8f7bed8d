"""Evaluation cases decide before a trial: both models answer them through the gateway, and the wallet pays once."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Membership
from advisor.actions import judgements
from advisor.actions.judgements import do_judge_upgrades
from advisor.actions.upgrades import do_look_for_upgrades
from advisor.checks import Checked, check
from advisor.models import EvaluationCase, Upgrade
from billing.models import UsageRow
from komilion.common.clock import monotonic_s, utc_now
from routing.actions.pins import Pinner, do_set_pin
from routing.gateway.inside import ChatRefused
from routing.selection.models import Pin
from tests.advisor.pinning import TASK, change_model
from tests.fakes.replies import Reply
from tests.routing.books import organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.unborn import expect_unborn

HOUR = timedelta(hours=1)


@pytest.fixture
def alice(gateway: Gateway) -> Tenant:
    """Nothing waits of other tests, which have the same database."""
    Upgrade.objects.filter(ended_at=None).update(state="refused", ended_at=utc_now())
    return gateway.tenant()


def waiting(
    gateway: Gateway, tenant: Tenant, old: str | Reply, new: str | Reply, *cases: str, task: str = TASK
) -> Upgrade:
    """An upgrade from a model that answers so to one that answers otherwise, to be judged by what answers contain."""
    names = [gateway.add_model(reply) for reply in (old, new)]
    change_model(names[0], line=names[1])
    organization = organization_id(tenant)
    for number, expected in enumerate(cases):
        EvaluationCase.objects.create(
            organization_id=organization,
            task=task,
            name=f"case {number}",
            prompt="Say hello.",
            check_kind="contains",
            expected=expected,
            created_by="alice",
            created_at=utc_now(),
        )
    do_set_pin(Pinner(organization, "alice"), task, names[0])
    do_look_for_upgrades(utc_now())
    upgrade = Upgrade.objects.get(organization_id=organization, task=task)
    assert upgrade.state == "judged"
    return upgrade


def judge(later: timedelta = timedelta()) -> int:
    try:
        return do_judge_upgrades(utc_now() + later)
    finally:
        expect_unborn()


def state(upgrade: Upgrade) -> Upgrade:
    return Upgrade.objects.get(pk=upgrade.pk)


def said(text: str) -> Reply:
    return Reply(content=text)


def test_a_model_that_fails_no_more_of_them_is_tried(gateway: Gateway, alice: Tenant):
    upgrade = waiting(gateway, alice, said("hello you"), said("hello there"), "hello", "there", "nothing")
    assert judge() == 1
    found = state(upgrade)
    assert (found.state, found.share_basis_points) == ("trial", 500)
    table = [(row["case"], row["old"], row["new"]) for row in found.report["cases"]]
    assert table == [("case 0", True, True), ("case 1", False, True), ("case 2", False, False)]
    rows = usage_rows(alice)
    assert len(rows) == 6
    assert sum(row["charge_nano"] for row in found.report["cases"]) == sum(row.charge_nano for row in rows) > 0
    assert Pin.objects.get(organization_id=upgrade.organization_id).trial_model == upgrade.new_model
    assert judge() == 0


def test_a_model_that_fails_one_that_the_pinned_one_passes_is_refused_for_good(gateway: Gateway, alice: Tenant):
    upgrade = waiting(gateway, alice, said("hello you"), said("go away"), "hello")
    assert judge() == 1
    found = state(upgrade)
    assert found.state == "refused"
    names = f"{upgrade.new_model} fails what {upgrade.old_model} passes"
    assert found.reason == f"{names}: case 0 (the text is not in it)"
    do_look_for_upgrades(utc_now() + 1_000 * HOUR)
    assert Upgrade.objects.filter(organization_id=upgrade.organization_id).count() == 1


def test_what_cannot_be_asked_is_asked_again_without_paying_twice_and_given_up_after_a_day(
    gateway: Gateway, alice: Tenant
):
    upgrade = waiting(gateway, alice, said("hello"), Reply(status=503), "hello")
    assert judge() == 0
    assert judge() == 0
    paid = [row for row in usage_rows(alice) if row.charge_nano]
    assert [row.model for row in paid] == [upgrade.old_model]
    assert judge(21 * HOUR) == 1
    found = state(upgrade)
    assert found.state == "refused"
    assert found.reason.startswith("the evaluation cases could not be put to both models: ")


def test_nobody_who_may_call_models_is_nobody_who_pays(gateway: Gateway, alice: Tenant):
    upgrade = waiting(gateway, alice, said("hello"), said("hello"), "hello")
    Membership.objects.filter(organization_id=upgrade.organization_id).update(role="viewer")
    assert judge() == 0
    assert not UsageRow.objects.filter(organization_id=upgrade.organization_id).exists()
    Membership.objects.filter(organization_id=upgrade.organization_id).update(role="owner")
    assert judge() == 1


def test_cases_that_were_deleted_meanwhile_judge_nothing(gateway: Gateway, alice: Tenant):
    upgrade = waiting(gateway, alice, said("hello"), said("hello"), "hello")
    EvaluationCase.objects.filter(organization_id=upgrade.organization_id).delete()
    assert judge() == 1
    assert (state(upgrade).state, usage_rows(alice)) == ("trial", [])


def test_another_worker_that_was_there_first_is_let_alone(
    gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
):
    upgrade = waiting(gateway, alice, said("hello"), said("hello"), "hello")
    look = judgements.judge_case

    async def meanwhile(*given: Any) -> Any:
        found = await look(*given)
        await Upgrade.objects.filter(pk=upgrade.pk).aupdate(state="refused", ended_at=utc_now())
        return found

    monkeypatch.setattr(judgements, "judge_case", meanwhile)
    assert judge() == 0
    assert state(upgrade).state == "refused"


def test_a_check_that_fails_in_our_hands_holds_nobody_else_up(
    gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
):
    """It is tried again, and given up in the end; the others go on in the same run."""
    bob = gateway.tenant()
    ill = waiting(gateway, alice, said("hello"), said("hello"), "break")
    well = waiting(gateway, bob, said("hello"), said("hello"), "hello")

    def broken(kind: str, expected: str, answer: str) -> Checked:
        if expected == "break":
            raise ValueError(answer)
        return check(kind, expected, answer)

    monkeypatch.setattr("advisor.cases.check", broken)
    assert judge() == 1
    assert [state(each).state for each in (ill, well)] == ["judged", "trial"]
    assert judge(21 * HOUR) == 1
    assert state(ill).reason.endswith("something went wrong on our side")
    assert len(usage_rows(alice)) == 2, "nothing was paid for twice"


def test_a_run_that_is_over_begins_no_case_and_the_next_one_goes_on(
    gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
):
    upgrade = waiting(gateway, alice, said("hello"), said("hello"), "hello", "you")
    checked: list[str] = []

    def noting(kind: str, expected: str, answer: str) -> Checked:
        checked.append(expected)
        monkeypatch.setattr(judgements, "monotonic_s", lambda: monotonic_s() + judgements.RUN_S)
        return check(kind, expected, answer)

    monkeypatch.setattr("advisor.cases.check", noting)
    assert judge() == 0
    assert [row["case"] for row in state(upgrade).report["cases"]] == ["case 0"]
    monkeypatch.setattr(judgements, "monotonic_s", monotonic_s)
    assert judge() == 1
    assert sorted(checked) == ["hello", "hello", "you", "you"]
    assert len(usage_rows(alice)) == 4


def test_a_case_that_is_deleted_while_others_wait_judges_nothing_any_more(
    gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
):
    upgrade = waiting(gateway, alice, said("hello"), said("go away"), "hello", "")
    look, refused = judgements.judge_case, ChatRefused(503, "unavailable", "later")

    async def one(upgrade: Upgrade, case: EvaluationCase, asking: Any) -> Any:
        if case.name == "case 1":
            raise refused
        return await look(upgrade, case, asking)

    monkeypatch.setattr(judgements, "judge_case", one)
    assert judge() == 0
    assert [row["new"] for row in state(upgrade).report["cases"]] == [False]
    EvaluationCase.objects.filter(name="case 0", organization_id=upgrade.organization_id).delete()
    monkeypatch.setattr(judgements, "judge_case", look)
    assert judge() == 1
    assert state(upgrade).state == "trial"


def test_each_organization_has_one_judged_in_a_run_the_least_recently_tried_first(gateway: Gateway, alice: Tenant):
    first = waiting(gateway, alice, said("hello"), Reply(status=503), "hello")
    second = waiting(gateway, alice, said("hello"), said("hello"), "hello", task="math")
    assert judge() == 0
    assert (state(first).tried_at is not None, state(second).tried_at) == (True, None)
    assert judge() == 1
    assert [state(each).state for each in (first, second)] == ["judged", "trial"]


def test_a_prompt_that_a_model_does_not_take_is_a_case_that_it_fails(gateway: Gateway, alice: Tenant):
    """Asked again it would say the same, and all else would wait for it."""
    too_long = Reply(status=400, body=b'{"error": {"code": "context_length_exceeded", "message": "secret"}}')
    upgrade = waiting(gateway, alice, said("hello"), too_long, "hello")
    assert judge() == 1
    found = state(upgrade)
    why = f"{upgrade.new_model} does not take the prompt: context_length_exceeded"
    assert (found.state, found.report["cases"][0]["why"]) == ("refused", why)


def test_a_pin_that_is_changed_and_set_again_has_nobody_pay_again(gateway: Gateway, alice: Tenant):
    upgrade = waiting(gateway, alice, said("hello"), said("hello you"), "hello")
    assert judge() == 1
    (paid, _) = usage_rows(alice)
    end_by_gate(upgrade)
    do_look_for_upgrades(utc_now())
    again = Upgrade.objects.exclude(pk=upgrade.pk).get(organization_id=upgrade.organization_id)
    assert judge() == 0
    assert judge(23 * HOUR) == 0
    assert (again.state, state(again).tried_at) == ("judged", None), "once a day is enough"
    assert judge(25 * HOUR) == 1
    assert len(usage_rows(alice)) == 2, "answers that are still kept are not asked for again"
    assert state(again).report["cases"][0]["charge_nano"] >= paid.charge_nano


def end_by_gate(upgrade: Upgrade) -> None:
    """As by whoever pins another model."""
    report = {"ended_by": "gate"}
    Upgrade.objects.filter(pk=upgrade.pk).update(state="refused", ended_at=utc_now(), report=report)
    Pin.objects.filter(organization_id=upgrade.organization_id).update(trial_model="")
