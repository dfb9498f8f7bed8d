"""Pins by the REST API: which model answers which task type, for whom, and who may say so."""

from datetime import date
from typing import Any

import pytest
from django.core.management import call_command

from routing.selection.words import TASKS
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db

MODELS = ("acme/one", "acme/two")


@pytest.fixture
def models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in MODELS:
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")


@pytest.fixture
def alice(models: None) -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def charlie(models: None) -> Person:
    return new_owner("charlie@example.com")


def api_of(person: Person, **terms: Any) -> Api:
    return Api(person.key(**terms).secret)


def pinned(api: Api) -> dict[str, str]:
    answer = api("GET", "/api/pins")
    assert answer.status_code == 200
    return {pin["task_type"]: pin["model"] for pin in answer.json()["data"]}


def pin(api: Api, task: str = "coding", model: str = "acme/one", path: str = "/api/pins") -> Any:
    return api("POST", path, {"taskType": task, "modelId": model})


def test_anonymous():
    for method, path in (("GET", "/api/pins"), ("POST", "/api/pins"), ("DELETE", "/api/pins")):
        assert Api()(method, path).status_code == 401
    assert Api()("POST", "/api/advisor/accept").status_code == 401


def test_a_pin_is_set_changed_listed_and_removed(alice: Person):
    key = alice.key()
    api = Api(key.secret)
    answer = pin(api)
    assert answer.status_code == 200, answer.content
    assert answer.json() | {"created_at": ""} == {
        "object": "pin",
        "task_type": "code-generation",
        "model": "acme/one",
        "source": "key",
        "set_by": f"key {key.row.hint}",
        "created_at": "",
        "upgrades": "auto",
        "ceiling": {"input": "3.75", "output": "18.75"},
        "trial": None,
    }
    assert pin(api, "code-generation", "acme/two").status_code == 200
    assert pin(api, "writing").status_code == 200
    assert pinned(api) == {"code-generation": "acme/two", "writing": "acme/one"}
    removed = api("DELETE", "/api/pins?taskType=coding")
    assert (removed.status_code, removed.json()["model"]) == (200, "acme/two")
    assert api("DELETE", "/api/pins?task_type=coding").status_code == 404
    assert pinned(api) == {"writing": "acme/one"}


@pytest.mark.parametrize("word", [*TASKS, "coding", "Code_Generation", " code generation "])
def test_every_name_of_a_task_type_is_taken(alice: Person, word: str):
    answer = api_of(alice)("POST", "/api/pins", {"task_type": word, "model_id": "acme/one"})
    assert answer.status_code == 200
    assert answer.json()["task_type"] in TASKS


def test_a_recommendation_that_is_accepted_is_a_pin_that_says_so(alice: Person):
    answer = pin(api_of(alice), path="/api/advisor/accept")
    assert (answer.status_code, answer.json()["source"]) == (200, "advisor")
    assert pinned(api_of(alice)) == {"code-generation": "acme/one"}


@pytest.mark.parametrize("path", ["/api/pins", "/api/advisor/accept"])
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"taskType": "juggling", "modelId": "acme/one"}, "taskType"),
        ({"taskType": "coding", "modelId": "acme/on"}, "modelId"),
        ({"taskType": "coding", "modelId": "nothing like it"}, "modelId"),
        ({"taskType": "coding", "modelId": "neo-mode"}, "modelId"),
        ({"taskType": "coding"}, "modelId"),
        ({"taskType": "", "modelId": "acme/one"}, "taskType"),
        ({"taskType": None, "modelId": None}, "taskType"),
        ({}, "taskType"),
    ],
)
def test_what_is_wrong_is_400_with_both_lists(alice: Person, path: str, body: dict[str, Any], param: str):
    answer = api_of(alice)("POST", path, body)
    assert answer.status_code == 400
    found = answer.json()
    assert (found["error"]["reason"], found["error"]["param"]) == ("invalid_request", param)
    assert (found["task_types"], found["models"]) == (list(TASKS), list(MODELS))
    assert pinned(api_of(alice)) == {}


def test_a_mistyped_model_is_told_the_nearest(alice: Person):
    assert "acme/one" in pin(api_of(alice), model="acme/on").json()["error"]["message"]


def test_fields_that_are_none_are_refused_by_name(alice: Person):
    for body in ({"taskType": "coding", "modelId": "acme/one", "x": 1}, {"taskType": ["coding"]}):
        assert api_of(alice)("POST", "/api/pins", body).status_code == 422
    assert api_of(alice)("DELETE", "/api/pins").status_code == 400
    assert api_of(alice)("GET", "/api/pins?taskType=coding").status_code == 400


def test_pins_are_the_organizations_own(alice: Person, charlie: Person):
    pin(api_of(alice))
    assert pinned(api_of(charlie)) == {}
    assert api_of(charlie)("DELETE", "/api/pins?taskType=coding").status_code == 404
    pin(api_of(charlie), model="acme/two")
    assert pinned(api_of(alice)) == {"code-generation": "acme/one"}


