"""Shared runs: kept sealed, opened by members of the organization alone, deleted by their author or an owner."""

import json
import re
from typing import Any

import pytest
from cryptography.fernet import Fernet

from accounts.models import AuditEntry
from komilion.common.errors import BadRequest
from komilion.web.stored_secrets import do_reseal
from routing.playground.content import SharedRun, read_run
from routing.playground.models import PlaygroundShare
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

SECRET = "a prompt that nobody else may read"
PIXEL = "data:image/png;base64,iVBORw0KGgo="
RUN: dict[str, Any] = {
    "models": ["acme/one", "neo-mode"],
    "prompt": SECRET,
    "system": "Be brief.",
    "task": "math",
    "settings": {"temperature": "0.5"},
    "images": [PIXEL],
    "answers": [
        {"model": "acme/one", "text": "**four** </script>", "cost_nano_usd": 1_250, "tokens_per_s": 12.5},
        {
            "model": "neo-mode",
            "answered_by": "acme/two",
            "error": "It broke off.",
            "reason": "provider_error",
            "request_id": "gen-1",
            "changes": ["temperature was left out: this model does not take it."],
            "receipt": {
                "why": "It has the highest bound.",
                "policy": "premium",
                "rule": "best",
                "candidates": [{"model": "acme/two", "verdict": "chosen", "p": 0.9, "bound": 0.8}],
            },
        },
    ],
}


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def share(person: Person, run: Any = None, status: int = 201) -> Any:
    content = json.dumps(RUN if run is None else run)
    answer = person.browser.post("/playground/shares", {"content": content})
    assert answer.status_code == status, answer.content
    return answer.json()


def opened(person: Person, share_id: str, status: int = 200) -> str:
    answer = person.browser.get(f"/playground/shares/{share_id}")
    assert answer.status_code == status
    return answer.content.decode()


def delete(person: Person, share_id: str) -> int:
    return person.browser.post(f"/playground/shares/{share_id}/delete").status_code


class TestSharing:
    def test_it_is_opened_as_it_was(self, alice: Person):
        made = share(alice)
        assert made["url"].endswith(f"/playground/shares/{made['id']}")
        html = opened(alice, made["id"])
        state = re.search(r'<script id="state" type="application/json">(.*?)</script>', html, re.DOTALL)
        assert state is not None
        assert "Why this model: It has the highest bound." in html
        kept = json.loads(state[1])
        assert kept["answers"][1]["changes"] == RUN["answers"][1]["changes"]
        assert {name: kept[name] for name in ("models", "prompt", "system", "task", "images")} == {
            name: RUN[name] for name in ("models", "prompt", "system", "task", "images")
        }
        assert kept["answers"][0]["text"] == RUN["answers"][0]["text"]
        assert "Shared by alice@example.com" in html

    def test_it_is_read_without_scripts(self, alice: Person):
        html = opened(alice, share(alice)["id"])
        plain = html.partition("without-scripts")[2].partition('id="play"')[0]
        for text in (SECRET, "Be brief.", "**four** &lt;/script&gt;", "It broke off.", "$0.00000125", "acme/two"):
            assert text in plain

    def test_every_member_opens_it_and_nobody_else(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "viewer")
        charlie = new_owner("charlie@example.com")
        share_id = share(alice)["id"]
        assert SECRET in opened(bob, share_id)
        assert SECRET not in opened(charlie, share_id, 404)
        assert SECRET in bob.browser.get("/playground/shares").content.decode()
        assert SECRET not in charlie.browser.get("/playground/shares").content.decode()

    def test_its_id_cannot_be_guessed(self, alice: Person):
        ids = {share(alice)["id"] for _ in range(20)}
        assert len(ids) == 20
        assert {len(share_id) for share_id in ids} == {24}

    def test_nothing_of_it_stands_in_the_database_in_clear(self, alice: Person):
        share(alice)
        row = PlaygroundShare.objects.get()
        assert SECRET.encode() not in bytes(row.content_sealed) + bytes(row.title_sealed)

    def test_it_is_sealed_anew_with_new_keys(self, alice: Person, settings: Any):
        share_id = share(alice)["id"]
        new = Fernet.generate_key().decode()
        settings.CREDENTIAL_KEYS = [new, *settings.CREDENTIAL_KEYS]
        do_reseal()
        settings.CREDENTIAL_KEYS = [new]
        assert SECRET in opened(alice, share_id)

    def test_one_that_no_key_opens_is_gone(self, alice: Person, settings: Any):
        share_id = share(alice)["id"]
        settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
        opened(alice, share_id, 404)
        assert "cannot be read any more" in alice.browser.get("/playground/shares").content.decode()

    def test_it_is_in_the_audit_log(self, alice: Person):
        share_id = share(alice)["id"]
        delete(alice, share_id)
        entries = AuditEntry.objects.filter(organization_id=alice.organization_id, subject=share_id).order_by("pk")
        assert [(entry.action, entry.actor) for entry in entries] == [
            ("share.create", alice.email),
            ("share.delete", alice.email),
        ]
        assert SECRET not in json.dumps([entry.detail for entry in entries])

    def test_roles_that_may_not_call_share_nothing(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "viewer")
        assert "viewer" in share(bob, status=403)["error"]["message"]

    def test_a_long_prompt_has_a_short_title(self, alice: Person):
        share(alice, {"models": ["a/b"], "prompt": "word " * 100})
        assert f"{'word ' * 15}word…" in alice.browser.get("/playground/shares").content.decode()

    def test_without_any_the_list_says_how_one_comes(self, alice: Person):
        assert "Nothing is shared" in alice.browser.get("/playground/shares").content.decode()


