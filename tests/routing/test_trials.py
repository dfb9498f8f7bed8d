"""Trials of a newer model for a pin: what the API says of them, who changes them, and which model answers."""

from typing import Any

import pytest

from routing.actions.pins import Pinner, do_set_pin, do_set_upgrades
from routing.actions.trials import Move, do_begin_trial, do_end_trial, do_move_pin, do_step_trial
from routing.selection.models import Pin
from routing.selection.trials import Trial
from tests.fakes.client import call
from tests.fakes.replies import Reply
from tests.people import Api, Person, new_owner
from tests.routing.books import only_row, organization_id
from tests.routing.choosing import BEST, CHEAP, CODE, MIDDLING, catalog
from tests.routing.test_planning import Health, models, plan
from tests.stand import Gateway, Tenant

TASK = "code-generation"
PRICES = {"input": 3_750_000_000, "output": 18_750_000_000}  # 3.00 and 15.00 with the fee


def organization_of(tenant: Tenant) -> int:
    return organization_id(tenant)


def epoch(organization: int) -> int:
    from accounts.models import Organization

    return Organization.objects.get(pk=organization).auth_epoch


def pin_of(organization: int) -> Pin:
    return Pin.objects.get(organization_id=organization, task=TASK)


@pytest.mark.django_db
class TestSettings:
    @pytest.fixture
    def alice(self) -> Person:
        from django.core.management import call_command

        call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
        for name, price in (("acme/one", "3.00"), ("acme/two", "1.00"), ("acme/three", "2.00")):
            call_command("model", "add", name, "--provider", "acme", "--input-price", price, "--output-price", "15.00")
        return new_owner("alice@example.com")

    @pytest.fixture
    def move(self, alice: Person) -> Move:
        do_set_pin(Pinner(alice.organization_id, "test"), TASK, "acme/one")
        return Move(alice.organization_id, TASK, "acme/one", "acme/two")

    def set(self, alice: Person, model: str = "acme/one", **more: Any) -> Any:
        return Api(alice.key().secret)("POST", "/api/pins", {"taskType": "coding", "modelId": model, **more})

    def test_a_pin_follows_its_line_and_costs_no_more_unless_something_else_is_said(self, alice: Person):
        pin = self.set(alice).json()
        assert (pin["upgrades"], pin["trial"]) == ("auto", None)
        assert pin["ceiling"] == {"input": "3.75", "output": "18.75"}
        assert pin_of(alice.organization_id).ceiling == PRICES

    def test_settings_are_set_and_stay_until_they_are_set_again(self, alice: Person):
        pin = self.set(alice, upgrades="ask", ceiling={"input": "4.50"}).json()
        assert (pin["upgrades"], pin["ceiling"]) == ("ask", {"input": "4.50", "output": "18.75"})
        assert self.set(alice).json() == pin
        assert self.set(alice, upgrades="off").json() == pin | {"upgrades": "off"}
        assert self.set(alice, ceiling={}).json()["ceiling"] == {"input": "3.75", "output": "18.75"}

    def test_another_model_brings_its_own_ceiling_and_keeps_the_setting(self, alice: Person):
        self.set(alice, upgrades="ask")
        pin = self.set(alice, "acme/two").json()
        assert (pin["upgrades"], pin["ceiling"]["input"]) == ("ask", "1.25")

    def test_the_ceiling_of_a_pin_that_was_set_before_ceilings_were_is_todays_price(self, alice: Person):
        self.set(alice)
        Pin.objects.update(ceiling={})
        listed = Api(alice.key().secret)("GET", "/api/pins").json()["data"]
        assert listed[0]["ceiling"] == {"input": "3.75", "output": "18.75"}

    @pytest.mark.parametrize(
        ("more", "status"),
        [
            ({"upgrades": "always"}, 422),
            ({"upgrades": None}, 422),
            ({"ceiling": {"input": "-1"}}, 422),
            ({"ceiling": "3.00"}, 422),
            ({"ceiling": {"tea": "1.00"}}, 400),
        ],
    )
    def test_what_is_wrong_is_refused_and_pins_nothing(self, alice: Person, more: dict[str, Any], status: int):
        answer = self.set(alice, **more)
        assert (answer.status_code, Pin.objects.count()) == (status, 0)

    def test_a_key_says_nothing_about_a_pin_of_what_it_may_not_call(self, alice: Person, move: Move):
        from komilion.common.errors import ModelNotAllowed

        narrow = Pinner(alice.organization_id, "key", models_allowed=frozenset({"acme/two"}))
        with pytest.raises(ModelNotAllowed):
            do_set_upgrades(narrow, TASK, Pin.Upgrades.OFF)

    def test_a_trial_begins_grows_and_ends_each_time_in_force_at_once(self, alice: Person, move: Move):
        before = epoch(alice.organization_id)
        assert do_begin_trial(move, 500)
        listed = Api(alice.key().secret)("GET", "/api/pins").json()["data"]
        assert listed[0]["trial"] == {"model": "acme/two", "share_basis_points": 500}
        assert do_step_trial(move, 5_000)
        assert do_end_trial(move, "it fails more often")
        assert (pin_of(alice.organization_id).model, pin_of(alice.organization_id).trial_model) == ("acme/one", "")
        assert epoch(alice.organization_id) == before + 3

    def test_a_move_pins_the_newer_model_and_keeps_who_pinned_and_the_ceiling(self, alice: Person, move: Move):
        do_begin_trial(move, 5_000)
        assert do_move_pin(move)
        pin = pin_of(alice.organization_id)
        assert (pin.model, pin.trial_model, pin.trial_basis_points) == ("acme/two", "", 0)
        assert (pin.set_by, pin.ceiling) == ("test", PRICES)

    def test_a_step_that_was_taken_already_holds_up_no_call(self, alice: Person, move: Move):
        for act in (lambda: do_begin_trial(move, 500), lambda: do_step_trial(move, 5_000), lambda: do_move_pin(move)):
            assert act()
            before = epoch(alice.organization_id)
            assert act()
            assert epoch(alice.organization_id) == before

    def test_no_step_is_taken_for_a_pin_that_was_changed_removed_or_is_on_another_trial(
        self, alice: Person, move: Move
    ):
        other = Move(alice.organization_id, TASK, "acme/one", "acme/three")
        assert not do_step_trial(move, 500)
        assert not do_end_trial(move, "")
        do_begin_trial(move, 500)
        assert not do_begin_trial(other, 500)
        assert not do_move_pin(other)
        do_set_pin(Pinner(alice.organization_id, "test"), TASK, "acme/three")
        assert pin_of(alice.organization_id).trial_model == ""
        assert not do_step_trial(move, 5_000)
        assert not do_move_pin(move)
        Pin.objects.all().delete()
        assert not do_begin_trial(move, 500)

    def test_switching_upgrades_off_ends_a_trial_at_once(self, alice: Person, move: Move):
        do_begin_trial(move, 500)
        before = epoch(alice.organization_id)
        assert self.set(alice, upgrades="off").json()["trial"] is None
        assert epoch(alice.organization_id) == before + 1

    def test_each_step_is_in_the_audit_log(self, alice: Person, move: Move):
        from accounts.models import AuditEntry

        do_begin_trial(move, 500)
        do_end_trial(move, "it fails")
        do_move_pin(move)
        entries = AuditEntry.objects.filter(actor="advisor").order_by("pk")
        models = {"old": "acme/one", "new": "acme/two"}
        assert [(entry.action, entry.subject, entry.detail) for entry in entries] == [
            ("pin.trial", TASK, models | {"share_basis_points": 500}),
            ("pin.trial_ended", TASK, models | {"why": "it fails"}),
            ("pin.upgrade", TASK, models),
        ]


