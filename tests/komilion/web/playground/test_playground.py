"""`/playground`: what the page offers and fills in, the token it asks with, and the files that come with it."""

import json
import re
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.session_tokens import LIFETIME_S, read_token
from komilion.web.playground.form import SCRIPTS, filled_by
from routing.selection.words import TASKS, VIRTUAL_MODELS
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[4]
STATE = re.compile(r'<script id="state" type="application/json">(.*?)</script>', re.DOTALL)


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture(autouse=True)
def models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-x", verbosity=0)
    for name in ("acme/one", "acme/two"):
        prices = ("--input-price", "3.00", "--output-price", "15.00")
        call_command("model", "add", name, "--provider", "acme", *prices, verbosity=0)


def page(person: Person, query: str = "") -> str:
    answer = person.browser.get(f"/playground{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def state_of(html: str) -> Any:
    found = STATE.search(html)
    assert found is not None
    return json.loads(found[1])


class TestForm:
    def test_offers_policies_and_every_model(self, alice: Person):
        html = page(alice)
        for name in (*VIRTUAL_MODELS, "acme/one", "acme/two"):
            assert f"<option>{name}</option>" in html
        for task in TASKS:
            assert f"<option>{task}</option>" in html

    def test_begins_with_two_policies_and_nothing_asked(self, alice: Person):
        state = state_of(page(alice))
        assert state["models"] == ["neo-mode/frugal", "neo-mode/balanced"]
        assert (state["prompt"], state["answers"]) == ("", [])

    def test_a_link_fills_it(self, alice: Person):
        state = state_of(page(alice, "?models=acme/one,neo-mode, acme/two&prompt=Why%3F&task=coding"))
        assert state["models"] == ["acme/one", "neo-mode", "acme/two"]
        assert (state["prompt"], state["task"]) == ("Why?", "code-generation")

    def test_a_link_cannot_write_into_the_page(self, alice: Person):
        html = page(alice, "?prompt=%3C/script%3E%3Cscript%3Ealert(1)%3C/script%3E&models=%22%3E%3Cb%3E,%3Ci%3E")
        assert "<script>alert" not in html
        assert "<option>&quot;&gt;&lt;b&gt;</option>" in html
        assert state_of(html)["prompt"] == "</script><script>alert(1)</script>"

    def test_what_a_link_names_and_nobody_knows_is_shown_as_such(self, alice: Person):
        html = page(alice, "?models=acme/gone,acme/one")
        assert '<optgroup label="Not available"><option>acme/gone</option></optgroup>' in html

    def test_a_link_that_says_too_much_is_cut(self):
        run = filled_by({"models": ",".join("abcdefghi"), "prompt": "x" * 30_000, "task": "no such task"})
        assert run.models == list("abcdef")
        assert (len(run.prompt), run.task) == (20_000, "")

    def test_what_was_left_out_is_said(self, alice: Person):
        html = unescape(page(alice, f"?models=a,b,c,d,e,f,acme/seven,acme/eight&task=nothing&prompt={'x' * 20_001}"))
        assert "At most 6 models are compared; left out: acme/seven, acme/eight." in html
        assert "The prompt was cut after 20,000 characters." in html
        assert "There is no task type “nothing”" in html
        assert "The link said more" not in page(alice, "?models=acme/one,acme/two&prompt=Why&task=coding")

    def test_one_model_gets_company(self):
        assert filled_by({"models": "acme/one"}).models == ["acme/one", "neo-mode/frugal"]
        assert filled_by({"models": "neo-mode/frugal"}).models == ["neo-mode/frugal", "neo-mode/balanced"]

    def test_says_what_pays_for_it(self, alice: Person):
        html = unescape(page(alice))
        assert "Each model is a call that is billed to the wallet of" in html
        assert "This costs money" in html

    def test_who_may_only_look_cannot_run(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "viewer")
        html = page(bob)
        assert "You can look, not ask" in html
        assert re.search(r'<button class="button button--primary" id="run" disabled>', html)
        assert 'id="run" disabled' not in page(alice)

    def test_without_scripts_it_says_what_to_do(self, alice: Person):
        plain, form = page(alice).partition("without-scripts")[2].split('id="play"', 1)
        assert "POST /api/compare" in plain
        assert " hidden " in form.partition(">")[0]


class TestToken:
    def ask(self, browser: Client, **form: str) -> Any:
        return browser.post("/playground/token", form)

    def test_is_for_this_person_in_this_organization(self, alice: Person):
        answer = self.ask(alice.browser)
        assert answer.status_code == 200
        assert answer["Cache-Control"] == "no-store"
        body = answer.json()
        ticket = read_token(body["token"])
        assert ticket is not None
        assert body["expires_in"] == LIFETIME_S == 900
        assert (ticket.organization_id, ticket.membership_id) == (alice.organization_id, alice.membership_id)

    def test_needs_the_forms_token(self, alice: Person):
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = alice.browser.cookies
        assert self.ask(strict).status_code == 403

    def test_is_refused_on_a_page_that_was_opened_for_another_organization(self, alice: Person):
        """She switched in another tab: what runs here would be billed there."""
        answer = self.ask(alice.browser, in_organization=str(alice.organization_id + 1))
        assert answer.status_code == 409
        assert "Open the page anew" in answer.json()["error"]["message"]
        assert 'name="in_organization"' in page(alice)

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_not_for_roles_that_may_not_call(self, alice: Person, role: str):
        bob = new_member("bob@example.com", alice.organization_id, role)
        answer = self.ask(bob.browser)
        assert answer.status_code == 403
        assert role in answer.json()["error"]["message"]

    def test_not_while_the_organization_is_suspended(self, alice: Person):
        from accounts.actions.organizations import do_suspend
        from accounts.models import Organization

        do_suspend(Organization.objects.get(pk=alice.organization_id), actor="test")
        answer = self.ask(alice.browser)
        assert answer.status_code == 403
        assert "suspended" in answer.json()["error"]["message"]

    def test_nobody_is_sent_to_log_in(self):
        assert self.ask(Client()).status_code == 302

    def test_a_link_never_fetches_one(self, alice: Person):
        assert alice.browser.get("/playground/token").status_code in {302, 405}


class TestScripts:
    """The rules that keep answers harmless are in the scripts themselves; the browser's tests prove them."""

    OURS = [ROOT / "static" / name for name in SCRIPTS]

    @pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
    def test_no_text_becomes_markup(self, script: Path):
        text = script.read_text()
        ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
        assert re.findall(rf"{ways}|\beval\b|new Function|setTimeout\(['\"]", text) == []

    @pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
    def test_no_script_is_longer_than_a_module_may_be(self, script: Path):
        assert len(script.read_text().splitlines()) <= 400

    def test_all_of_them_are_on_the_page(self):
        assert {path.name for path in (ROOT / "static/web/playground").iterdir()} == {path.name for path in self.OURS}

    def test_what_others_wrote_is_what_they_published(self):
        """static/vendor/README.md says where each file is from; a changed byte shows here."""
        rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (ROOT / "static/vendor/README.md").read_text(), re.M)
        files = {path.name for path in (ROOT / "static/vendor").iterdir()} - {"README.md"}
        assert {name for name, _ in rows} == files
        for name, digest in rows:
            assert sha256((ROOT / "static/vendor" / name).read_bytes()).hexdigest() == digest, name