class TestLimits:
    def test_on_its_size(self, alice: Person, settings: Any):
        settings.SHARE_LIMIT_BYTES = 1_024
        assert "1 KiB" in share(alice, {**RUN, "prompt": "x" * 1_024}, 413)["error"]["message"]

    def test_on_their_number(self, alice: Person, settings: Any):
        settings.SHARES_PER_ORGANIZATION = 1
        share(alice)
        assert "delete some first" in share(alice, status=409)["error"]["message"]

    @pytest.mark.parametrize(
        "change",
        [
            {"models": []},
            {"models": ["a/b"] * 7},
            {"models": "a/b"},
            {"prompt": 5},
            {"more": "fields"},
            {"images": ["https://elsewhere.example/pixel.png"]},
            {"images": ["data:image/svg+xml;base64,PHN2Zz4="]},
            {"images": [PIXEL] * 9},
            {"answers": [{"model": "a/b", "cost_nano_usd": -1}]},
            {"answers": [{"model": "a/b", "html": "<b>"}]},
            {"settings": {"temperature": "x" * 201}},
        ],
    )
    def test_on_what_it_may_hold(self, alice: Person, change: dict[str, Any]):
        assert share(alice, {**RUN, **change}, 400)["error"]["reason"] == "invalid_request"
        assert PlaygroundShare.objects.count() == 0

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"models": ["\\ud800"]}', "{" * 10_000])
    def test_on_its_form(self, text: str):
        with pytest.raises(BadRequest):
            read_run(text)

    def test_a_run_that_was_kept_can_be_read(self):
        assert read_run(json.dumps(RUN)) == read_run(json.dumps(RUN))
        assert isinstance(read_run(json.dumps(RUN)), SharedRun)


class TestDeleting:
    def test_by_its_author_or_an_owner(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "developer")
        dora = new_member("dora@example.com", alice.organization_id, "developer")
        his = [share(bob)["id"] for _ in range(2)]
        assert delete(dora, his[0]) == 403
        assert "Stop sharing" not in opened(dora, his[0])
        assert "Stop sharing" in opened(bob, his[0])
        assert delete(bob, his[0]) == 302
        assert delete(alice, his[1]) == 302
        opened(alice, his[0], 404)
        assert PlaygroundShare.objects.count() == 0

    def test_by_nobody_of_another_organization(self, alice: Person):
        charlie = new_owner("charlie@example.com")
        share_id = share(alice)["id"]
        assert delete(charlie, share_id) == 404
        opened(alice, share_id)

    def test_an_author_who_may_not_call_any_more_deletes_nothing(self, alice: Person):
        from accounts.actions.members import do_change_role

        bob = new_member("bob@example.com", alice.organization_id, "developer")
        share_id = share(bob)["id"]
        do_change_role(alice.organization_id, bob.membership_id, "viewer", actor=alice.email)
        assert delete(bob, share_id) == 403

    def test_what_the_organization_had_goes_with_it_and_stays_without_its_author(self, alice: Person):
        from accounts.models import Organization, User

        bob = new_member("bob@example.com", alice.organization_id, "developer")
        share_id = share(bob)["id"]
        User.objects.filter(email=bob.email).delete()
        assert "Shared," in opened(alice, share_id)
        assert "somebody who left" in alice.browser.get("/playground/shares").content.decode()
        assert Organization._meta.pk is not None
