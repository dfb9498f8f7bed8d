"""Recommendations by the REST API: who sees which, and how they are answered."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from accounts.actions.members import do_change_role
from accounts.models import AuditEntry
from advisor.advice import Kind, Recommendation, Saving
from tests.advisor.effects import accepted, moved, noted, used
from tests.advisor.letters.delivering import CHEAPER, DOLLAR, made, week_now
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db

UNUSED = Recommendation(kind=Kind.UNUSED_KEY, subject="12", evidence={"days": 90, "name": "old"})
CACHING = Recommendation(kind=Kind.CACHING, subject="acme/large", task="writing", saving=Saving(1, 2, 3))


@pytest.fixture
def models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("acme/large", "acme/mini", "acme/other"):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")


@pytest.fixture
def alice(models: None) -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def charlie(models: None) -> Person:
    return new_owner("charlie@example.com")


def session(person: Person) -> Api:
    return Api(browser=person.browser)


def listed(api: Api, state: str = "") -> list[dict[str, Any]]:
    answer = api("GET", "/api/advisor/recommendations" + (f"?state={state}" if state else ""))
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def kinds(api: Api, state: str = "") -> list[str]:
    return [row["kind"] for row in listed(api, state)]


def accept(api: Api, task: str = "summarization", model: str = "acme/mini") -> Any:
    return api("POST", "/api/advisor/accept", {"taskType": task, "modelId": model})


def dismiss(api: Api, **body: Any) -> Any:
    return api("POST", "/api/advisor/dismiss", body)


def test_advice_is_listed_with_what_it_rests_on(alice: Person):
    made(alice, week_now())
    (row,) = listed(session(alice))
    assert row["saving_usd_per_month"] == {"low": "21.00", "mid": "34.00", "high": "47.00"}
    assert (row["task_type"], row["subject"], row["model"]) == ("summarization", "acme/large", "acme/mini")
    assert (row["confidence"], row["evidence"]["calls"], row["can_be_accepted"]) == (0.94, 4312, True)
    assert row["risks"] == [
        "a few answers may be worse",
        "it counts tokens in another way, which the saving allows for",
    ]
    assert "acme/mini" in row["title"]
    assert row["expires_on"] > row["created_at"][:10]


def test_advice_of_other_states_is_asked_for_by_the_state(alice: Person):
    made(alice, week_now(), [CHEAPER, CACHING])
    api = session(alice)
    accept(api)
    assert (kinds(api), kinds(api, "accepted"), kinds(api, "dismissed")) == (["caching"], ["cheaper"], [])
    assert api("GET", "/api/advisor/recommendations?state=nothing").status_code == 400


def test_advice_whose_time_has_passed_is_over(alice: Person, time_machine: Any):
    made(alice, week_now())
    from komilion.common.clock import utc_now

    time_machine.move_to(utc_now() + timedelta(days=60), tick=False)
    api = session(new_member("late@example.com", alice.organization_id, "owner"))
    assert (kinds(api), kinds(api, "over")) == ([], ["cheaper"])
    row = listed(api, "over")[0]
    assert not row["can_be_accepted"]
    assert dismiss(api, id=row["id"]).status_code == 409


def test_accepting_just_what_is_advised_accepts_the_advice(alice: Person):
    made(alice, week_now(), [CHEAPER, replace(CHEAPER, kind=Kind.NEW_MODEL)])
    api = session(alice)
    answer = accept(api)
    assert (answer.status_code, answer.json()["source"]) == (200, "advisor")
    assert kinds(api) == []
    assert [row["answered_by"] for row in listed(api, "accepted")] == ["alice@example.com"]
    assert len(listed(api, "over")) == 1  # said the same


def test_accepting_answers_with_the_pin_and_may_be_said_again(alice: Person):
    made(alice, week_now())
    first, second = accept(session(alice)), accept(session(alice))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    pinned = {"object": "pin", "task_type": "summarization", "model": "acme/mini", "set_by": "alice@example.com"}
    assert pinned.items() <= first.json().items()
    assert session(alice)("GET", "/api/pins").json()["data"] == [first.json()]


def test_answers_stand_in_the_audit_log(alice: Person):
    made(alice, week_now(), [CHEAPER, CACHING])
    accept(session(alice))
    dismiss(session(alice), id=listed(session(alice))[0]["id"])
    said = list(AuditEntry.objects.filter(action__startswith="advice.").order_by("pk").values_list("action", "actor"))
    assert said == [("advice.accept", "alice@example.com"), ("advice.dismiss", "alice@example.com")]


def test_what_was_never_advised_is_pinned_and_leaves_advice_open(alice: Person):
    made(alice, week_now())
    api = session(alice)
    assert accept(api, model="acme/other").status_code == 200
    assert accept(api, task="coding").status_code == 200
    assert kinds(api) == ["cheaper"]


def test_advice_is_dismissed_by_its_id_or_by_what_it_recommends(alice: Person):
    api = session(alice)
    made(alice, week_now(), [CHEAPER, CACHING])
    answer = dismiss(api, taskType="summarization", modelId="acme/mini")
    assert (answer.status_code, answer.json()["state"], answer.json()["kind"]) == (200, "dismissed", "cheaper")
    answer = dismiss(api, id=listed(api)[0]["id"])
    assert (answer.status_code, answer.json()["kind"]) == (200, "caching")
    assert dismiss(api, id=answer.json()["id"]).status_code == 409
    assert dismiss(api, taskType="coding", modelId="acme/mini").status_code == 404
    assert dismiss(api).status_code == 400
    assert dismiss(api, id="x").status_code == 422
    assert dismiss(api, id=2**63).status_code == 422
    assert dismiss(api, reason="no").status_code == 422


def test_what_accepted_advice_brought_is_listed_with_it(alice: Person, charlie: Person):
    advice = accepted(alice, moved([used("acme/large", 1_000, failed=4, votes=31, score=26.04)]))
    for week in ("2026-W46", "2026-W47"):
        noted(advice, week, saved=3 * DOLLAR // 2)
    noted(advice, "2026-W48", without_nano=None, low_nano=None, high_nano=None)
    (row,) = listed(session(alice), "accepted")
    effect = row["effect"]
    assert (effect["verdict"], effect["saved_usd_per_month"], effect["pinned_until"]) == ("kept", "6.428571428", None)
    assert effect["before"] == {
        "failed_share": 0.004,
        "retried_share": 0.0,
        "votes": 31,
        "mean_score": 0.84,
        "duration_ms": None,
    }
    first, _, last = effect["weeks"]
    assert first == {
        "week": "2026-W46",
        "requests": 1_000,
        "cost_usd": "1.00",
        "without_usd": "2.50",
        "saved_usd": "1.50",
        "promised_usd": {"low": "1.00", "high": "2.00"},
        "failed_share": 0.02,
        "retried_share": 0.05,
        "votes": 8,
        "mean_score": 0.75,
        "duration_ms": 2_100,
    }
    assert (last["without_usd"], last["saved_usd"], last["promised_usd"]) == (None, None, None)
    assert listed(session(charlie), "accepted") == []
    assert [row["effect"] for row in listed(Api(alice.key(can_manage=True).secret), "accepted")] == [effect]
    assert [row["effect"] for row in listed(Api(alice.key().secret), "accepted")] == [None], "it reads its own usage"


def test_only_accepted_advice_has_an_effect(alice: Person):
    made(alice, week_now(), [CHEAPER, CACHING])
    api = session(alice)
    assert dismiss(api, taskType="summarization", modelId="acme/mini").json()["effect"] is None
    assert [row["effect"] for row in (*listed(api), *listed(api, "dismissed"))] == [None, None]


def test_a_key_sees_and_answers_nothing_of_models_that_it_may_not_call(alice: Person):
    made(alice, week_now(), [CHEAPER, CACHING])
    for allowed in ({"acme/mini"}, {"acme/large"}, {"acme/other"}):
        narrow = Api(alice.key(models_allowed=frozenset(allowed)).secret)
        assert kinds(narrow) == (["caching"] if allowed == {"acme/large"} else [])
        mine = next(row["id"] for row in listed(session(alice)) if row["kind"] == "cheaper")
        assert dismiss(narrow, id=mine).status_code == 404
    refused = accept(Api(alice.key(models_allowed=frozenset({"acme/large"})).secret))
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "model_not_allowed")
    both = Api(alice.key(models_allowed=frozenset({"acme/large", "acme/mini"})).secret)
    assert accept(both).status_code == 200
    assert kinds(session(alice), "accepted") == ["cheaper"]


def test_a_key_that_reads_its_own_usage_alone_reads_no_figures_of_the_organization(alice: Person):
    made(alice, week_now(), [CHEAPER, CACHING])
    accept(session(alice))
    key, manager = Api(alice.key().secret), Api(alice.key(can_manage=True).secret)
    of_all = ("saving_usd_per_month", "evidence", "answered_by", "effect")
    for state in ("accepted", "open"):
        (seen,), (whole,) = listed(key, state), listed(manager, state)
        assert [seen[name] for name in of_all] == [None] * len(of_all)
        assert {**whole, **dict.fromkeys(of_all)} == seen
    assert listed(manager, "accepted")[0]["answered_by"] == "alice@example.com"
    assert dismiss(key, id=listed(key)[0]["id"]).json()["evidence"] is None


def test_a_key_hears_of_other_keys_only_where_it_manages_them(alice: Person):
    made(alice, week_now(), [UNUSED])
    assert kinds(Api(alice.key().secret)) == []
    assert kinds(Api(alice.key(can_manage=True).secret)) == kinds(session(alice)) == ["unused_key"]


def test_advice_is_the_organizations_own(alice: Person, charlie: Person):
    made(alice, week_now())
    (row,) = listed(session(alice))
    assert listed(session(charlie)) == []
    assert dismiss(session(charlie), id=row["id"]).status_code == 404
    assert accept(session(charlie)).status_code == 200
    assert kinds(session(alice)) == ["cheaper"]


def test_who_may_not_route_reads_and_answers_nothing(alice: Person):
    made(alice, week_now())
    viewer = session(new_member("vera@example.com", alice.organization_id, "viewer"))
    (row,) = listed(viewer)
    assert dismiss(viewer, id=row["id"]).status_code == accept(viewer).status_code == 403
    assert Api()("GET", "/api/advisor/recommendations").status_code == 401


def test_a_key_answers_nothing_once_its_member_may_not_route_any_more(alice: Person):
    made(alice, week_now())
    dora = new_member("dora@example.com", alice.organization_id, "developer")
    key = Api(dora.key().secret)
    (row,) = listed(key)
    do_change_role(alice.organization_id, dora.membership_id, "viewer", actor=alice.email)
    assert dismiss(key, id=row["id"]).status_code == accept(key).status_code == 403
    assert key("POST", "/api/pins", {"taskType": "math", "modelId": "acme/mini"}).status_code == 403
    do_change_role(alice.organization_id, dora.membership_id, "developer", actor=alice.email)
    assert accept(key).status_code == 200
