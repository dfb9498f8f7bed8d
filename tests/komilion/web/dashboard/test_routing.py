"""`/dashboard/routing`: what was chosen and why, what it saved, pins by role, and the switch for retired models."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command

from billing.models import UsageRow
from routing.actions.trials import Move, do_begin_trial
from routing.catalog.models import Model
from routing.queries import catalog_rows
from routing.selection.choose import Choice
from routing.selection.markets import keep_market
from routing.selection.queries import follows_successors, pins_of
from routing.selection.receipt import pack
from tests.billing.calling import Calls
from tests.billing.rolling import roll_forward
from tests.komilion.web.dashboard.reading import open_page, tables_of, text_of
from tests.people import Person, new_member
from tests.routing.choosing import BEST, CHEAP, MIDDLING, asked, brain, catalog, offer

NOON = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)
MODEL = "routing/one"
TOOLS = [{"type": "function", "function": {"name": "look"}}]
PICTURE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "object"}}}


@pytest.fixture
def model() -> Iterator[str]:
    """A model to be pinned."""
    call_command("provider", "add", "routing", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-x", verbosity=0)
    prices = ("--input-price", "3.00", "--output-price", "15.00")
    call_command("model", "add", MODEL, "--provider", "routing", *prices, verbosity=0)
    yield MODEL
    Model.objects.filter(pk=MODEL).delete()  # the gateway of other tests must not choose it


def page(person: Person, query: str = "") -> str:
    catalog_rows()  # else the first page of a process reads it, which takes queries of its own
    return open_page(person, f"/dashboard/routing{query}")


def post(person: Person, path: str, **form: str) -> Any:
    return person.browser.post(f"/dashboard/routing/{path}", form, follow=True)


def routed(calls: Calls, policy: str = "neo-mode", choice: Choice | None = None, **detail: Any) -> str:
    """A call that the brain routed; returns its id."""
    choice = choice or brain().decide(asked())
    assert choice is not None
    keep_market(choice.market.facts)
    request_id = calls.add(NOON - timedelta(hours=1), 1_000)
    found = {"choice": pack(choice), "task_type": "code-generation", **detail}
    UsageRow.objects.filter(request_id=request_id).update(
        requested_model=policy, model=BEST, savings_nano=40, detail=found
    )
    return request_id


class TestChoices:
    @time_machine.travel(NOON)
    def test_say_task_model_cost_savings_and_rule(self, alice: Person, calls: Calls):
        request_id = routed(calls)
        calls.add(NOON - timedelta(hours=2), 7)  # named its model
        html = page(alice)
        (row,) = [row for row in tables_of(html) if BEST in row]
        assert row[1:4] == ["balanced", "code-generation", BEST]
        assert row[4].startswith("It is the cheapest whose bound reaches")
        assert row[5:] == ["$0.00000125", "$0.00000004"]
        assert f"/dashboard/usage/{request_id}" in html

    @time_machine.travel(NOON)
    def test_their_receipt_is_on_the_page_of_the_request(self, alice: Person, calls: Calls):
        text = text_of(open_page(alice, f"/dashboard/usage/{routed(calls)}"))
        for said in ("Why this model", "cheapest_above_floor", "would have taken", BEST):
            assert said in text

    @pytest.mark.parametrize(
        ("body", "more", "why"),
        [
            ({"max_tokens": 4_000}, {}, "filtered: context"),
            ({"tools": TOOLS}, {}, "filtered: no tools"),
            ({"messages": PICTURE}, {}, "filtered: no image input"),
            ({"response_format": SCHEMA}, {}, "filtered: no JSON schema output"),
            ({"reasoning_effort": "high"}, {}, "filtered: no reasoning"),
            ({}, {"models_allowed": frozenset({BEST})}, "filtered: not allowed by the key"),
            ({}, {"open_offers": frozenset({("up", MIDDLING)})}, "filtered: its provider is failing"),
        ],
    )
    @time_machine.travel(NOON)
    def test_what_was_filtered_has_its_reason_and_no_cost(
        self, alice: Person, calls: Calls, body: dict[str, Any], more: dict[str, Any], why: str
    ):
        able = frozenset({"tools", "vision", "json_schema", "reasoning"})
        offers = {BEST: (offer(BEST, 5, 200_000, capabilities=able),)}
        offers |= {model: (offer(model, 1, 2_048, capabilities=frozenset()),) for model in (CHEAP, MIDDLING)}
        choice = brain(catalog(**offers)).decide(asked(body, **more))
        rows = tables_of(open_page(alice, f"/dashboard/usage/{routed(calls, choice=choice)}"))
        filtered = [row for row in rows if len(row) == 6 and row[1].startswith(why)]
        assert filtered
        assert {tuple(row[4:]) for row in filtered} == {("-", "-")}

    @time_machine.travel(NOON)
    def test_say_so_where_the_chosen_model_failed(self, alice: Person, calls: Calls):
        request_id = routed(calls, instead_of=BEST)
        UsageRow.objects.filter(request_id=request_id).update(model=MIDDLING)
        said = f"That was {BEST}; it did not answer, and {MIDDLING} did."
        (row,) = [row for row in tables_of(page(alice)) if MIDDLING in row]
        assert row[4].endswith(said)
        assert said in text_of(open_page(alice, f"/dashboard/usage/{request_id}"))
        UsageRow.objects.filter(request_id=request_id).update(usage_source="absent")  # neither did
        assert said not in page(alice)

    @time_machine.travel(NOON)
    def test_one_without_a_receipt_is_there_all_the_same(self, alice: Person, calls: Calls):
        request_id = routed(calls, "neo-mode/frugal", task_type=None)
        UsageRow.objects.filter(request_id=request_id).update(detail={})
        (row,) = [row for row in tables_of(page(alice)) if BEST in row]
        assert row[1:3] == ["frugal", "-"]
        assert "could not be scored" in row[4]

    def test_without_any_the_page_says_how_one_comes(self, alice: Person):
        assert "No policy was asked yet" in page(alice)

    @time_machine.travel(NOON)
    def test_calls_that_named_their_models_can_be_paged_through(
        self, alice: Person, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("komilion.web.dashboard.routing.ROWS_READ", 1)
        routed(calls)
        calls.add(NOON - timedelta(minutes=30), 7)
        html = page(alice)
        assert "None of the requests looked at" in html
        older = html.partition('href="?days=7&amp;cursor=')[2].partition('"')[0]
        assert BEST in page(alice, f"?days=7&cursor={older}")

    @time_machine.travel(NOON)
    def test_those_of_policies_are_told_apart_from_all(self, alice: Person, calls: Calls):
        routed(calls)
        calls.add(NOON - timedelta(minutes=30), 7_000)  # named its model
        text = text_of(page(alice))
        assert "Saved, 7 days $0.00000004 3 % of what the best model of each task would have cost." in text
        assert "Charged for policies $0.00000125 of $0.00001" in text
        assert "Requests to policies 1 of 2 in all" in text

    def test_without_any_nothing_was_saved(self, alice: Person):
        text = text_of(page(alice))
        assert "Saved, 7 days $0.00 How it is counted" in text

    @time_machine.travel(NOON)
    def test_savings_are_summed_by_day(self, alice: Person, calls: Calls):
        routed(calls)
        roll_forward()
        assert "Saved, 7 days $0.00000004" in text_of(page(alice))
        assert ["Jun 17", "1", "$0.00000125", "$0.00000004"] in tables_of(page(alice))


class TestPins:
    def test_are_set_replaced_and_removed(self, alice: Person, model: str):
        assert f"{model} answers requests of “math”" in post(alice, "pins", task="math", model=model).content.decode()
        post(alice, "pins", task="math", model=model)
        assert [(pin.task, pin.model, pin.set_by) for pin in pins_of(alice.organization_id)] == [
            ("math", model, alice.email)
        ]
        assert "Remove the pin of math" in page(alice)
        assert "on trial" not in page(alice)
        do_begin_trial(Move(alice.organization_id, "math", model, "acme/newer"), 500)
        assert "on trial for a share: acme/newer" in text_of(page(alice))
        post(alice, "pins/remove", task="math")
        assert pins_of(alice.organization_id) == []
        assert "There is no pin for math" in post(alice, "pins/remove", task="math").content.decode()

    @pytest.mark.parametrize("form", [{"task": "nothing", "model": MODEL}, {"task": "math", "model": "a/b"}, {}])
    def test_what_there_is_not_cannot_be_pinned(self, alice: Person, model: str, form: dict[str, str]):
        said = "There is no" if form else "`taskType` is missing"
        assert said in text_of(post(alice, "pins", **form).content.decode())
        assert pins_of(alice.organization_id) == []

    def test_are_read_by_all_and_changed_by_those_who_may(self, alice: Person, bob: Person, model: str):
        post(alice, "pins", task="math", model=model)
        html = page(bob)
        assert model in html
        assert "Remove the pin of math" not in html
        assert post(bob, "pins/remove", task="math").status_code == 403
        assert len(pins_of(alice.organization_id)) == 1

    def test_of_another_organization_are_none_of_ones_own(self, alice: Person, charlie: Person, model: str):
        post(alice, "pins", task="math", model=model)
        post(charlie, "pins/remove", task="math")
        assert len(pins_of(alice.organization_id)) == 1
        assert "Nothing is pinned" in page(charlie)


class TestSuccessors:
    def test_are_followed_or_not(self, alice: Person):
        assert "even where they are dearer" in post(alice, "successors", follows="on").content.decode()
        assert follows_successors(alice.organization_id)
        assert "checked" in page(alice).partition('id="follows"')[2].partition(">")[0]
        assert "only where they cost no more" in post(alice, "successors").content.decode()
        assert not follows_successors(alice.organization_id)

    def test_by_role(self, alice: Person):
        dora = new_member(f"dora-{alice.membership_id}@example.com", alice.organization_id, "billing")
        assert post(dora, "successors", follows="on").status_code == 403
        assert "disabled" in page(dora).partition('id="follows"')[2].partition(">")[0]