def test_a_key_pins_no_model_that_it_may_not_call(alice: Person):
    narrow = api_of(alice, models_allowed=frozenset({"acme/two"}))
    answer = pin(narrow)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "model_not_allowed")
    assert pin(narrow, model="acme/two").status_code == 200


def test_a_key_leaves_alone_what_pins_a_model_that_it_may_not_call(alice: Person):
    pin(Api(browser=alice.browser))
    narrow = api_of(alice, models_allowed=frozenset({"acme/two"}))
    for answer in (pin(narrow, model="acme/two"), narrow("DELETE", "/api/pins?taskType=coding")):
        assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "model_not_allowed")
        assert "acme/one" in answer.json()["error"]["message"]
    assert pinned(narrow) == {"code-generation": "acme/one"}
    wide = api_of(alice, models_allowed=frozenset({"acme/one", "acme/two"}))
    assert pin(wide, model="acme/two").status_code == 200
    assert narrow("DELETE", "/api/pins?taskType=coding").status_code == 200


def test_who_pinned_is_told(alice: Person):
    pin(Api(browser=alice.browser), "writing")
    pin(api_of(alice), "coding")
    listed = api_of(alice)("GET", "/api/pins").json()["data"]
    assert {each["task_type"]: each["source"] for each in listed} == {"writing": "person", "code-generation": "key"}


def test_a_pin_that_is_there_already_changes_nothing(alice: Person):
    from accounts.models import Organization

    def epoch() -> int:
        return Organization.objects.get(pk=alice.organization_id).auth_epoch

    first = pin(Api(browser=alice.browser)).json()
    before = epoch()
    assert pin(api_of(alice)).json() == first
    assert epoch() == before


def test_what_is_missing_is_said(alice: Person):
    for body, missing in (({"modelId": "acme/one"}, "taskType"), ({"taskType": "coding"}, "modelId")):
        message = api_of(alice)("POST", "/api/pins", body).json()["error"]["message"]
        assert message.startswith(f"`{missing}` is missing")


@pytest.mark.parametrize("successor", ["acme/two", ""])
def test_a_retired_model_is_told_with_its_successor(alice: Person, successor: str):
    from routing.catalog.models import Model, Offer
    from routing.queries import forget_catalog_rows

    Offer.objects.filter(model_id="acme/one").delete()
    Model.objects.filter(pk="acme/one").update(sunset_on=date(2026, 1, 31), successor=successor)
    forget_catalog_rows()
    message = pin(api_of(alice)).json()["error"]["message"]
    assert message.startswith("acme/one was retired on 2026-01-31.")
    assert ("Its successor is acme/two." in message) is bool(successor)
    forget_catalog_rows()


@pytest.mark.parametrize(("role", "status"), [("developer", 200), ("billing", 403), ("viewer", 403)])
def test_a_session_pins_as_its_role_may(alice: Person, role: str, status: int):
    bob = new_member("bob@example.com", alice.organization_id, role)
    api = Api(browser=bob.browser)
    assert pin(api).status_code == status
    assert api("DELETE", "/api/pins?taskType=coding").status_code == status
    assert api("GET", "/api/pins").status_code == 200


def test_every_change_is_in_the_audit_log_and_makes_the_gateway_ask_again(alice: Person):
    from accounts.models import AuditEntry, Organization

    before = Organization.objects.get(pk=alice.organization_id).auth_epoch
    api = Api(browser=alice.browser)
    pin(api)
    api("DELETE", "/api/pins?taskType=coding")
    assert Organization.objects.get(pk=alice.organization_id).auth_epoch == before + 2
    entries = AuditEntry.objects.filter(organization_id=alice.organization_id, action__startswith="pin.")
    assert [(entry.action, entry.actor, entry.subject) for entry in entries.order_by("pk")] == [
        ("pin.set", "alice@example.com", "code-generation"),
        ("pin.remove", "alice@example.com", "code-generation"),
    ]


def test_following_successors_is_a_switch(alice: Person, charlie: Person):
    from routing.actions.pins import do_follow_successors
    from routing.selection.queries import follows_successors

    assert not follows_successors(alice.organization_id)
    for follows in (True, False, True):
        do_follow_successors(alice.organization_id, follows=follows, actor="test")
        assert follows_successors(alice.organization_id) is follows
    assert not follows_successors(charlie.organization_id)


def test_what_is_set_to_what_it_was_holds_up_no_call(alice: Person):
    from accounts.models import Organization
    from routing.actions.pins import do_follow_successors

    def epoch() -> int:
        return Organization.objects.get(pk=alice.organization_id).auth_epoch

    api = Api(browser=alice.browser)
    before = epoch()
    for model in ("acme/one", "acme/one", "acme/two", "acme/two"):
        assert pin(api, model=model).status_code == 200
    assert epoch() == before + 2
    for follows in (False, True, True, False):
        do_follow_successors(alice.organization_id, follows=follows, actor="test")
    assert epoch() == before + 4
