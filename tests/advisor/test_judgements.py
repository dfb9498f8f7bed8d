"""Evaluation cases decide before a trial: both models answer them through the gateway, and the wallet pays once."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Membership
from advisor.actions.judgements import do_judge_upgrades
from advisor.actions.upgrades import do_look_for_upgrades
from advisor.models import EvaluationCase, Upgrade
from billing.models import UsageRow
from komilion.common.clock import utc_now
from routing.actions.pins import Pinner, do_set_pin
from routing.selection.models import Pin
from tests.advisor.pinning import TASK, change_model
from tests.fakes.replies import Reply
from tests.routing.books import organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.unborn import expect_unborn

HOUR = timedelta(hours=1)


@pytest.fixture
def alice(gateway: Gateway) -> Tenant:
    return gateway.tenant()


def waiting(gateway: Gateway, tenant: Tenant, old: str | Reply, new: str | Reply, *cases: str) -> Upgrade:
    """An upgrade from a model that answers so to one that answers otherwise, to be judged by what answers contain."""
    names = [gateway.add_model(reply) for reply in (old, new)]
    change_model(names[0], line=names[1])
    organization = organization_id(tenant)
    for number, expected in enumerate(cases):
        EvaluationCase.objects.create(
            organization_id=organization,
            task=TASK,
            name=f"case {number}",
            prompt="Say hello.",
            check_kind="contains",
            expected=expected,
            created_by="alice",
            created_at=utc_now(),
        )
    do_set_pin(Pinner(organization, "alice"), TASK, names[0])
    do_look_for_upgrades(utc_now())
    upgrade = Upgrade.objects.get(organization_id=organization)
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
    from advisor.actions import judgements

    upgrade = waiting(gateway, alice, said("hello"), said("hello"), "hello")
    look = judgements.judge_by_cases

    async def meanwhile(*given: Any) -> Any:
        found = await look(*given)
        await Upgrade.objects.filter(pk=upgrade.pk).aupdate(state="refused", ended_at=utc_now())
        return found

    monkeypatch.setattr(judgements, "judge_by_cases", meanwhile)
    assert judge() == 0
    assert state(upgrade).state == "refused"
