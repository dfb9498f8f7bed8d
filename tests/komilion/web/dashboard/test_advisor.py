"""`/dashboard/advisor`: open advice and its buttons, what accepted advice brought, prompts and cases."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import AuditEntry
from advisor.advice import Kind, Recommendation
from advisor.checks import Checked
from advisor.models import Advice, EvaluationCase, PromptSample, SampleChoice
from komilion.common.clock import utc_now
from komilion.common.money import format_usd
from routing.actions.pins import Pinner, do_set_pin
from routing.queries import charged_prices
from routing.selection.models import Pin
from tests.advisor.effects import accepted, moved, noted, used
from tests.advisor.letters.delivering import CHEAPER, DOLLAR, made, week_now
from tests.komilion.web.dashboard.reading import open_page, text_of
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

CASE = {
    "task": "writing",
    "name": "greets",
    "prompt": "Say hello",
    "check_kind": "contains",
    "expected": "hello",
}


@pytest.fixture
def alice() -> Person:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("acme/large", "acme/mini"):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")
    return new_owner("alice@example.com")


@pytest.fixture
def charlie(alice: Person) -> Person:
    return new_owner("charlie@example.com")


def page(person: Person) -> str:
    return open_page(person, "/dashboard/advisor")


def words(person: Person) -> str:
    return text_of(page(person))


def post(person: Person, path: str, **form: Any) -> Any:
    return person.browser.post(f"/dashboard/advisor/{path}", form, follow=True)


def test_who_was_never_seen_is_told_what_it_takes(alice: Person):
    shown = words(alice)
    assert "Nothing was seen yet" in shown
    assert "200 calls or $5.00" in shown
    assert "A promise is judged after two whole weeks with calls." in shown


def test_open_advice_says_what_why_how_much_how_sure_and_what_could_get_worse(alice: Person):
    made(alice, week_now(), [CHEAPER, Recommendation(Kind.UNUSED_KEY, "12", evidence={"name": "old", "days": 74})])
    shown = words(alice)
    for said in (
        "Saves about $34 a month, at least $21",
        "Let acme/mini answer summarization",
        "4,312 calls in 28 days",
        "94 %",
        "a few answers may be worse",
        "Test side by side",
        "Nobody uses the key “old”",
        "See the key",
    ):
        assert said in shown, said


def test_a_click_accepts_and_pins(alice: Person):
    made(alice, week_now())
    advice = Advice.objects.get()
    answer = post(alice, "accept", advice=advice.pk)
    assert "acme/mini answers requests of “summarization” that name no model from now on." in text_of(
        answer.content.decode()
    )
    assert Pin.objects.get().model == "acme/mini"
    assert "already" in text_of(post(alice, "accept", advice=advice.pk).content.decode())
    assert "too early to say" in words(alice)


def test_a_click_dismisses(alice: Person):
    made(alice, week_now())
    post(alice, "dismiss", advice=Advice.objects.get().pk)
    assert Advice.objects.get().state == "dismissed"
    assert "Let acme/mini" not in words(alice)
    for wrong in ("", "x", "99", str(2**70)):
        assert "There is no such advice." in text_of(post(alice, "dismiss", advice=wrong).content.decode())


def test_advice_of_another_organization_is_nobodys_elses(alice: Person, charlie: Person):
    made(alice, week_now())
    advice = Advice.objects.get()
    assert "Let acme/mini" not in words(charlie)
    post(charlie, "accept", advice=advice.pk)
    post(charlie, "dismiss", advice=advice.pk)
    assert (Advice.objects.get().state, Pin.objects.count()) == ("open", 0)


def test_who_may_not_change_routing_sees_it_without_buttons(alice: Person):
    made(alice, week_now())
    vera = new_member("vera@example.com", alice.organization_id, "viewer")
    shown = page(vera)
    assert "Let acme/mini answer summarization" in shown
    assert "dashboard/advisor/" not in shown, "there are no forms"
    for path in ("accept", "dismiss", "samples", "samples/delete", "cases", "cases/delete"):
        assert post(vera, path, advice=Advice.objects.get().pk).status_code == 403


def test_what_was_promised_stands_beside_what_it_brought(alice: Person):
    made(alice, week_now(), [CHEAPER, replace(CHEAPER, task="writing")])
    for row, saved in zip(Advice.objects.order_by("rank"), (7, 1), strict=True):
        post(alice, "accept", advice=row.pk)
        for week in ("2026-W46", "2026-W47"):
            noted(row, week, cost=2 * DOLLAR, saved=saved * DOLLAR, promised=5 * DOLLAR)
    shown = words(alice)
    for said in ("as promised", "less than promised", "$30.00", "1 of 2", "2026-W46", "Would have cost", "$16.00"):
        assert said in shown, said


def test_how_the_calls_go_stands_beside_how_they_went(alice: Person, charlie: Person):
    advice = accepted(alice, moved([used("acme/large", 1_000, failed=4, retried=11, votes=31, score=26.04)]))
    noted(advice, "2026-W46")
    shown = words(alice)
    for said in ("Before", "0.4 %", "1.1 %", "84.0 % of 31", "2.0 %", "5.0 %", "75.0 % of 8", "2.1 s"):
        assert said in shown, said
    assert "2026-W46" not in words(charlie)


def test_a_pin_that_ended_says_until_when_it_held(alice: Person):
    advice = accepted(alice, pinned_until=datetime(2026, 11, 18, 12, tzinfo=UTC))
    shown = words(alice)
    assert "held until Nov 18" in shown
    assert "changed too soon to say" in shown
    for week in ("2026-W46", "2026-W47"):
        noted(advice, week)
    assert "as promised" in words(alice)


def test_weeks_that_cannot_be_compared_say_so(alice: Person):
    advice = accepted(alice)
    for week in ("2026-W46", "2026-W47"):
        noted(advice, week, without_nano=None, low_nano=None, high_nano=None)
    shown = words(alice)
    assert "cannot be compared" in shown
    assert "was not on offer any more" in shown
    assert "Nothing is measured yet." in shown
    noted(advice, "2026-W48")
    assert "measured over 1 week of advice" in words(alice), "those without a comparison add nothing to the sum"


def test_prompts_are_asked_for_once_allowed_refused_and_deleted(alice: Person, charlie: Person):
    assert "May we keep typical prompts of yours" in words(alice)
    post(alice, "samples", keep="yes")
    for person in (alice, charlie):
        PromptSample.objects.create(
            organization_id=person.organization_id, task="writing", request_id="r", text="x", created_at=utc_now()
        )
    shown = words(alice)
    assert "May we keep" not in shown
    assert "for 14 days: 1 now" in shown
    post(alice, "samples/delete")
    assert list(PromptSample.objects.values_list("organization_id", flat=True)) == [charlie.organization_id]
    PromptSample.objects.create(
        organization_id=alice.organization_id, task="writing", request_id="s", text="x", created_at=utc_now()
    )
    post(alice, "samples", keep="no")
    assert not PromptSample.objects.filter(organization_id=alice.organization_id).exists(), "refusing deletes too"
    post(alice, "samples", keep="perhaps")
    assert not SampleChoice.objects.get().is_allowed
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"samples.allow", "samples.refuse", "samples.delete"} <= actions


def test_cases_are_added_listed_and_deleted(alice: Person, charlie: Person):
    assert "The case “greets” is kept." in text_of(post(alice, "cases", **CASE).content.decode())
    assert "greets" in words(alice)
    assert "greets" not in words(charlie)
    case = EvaluationCase.objects.get()
    post(charlie, "cases/delete", case=case.pk)
    assert EvaluationCase.objects.count() == 1
    taken = post(alice, "cases", **CASE)
    assert (taken.status_code, "There is a case “greets”" in text_of(taken.content.decode())) == (422, True)
    post(alice, "cases/delete", case=case.pk)
    assert EvaluationCase.objects.count() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "juggling"},
        {"name": ""},
        {"prompt": ""},
        {"check_kind": "opinion"},
        {"check_kind": "regex", "expected": "("},
        {"check_kind": "json_schema", "expected": "[]"},
        {"check_kind": "json_schema", "expected": "{"},
        {"check_kind": "code", "expected": "import"},
        {"check_kind": "code", "expected": "\x00"},
        {"check_kind": "code", "expected": "answer =="},
    ],
)
def test_a_case_that_cannot_be_used_is_refused_with_the_reason(alice: Person, wrong: dict[str, str]):
    assert post(alice, "cases", **{**CASE, **wrong}).status_code == 422
    assert EvaluationCase.objects.count() == 0


@pytest.mark.parametrize("kind", ["regex", "json_schema", "code"])
def test_what_is_expected_is_never_read_in_the_web_process(alice: Person, monkeypatch: pytest.MonkeyPatch, kind: str):
    """It may take long to read; here whatever is asked about passes."""
    monkeypatch.setattr("advisor.checks.check", lambda *_: Checked(passed=False))
    assert "is kept" in text_of(post(alice, "cases", **{**CASE, "check_kind": kind, "expected": "("}).content.decode())
    monkeypatch.setattr("advisor.checks.check", lambda *_: Checked(passed=False, why="it is slow", is_broken=True))
    refused = post(alice, "cases", **{**CASE, "name": "other", "check_kind": kind, "expected": "a"})
    assert (refused.status_code, "it is slow" in text_of(refused.content.decode())) == (422, True)


@pytest.mark.parametrize(
    ("kind", "expected", "said"),
    [
        ("regex", "(", "unterminated"),
        ("json_schema", '{"type": "juggler"}', "SchemaError"),
        ("code", "answer ==", "SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_check_is_said_at_its_field(alice: Person, kind: str, expected: str, said: str):
    answer = post(alice, "cases", **{**CASE, "check_kind": kind, "expected": expected})
    assert said in text_of(answer.content.decode())


def test_the_page_says_what_a_replay_of_the_cases_costs(alice: Person):
    post(alice, "cases", **CASE)
    assert "as for others, when a newer model appears, and for a task type once a day at most." in words(alice)
    do_set_pin(Pinner(alice.organization_id, alice.email), "writing", "acme/large")
    price = charged_prices("acme/large")
    nano = 2 * (3 * price["input"] + 2_048 * price["output"]) // 10**6  # of both models, nine bytes and a long answer
    assert f"about ${format_usd(nano)}"[:8] in words(alice)
    assert "at most for the 1 case of writing" in words(alice)


def test_an_organization_keeps_so_many_cases(alice: Person, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("advisor.actions.samples.CASES_MOST", 1)
    post(alice, "cases", **CASE)
    assert post(alice, "cases", **{**CASE, "name": "other"}).status_code == 422


def test_a_test_side_by_side_begins_with_a_prompt_that_is_kept(alice: Person):
    made(alice, week_now())
    address = re.search(r'href="[^"]*(/playground\?[^"]+)"', page(alice))
    assert address is not None
    link = unescape(address[1])
    assert alice.browser.get(link).context["run"].prompt.startswith("Sum this up in one sentence"), "a stand-in"
    post(alice, "samples", keep="yes")
    PromptSample.objects.create(
        organization_id=alice.organization_id,
        task="summarization",
        request_id="r",
        text="Our own words",
        created_at=utc_now(),
    )
    assert alice.browser.get(link).context["run"].prompt == "Our own words"
    assert "Our own words" not in page(alice), "it stands in no address"
