"""Upgrades of pins: who begins, what a trial shows, and how it ends."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, Organization
from advisor.actions import trials as trials_module
from advisor.actions.trials import do_step_trials
from advisor.actions.upgrades import do_agree, do_decline, do_look_for_upgrades
from advisor.models import EvaluationCase, Upgrade
from advisor.tasks import look_after_pins
from billing.models import LedgerEntry, UsageRow
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, ModelNotAllowed, NotFound
from routing.actions.pins import Pinner, do_set_ceiling, do_set_pin, do_set_upgrades
from routing.actions.trials import Move, do_step_trial
from routing.selection.models import Feedback, Pin
from tests.advisor.pinning import NEW, OLD, TASK, answer, change_model, pin_for, pin_of, upgrades_of
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in (OLD, NEW):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
    change_model(OLD, line=NEW)


@pytest.fixture
def now() -> datetime:
    return utc_now()


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def bob() -> Person:
    return new_owner("bob@example.com")


def pinner(person: Person) -> Pinner:
    return Pinner(person.organization_id, person.email)


def begin(now: datetime, *people: Person) -> None:
    for person in people:
        pin_for(person)
    assert do_look_for_upgrades(now) == len(people)


def strangers(count: int, pay: bool = True) -> list[Person]:
    """Owners of other organizations, which have paid."""
    found = [new_owner(f"stranger-{number}@example.com") for number in range(count)]
    for person in found if pay else ():
        LedgerEntry.objects.create(
            reference=f"topup-{person.organization_id}",
            kind=LedgerEntry.Kind.TOPUP,
            wallet_id=person.organization_id,
            amount_nano=10**9,
        )
    return found


def fails_often(person: Person, since: datetime, task: str = TASK) -> None:
    """Her newer model, and the older one hardly."""
    answer(person, since, 190, failed=2, task=task)
    answer(person, since, 10, failed=6, trial=True, task=task)


def state(person: Person) -> tuple[str, int]:
    upgrade = upgrades_of(person)[-1]
    return upgrade.state, upgrade.share_basis_points


def on_trial(person: Person) -> tuple[str, str, int]:
    pin = pin_of(person)
    return pin.model, pin.trial_model, pin.trial_basis_points


class TestBeginning:
    def test_a_newer_model_of_the_line_is_tried_on_a_small_share(self, alice: Person, now: datetime):
        begin(now, alice)
        assert on_trial(alice) == (OLD, NEW, 500)
        assert state(alice) == ("trial", 500)
        assert do_look_for_upgrades(now) == 0

    def test_a_pin_that_takes_no_upgrades_is_let_alone(self, alice: Person, now: datetime):
        pin_for(alice)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.OFF)
        assert do_look_for_upgrades(now) == 0
        assert upgrades_of(alice) == []

    def test_a_pin_that_asks_waits_for_somebody_to_agree(self, alice: Person, bob: Person, now: datetime):
        pin_for(alice)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.ASK)
        assert do_look_for_upgrades(now) == 1
        assert do_look_for_upgrades(now) == 0
        (asked,) = upgrades_of(alice)
        assert (asked.state, on_trial(alice)) == ("asked", (OLD, "", 0))
        with pytest.raises(NotFound):
            do_agree(pinner(bob), asked.pk, now)
        with pytest.raises(ModelNotAllowed):
            do_agree(Pinner(alice.organization_id, "key", models_allowed=frozenset({OLD})), asked.pk, now)
        do_agree(pinner(alice), asked.pk, now)
        assert on_trial(alice) == (OLD, NEW, 500)
        with pytest.raises(Conflict):
            do_agree(pinner(alice), asked.pk, now)

    def test_what_was_declined_is_not_asked_about_again(self, alice: Person, now: datetime):
        pin_for(alice)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.ASK)
        do_look_for_upgrades(now)
        declined = do_decline(pinner(alice), upgrades_of(alice)[0].pk, now)
        assert (declined.state, declined.reason) == ("refused", "a member declined it")
        assert do_look_for_upgrades(now + 1_000 * HOUR) == 0
        assert len(upgrades_of(alice)) == 1

    @pytest.mark.parametrize("overtaken", ["removed", "other", "off", "newer"])
    def test_what_was_asked_about_and_is_overtaken_is_over(self, alice: Person, now: datetime, overtaken: str):
        pin_for(alice)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.ASK)
        do_look_for_upgrades(now)
        if overtaken == "removed":
            Pin.objects.all().delete()
        elif overtaken == "other":
            pin_for(alice, model=NEW)
        elif overtaken == "off":
            do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.OFF)
        else:
            call_command(
                *("model", "add", "acme/x", "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
            )
            change_model(OLD, line="acme/x")
        do_look_for_upgrades(now)
        states = [(row.new_model, row.state) for row in upgrades_of(alice)]
        assert states == [(NEW, "refused"), *([("acme/x", "asked")] if overtaken == "newer" else [])]

    def test_a_pin_that_was_removed_and_set_again_asks_again(self, alice: Person, now: datetime):
        for _ in range(2):
            pin_for(alice)
            do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.ASK)
            do_look_for_upgrades(now)
            Pin.objects.all().delete()
            do_look_for_upgrades(now)
        assert [row.state for row in upgrades_of(alice)] == ["refused", "refused"]

    def test_looking_at_many_that_wait_takes_no_more_queries_than_at_one(self, alice: Person, now: datetime):
        taken = []
        for people in ([alice], strangers(3)):
            for person in people:
                pin_for(person)
                do_set_upgrades(pinner(person), TASK, Pin.Upgrades.ASK)
            assert do_look_for_upgrades(now) == len(people)
            with CaptureQueriesContext(connection) as queries:
                assert do_look_for_upgrades(now) == 0
            taken.append(len(queries))
        assert taken[0] == taken[1]

    def test_what_became_of_the_last_attempt_counts_and_not_of_one_before(self, alice: Person, now: datetime):
        begin(now, alice)
        Upgrade.objects.update(state="rolled_back", ended_at=now, report={"ended_by": "gate"})
        assert do_look_for_upgrades(now + HOUR) == 1
        Upgrade.objects.filter(ended_at=None).update(state="refused", ended_at=now, report={"ended_by": "cases"})
        assert do_look_for_upgrades(now + 1_000 * HOUR) == 0

    def test_a_pin_that_asks_no_more_goes_on_by_itself(self, alice: Person, now: datetime):
        pin_for(alice)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.ASK)
        do_look_for_upgrades(now)
        do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.AUTO)
        assert do_look_for_upgrades(now) == 1
        assert on_trial(alice) == (OLD, NEW, 500)

    def test_evaluation_cases_come_before_a_trial(self, alice: Person, now: datetime):
        EvaluationCase.objects.create(
            organization_id=alice.organization_id,
            task=TASK,
            name="greets",
            prompt="Say hello.",
            check_kind="contains",
            expected="hello",
            created_by=alice.email,
            created_at=now,
        )
        begin(now, alice)
        assert (state(alice), on_trial(alice)) == (("judged", 0), (OLD, "", 0))

    def test_a_dearer_model_is_refused_once_with_its_price_and_tried_when_the_ceiling_rises(
        self, alice: Person, now: datetime
    ):
        pin_for(alice)
        do_set_ceiling(pinner(alice), TASK, {"output": 10**9})
        for _ in range(2):
            assert do_look_for_upgrades(now) == 0
        (refused,) = upgrades_of(alice)
        assert refused.state == "refused"
        assert "costs $18.75 per million units of output, where $1.00 is allowed" in refused.reason
        do_set_ceiling(pinner(alice), TASK, {})
        assert do_look_for_upgrades(now) == 1

    def test_a_limited_key_that_may_call_the_old_model_alone_keeps_it(self, alice: Person, now: datetime):
        alice.key(models_allowed=frozenset({OLD}))
        pin_for(alice)
        assert do_look_for_upgrades(now) == 0
        assert "a key that may call acme/one" in upgrades_of(alice)[0].reason

    def test_who_pins_the_old_model_again_after_an_upgrade_keeps_it(self, alice: Person, now: datetime):
        begin(now, alice)
        Upgrade.objects.update(state="done", ended_at=now)
        pin_for(alice, model=NEW)
        pin_for(alice)
        assert do_look_for_upgrades(now + 10_000 * HOUR) == 0

    def test_each_step_is_in_the_audit_log(self, alice: Person, now: datetime):
        begin(now, alice)
        told = AuditEntry.objects.filter(organization_id=alice.organization_id, actor="advisor")
        assert [entry.action for entry in told] == ["pin.trial"]


class TestSteps:
    def test_a_model_that_is_no_worse_takes_over_in_two_steps(self, alice: Person, now: datetime):
        begin(now, alice)
        answer(alice, now, 3_800, failed=38)
        answer(alice, now, 200, failed=2, trial=True)
        assert do_step_trials(now + 5 * HOUR) == 0
        second = now + 6 * HOUR
        assert do_step_trials(second) == 1
        assert (on_trial(alice), state(alice)) == ((OLD, NEW, 5_000), ("trial", 5_000))
        answer(alice, second, 1_000, failed=10)
        answer(alice, second, 1_000, failed=10, trial=True)
        assert do_step_trials(second + 24 * HOUR) == 1
        assert (on_trial(alice), state(alice)) == ((NEW, "", 0), ("done", 10_000))
        (upgrade,) = upgrades_of(alice)
        steps = [(step["share"], step["old"]["calls"], step["new"]["calls"]) for step in upgrade.report["steps"]]
        assert steps == [(500, 3_800, 200), (5_000, 1_000, 1_000)]
        assert do_step_trials(second + 48 * HOUR) == 0

    def test_a_model_that_fails_more_often_is_gone_at_once_and_the_reason_stays(self, alice: Person, now: datetime):
        begin(now, alice)
        before = Organization.objects.get(pk=alice.organization_id).auth_epoch
        answer(alice, now, 950, failed=9)
        answer(alice, now, 50, failed=10, trial=True)
        assert do_step_trials(now + HOUR / 12) == 1
        assert (on_trial(alice), state(alice)) == ((OLD, "", 0), ("rolled_back", 0))
        assert Organization.objects.get(pk=alice.organization_id).auth_epoch == before + 1
        (upgrade,) = upgrades_of(alice)
        assert "the newer model fails in 20.0% (10 of 50) of calls" in upgrade.reason
        assert do_look_for_upgrades(now + HOUR) == 0
        assert do_look_for_upgrades(now + 31 * 24 * HOUR) == 1

    @pytest.mark.parametrize("seen_by", [1, 2])
    def test_what_one_or_two_others_show_ends_no_trial_and_keeps_nobody_from_beginning(
        self, alice: Person, now: datetime, seen_by: int
    ):
        others = strangers(seen_by)
        begin(now, alice, *others)
        for person in others:
            fails_often(person, now)
        assert do_step_trials(now + HOUR / 12) == seen_by
        assert state(alice) == ("trial", 500)
        charlie = new_owner("charlie@example.com")
        pin_for(charlie)
        assert do_look_for_upgrades(now + HOUR) == 1

    def test_what_three_that_pay_show_ends_the_trials_of_all_and_nobody_begins_and_no_figure_of_theirs_is_told(
        self, alice: Person, now: datetime
    ):
        others = strangers(3)
        begin(now, alice, *others)
        for person in others:
            fails_often(person, now)
        assert do_step_trials(now + HOUR / 12) == 4
        assert on_trial(alice) == (OLD, "", 0)
        (upgrade,) = upgrades_of(alice)
        assert upgrade.reason == "the newer model was found worse here of late: it fails more often"
        assert (upgrade.report["signal"], upgrade.report["found_by"]) == ("failed", "all")
        told = AuditEntry.objects.get(organization_id=alice.organization_id, action="pin.trial_ended")
        assert told.detail["why"] == upgrade.reason
        charlie = new_owner("charlie@example.com")
        pin_for(charlie)
        assert do_look_for_upgrades(now + HOUR) == 0
        assert upgrades_of(charlie)[0].reason == "acme/two was found worse here of late: it fails more often"

    def test_what_keeps_others_from_beginning_is_what_all_show_and_not_what_one_does(
        self, alice: Person, now: datetime
    ):
        others = strangers(3)
        begin(now, *others, alice)
        fails_often(alice, now)
        for person in others:
            answer(person, now, 60)
            answer(person, now, 60, trial=True, duration_ms=9_000)
        assert do_step_trials(now + HOUR / 12) == 4
        assert "fails in 60.0% (6 of 10)" in upgrades_of(alice)[0].reason
        charlie = new_owner("charlie@example.com")
        pin_for(charlie)
        assert do_look_for_upgrades(now + HOUR) == 0
        assert upgrades_of(charlie)[0].reason == "acme/two was found worse here of late: it takes longer"

    def test_what_the_free_tier_shows_is_nothing_to_others(self, alice: Person, now: datetime):
        others = strangers(4, pay=False)
        begin(now, alice, *others)
        for person in others:
            fails_often(person, now)
        assert do_step_trials(now + HOUR / 12) == 4
        assert state(alice) == ("trial", 500)
        charlie = new_owner("charlie@example.com")
        pin_for(charlie)
        assert do_look_for_upgrades(now + HOUR) == 1

    def test_what_three_saw_one_after_the_other_keeps_others_from_beginning(self, alice: Person, now: datetime):
        for number, person in enumerate(strangers(3)):
            later = now + number * 9 * HOUR
            begin(later, person)
            fails_often(person, later)
            assert do_step_trials(later + HOUR / 12) == 1
        Upgrade.objects.filter(state="rolled_back").update(
            report={"ended_by": "worse", "signal": "failed", "found_by": "own"}
        )
        pin_for(alice)
        assert do_look_for_upgrades(now + 30 * HOUR) == 0

    def test_the_calls_of_others_do_not_hide_that_the_own_ones_fail(self, alice: Person, now: datetime):
        others = strangers(3)
        begin(now, alice, *others)
        for person in others:
            answer(person, now, 500, failed=100)
            answer(person, now, 200, trial=True)
        fails_often(alice, now)
        assert do_step_trials(now + 7 * HOUR) == 4
        assert (state(alice)[0], [state(person) for person in others]) == ("rolled_back", [("trial", 5_000)] * 3)

    def test_an_organization_speaks_with_one_voice_however_many_pins_it_tries(self, alice: Person, now: datetime):
        (stranger,) = strangers(1)
        tasks = [TASK, "math", "translation", "coding"]
        for task in tasks:
            pin_for(stranger, task)
        assert do_look_for_upgrades(now) == len(tasks)
        begin(now, alice)
        for task in tasks:
            fails_often(stranger, now, task)
        assert do_step_trials(now + HOUR / 12) == len(tasks)
        assert state(alice) == ("trial", 500)

    def test_what_was_worse_a_month_ago_is_not_held_against_a_new_try(self, alice: Person, now: datetime):
        others = strangers(3)
        begin(now, alice, *others)
        for person in others:
            fails_often(person, now)
        assert do_step_trials(now + HOUR / 12) == 4
        later = now + 31 * 24 * HOUR
        assert do_look_for_upgrades(later) == 4
        assert do_step_trials(later + HOUR) == 0
        assert on_trial(alice) == (OLD, NEW, 500)

    def test_nobodys_votes_end_the_trials_of_others(self, alice: Person, bob: Person, now: datetime):
        begin(now, alice, bob)
        for number in range(30):
            Feedback.objects.create(
                organization_id=alice.organization_id,
                request_id=f"gen-{number}",
                score=0.0,
                task=TASK,
                model=NEW,
                is_paid=True,
                features={"rule": "pinned", "pin": OLD, "trial": NEW},
                created_at=now + HOUR,
            )
        assert do_step_trials(now + 2 * HOUR) == 1
        assert (state(alice)[0], state(bob)[0]) == ("rolled_back", "trial")
        report = upgrades_of(alice)[0].report
        assert (report["signal"], report["found_by"]) == ("disliked", "own")

    def test_what_is_settled_is_counted_once_and_stays_counted(self, alice: Person, now: datetime):
        begin(now, alice)
        answer(alice, now, 100, failed=3)
        answer(alice, now, 5, failed=1, trial=True)
        assert do_step_trials(now + 2 * HOUR) == 0
        answer(alice, now + 90 * HOUR / 60, 10)
        UsageRow.objects.filter(created_at__lt=now + HOUR).delete()  # no call that was counted is read again
        for hours in (2.5, 2.6, 2.7):
            assert do_step_trials(now + hours * HOUR) == 0
        (upgrade,) = upgrades_of(alice)
        old, new = upgrade.report["now"]["old"], upgrade.report["now"]["new"]
        assert (old["calls"], old["failed"], new["calls"], new["failed"]) == (110, 3, 5, 1)
        assert do_step_trials(now + 8 * HOUR) == 1
        assert do_step_trials(now + 9 * HOUR) == 0
        (upgrade,) = upgrades_of(alice)
        assert (upgrade.report["steps"][0]["old"]["calls"], upgrade.report["now"]["old"]["calls"]) == (110, 0)

    def test_a_call_that_ends_late_is_counted_when_it_ends(self, alice: Person, now: datetime):
        begin(now, alice)
        assert do_step_trials(now + HOUR / 2) == 0
        answer(alice, now, 1)  # came in before that
        assert do_step_trials(now + HOUR) == 0
        assert upgrades_of(alice)[0].report["now"]["old"]["calls"] == 1

    def test_two_workers_count_what_is_settled_once(
        self, alice: Person, now: datetime, monkeypatch: pytest.MonkeyPatch
    ):
        begin(now, alice)
        answer(alice, now, 100)
        look, later = trials_module.look_at, now + 2 * HOUR

        def after_another_has(*of: Any) -> Any:
            monkeypatch.setattr(trials_module, "look_at", look)
            do_step_trials(later)
            return look(*of)

        monkeypatch.setattr(trials_module, "look_at", after_another_has)
        do_step_trials(later)
        do_step_trials(later + HOUR)
        assert upgrades_of(alice)[0].report["now"]["old"]["calls"] == 100

    def test_a_small_trial_goes_on_by_the_clock(self, alice: Person, now: datetime):
        begin(now, alice)
        assert do_step_trials(now + 8 * HOUR) == 1
        assert state(alice) == ("trial", 5_000)

    def test_a_trial_whose_calls_cannot_be_sent_to_the_newer_model_ends(self, alice: Person, now: datetime):
        begin(now, alice)
        answer(alice, now, 30, trial=True, model=OLD)
        assert do_step_trials(now + 8 * HOUR) == 1
        assert upgrades_of(alice)[0].reason == "30 of its calls could not be sent to acme/two"
        assert do_look_for_upgrades(now + 9 * HOUR) == 0

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"deprecated_on": utc_now().date()}, "about to end itself"),
            ({"sunset_on": utc_now().date() + timedelta(days=90)}, "about to end itself"),
        ],
    )
    def test_a_gate_that_closes_meanwhile_ends_it(
        self, alice: Person, now: datetime, change: dict[str, Any], words: str
    ):
        begin(now, alice)
        change_model(NEW, **change)
        assert do_step_trials(now + HOUR) == 1
        assert (on_trial(alice), words in upgrades_of(alice)[0].reason) == ((OLD, "", 0), True)

    def test_a_newer_model_that_cannot_be_called_any_more_ends_it(self, alice: Person, now: datetime):
        from routing.catalog.models import Offer

        begin(now, alice)
        Offer.objects.filter(model_id=NEW).delete()
        change_model(NEW)
        assert do_step_trials(now + HOUR) == 1
        assert "acme/two cannot be called any more" in upgrades_of(alice)[0].reason

    @pytest.mark.parametrize("changed", ["model", "off", "gone"])
    def test_a_pin_that_somebody_changes_meanwhile_ends_it(self, alice: Person, now: datetime, changed: str):
        begin(now, alice)
        if changed == "model":
            do_set_pin(pinner(alice), TASK, NEW)
        elif changed == "off":
            do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.OFF)
        else:
            Pin.objects.all().delete()
        assert do_step_trials(now + HOUR) == 1
        (upgrade,) = upgrades_of(alice)
        assert (upgrade.state, upgrade.reason) == ("rolled_back", "the pin or its setting was changed")
        if changed == "off":
            do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.AUTO)
            assert do_look_for_upgrades(now + HOUR) == 1

    def test_a_worker_that_is_killed_between_two_writes_leaves_nothing_half_done(
        self, alice: Person, now: datetime, monkeypatch: pytest.MonkeyPatch
    ):
        begin(now, alice)
        with monkeypatch.context() as patch:
            patch.setattr(trials_module, "do_step_trial", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                do_step_trials(now + 8 * HOUR)
        assert (on_trial(alice), state(alice)) == ((OLD, NEW, 500), ("trial", 500))
        assert do_step_trials(now + 8 * HOUR) == 1
        assert (on_trial(alice), state(alice)) == ((OLD, NEW, 5_000), ("trial", 5_000))

    def test_two_workers_at_one_trial_take_one_step(
        self, alice: Person, now: datetime, monkeypatch: pytest.MonkeyPatch
    ):
        begin(now, alice)
        look, later = trials_module.look_at, now + 8 * HOUR

        def while_another_works(*of: Any) -> Any:
            found = look(*of)
            monkeypatch.setattr(trials_module, "look_at", look)
            assert do_step_trials(later) == 1
            return found

        monkeypatch.setattr(trials_module, "look_at", while_another_works)
        assert do_step_trials(later) == 0
        assert state(alice) == ("trial", 5_000)
        assert len(upgrades_of(alice)[0].report["steps"]) == 1

    def test_the_job_does_all_of_it(self, alice: Person, now: datetime):
        pin_for(alice)
        look_after_pins()
        look_after_pins()
        assert state(alice) == ("trial", 500)
        assert do_step_trial(Move(alice.organization_id, TASK, OLD, NEW), 500)


class TestEndings:
    @pytest.fixture(autouse=True)
    def _alone(self) -> None:
        change_model(OLD, line="")

    def ends_in(self, days: int, successor: str = NEW) -> str:
        day = utc_now().date() + timedelta(days=days)
        change_model(OLD, sunset_on=day, successor=successor)
        return day.isoformat()

    def move(self, now: datetime) -> int:
        from advisor.actions.retirement import do_move_ending_pins

        return do_move_ending_pins(now)

    def test_with_time_for_a_trial_the_successor_is_tried(self, alice: Person, now: datetime):
        self.ends_in(20)
        begin(now, alice)
        assert on_trial(alice) == (OLD, NEW, 500)
        assert self.move(now) == 0

    @pytest.mark.parametrize("is_on_trial", [True, False])
    def test_a_week_before_the_end_the_successor_takes_over(self, alice: Person, now: datetime, is_on_trial: bool):
        self.ends_in(20)
        pin_for(alice)
        if is_on_trial:
            do_look_for_upgrades(now)
        day = self.ends_in(7)
        assert self.move(now) == 1
        assert on_trial(alice) == (NEW, "", 0)
        (upgrade,) = upgrades_of(alice)
        assert (upgrade.state, upgrade.reason) == ("done", f"acme/one ends on {day}; acme/two is its successor")
        assert self.move(now) == 0

    @pytest.mark.parametrize("why", ["dearer", "off", "none"])
    def test_where_no_successor_may_take_over_the_policy_does(self, alice: Person, now: datetime, why: str):
        pin_for(alice)
        if why == "dearer":
            do_set_ceiling(pinner(alice), TASK, {"input": 1})
        if why == "off":
            do_set_upgrades(pinner(alice), TASK, Pin.Upgrades.OFF)
        self.ends_in(3, "" if why == "none" else NEW)
        assert self.move(now) == 1
        assert not Pin.objects.filter(organization_id=alice.organization_id).exists()
        (upgrade,) = upgrades_of(alice)
        assert upgrade.state == "refused"
        assert upgrade.reason.endswith("the policy chooses again")
        words = {"dearer": "costs more", "off": "takes no upgrades", "none": "has no successor"}
        assert words[why] in upgrade.reason
        assert [entry.action for entry in AuditEntry.objects.filter(actor="advisor").order_by("pk")] == [
            "pin.remove",
            "upgrade.refuse",
        ]

    def test_a_successor_within_a_higher_ceiling_takes_over_though_it_is_dearer(self, alice: Person, now: datetime):
        call_command("model", "add", NEW, "--provider", "acme", "--input-price", "4.00", "--output-price", "15.00")
        pin_for(alice)
        do_set_ceiling(pinner(alice), TASK, {"input": 5 * 10**9})
        self.ends_in(3)
        assert self.move(now) == 1
        assert on_trial(alice)[0] == NEW

    def test_a_trial_of_another_model_ends_with_the_move(self, alice: Person, now: datetime):
        call_command("model", "add", "acme/x", "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
        change_model(OLD, line="acme/x")
        begin(now, alice)
        self.ends_in(3)
        assert self.move(now) == 1
        assert on_trial(alice) == (NEW, "", 0)
        assert [(row.new_model, row.state) for row in upgrades_of(alice)] == [("acme/x", "rolled_back"), (NEW, "done")]

    def test_a_pin_of_a_model_that_has_ended_already_is_the_policys(self, alice: Person, now: datetime):
        from routing.catalog.models import Offer

        pin_for(alice)
        Offer.objects.filter(model_id=OLD).delete()
        self.ends_in(-1)
        assert self.move(now) == 1
        assert not Pin.objects.exists()