class TestPlans:
    """A trial of all calls; `plan` asks as `gen-1`."""

    def planned(self, health: Health | None = None, share: int = 10_000, **more: Any) -> list[str]:
        from routing.gateway.choice.preferences import Preferences

        pinned = Preferences({TASK: CHEAP}, trials={TASK: Trial(MIDDLING, share)})
        return models(plan(catalog(), health, preferences=pinned, **more))

    def test_the_model_on_trial_is_asked_then_the_pinned_one_then_the_policys(self):
        assert self.planned() == [MIDDLING, CHEAP, BEST]
        assert self.planned(share=0) == [CHEAP, BEST, MIDDLING]

    def test_where_it_is_out_of_order_the_pinned_one_is_asked(self):
        assert self.planned(Health(open={("up", MIDDLING)})) == [CHEAP, BEST]

    def test_where_it_is_due_for_a_probe_a_call_of_the_trial_is_it(self):
        health = Health(open={("up", MIDDLING)}, lent=("up", MIDDLING))
        assert self.planned(health) == [MIDDLING, CHEAP, BEST]

    def test_what_nobody_carries_out_is_planned_by_the_pin(self):
        assert self.planned(may_probe=False)[0] == CHEAP


class TestCalls:
    @pytest.fixture(autouse=True)
    def _models(self, gateway: Gateway) -> None:
        gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")
        gateway.add_model(Reply(), MIDDLING, input_price="0.20", output_price="0.60")

    def begin(self, gateway: Gateway, tenant: Tenant, new: str) -> Move:
        body = {"taskType": "coding", "modelId": MIDDLING}
        assert call(gateway.url, "/api/pins", tenant.key, body).status == 200
        move = Move(organization_of(tenant), TASK, MIDDLING, new)
        assert do_begin_trial(move, 10_000)
        return move

    def ask(self, gateway: Gateway, tenant: Tenant) -> Any:
        answer = gateway.chat(tenant, "neo-mode", messages=CODE, x_komilion={"explain": True})
        assert answer.status == 200, answer.body
        return answer.json["x_komilion"]

    def test_a_trial_and_its_end_are_in_force_with_the_next_call(self, gateway: Gateway):
        alice = gateway.tenant()
        move = self.begin(gateway, alice, BEST)
        note = self.ask(gateway, alice)
        assert (note["model"], note["rule"]) == (BEST, "pinned")
        assert note["receipt"]["pin"]["verdict"] == f"pinned; trial of {BEST}"
        choice = only_row(alice).detail["choice"]
        assert (choice["pin"], choice["trial"]) == (MIDDLING, BEST)
        do_end_trial(move, "for the test")
        note = self.ask(gateway, alice)
        assert (note["model"], note["rule"], note["receipt"]["pin"]["verdict"]) == (MIDDLING, "pinned", "pinned")

    def test_a_model_on_trial_that_fails_costs_nobody_an_answer(self, gateway: Gateway):
        bob = gateway.tenant()
        failing = gateway.add_model(Reply(status=503))
        self.begin(gateway, bob, failing)
        note = self.ask(gateway, bob)
        assert (note["model"], note["rule"]) == (MIDDLING, "pinned")
        detail = only_row(bob).detail
        assert (detail["instead_of"], detail["choice"]["trial"]) == (failing, failing)
