"""The pages of API keys, as a browser without JavaScript uses them."""

import re
from typing import Any

import pytest

from accounts.models import ApiKey
from tests.people import Api, Person, new_member, new_owner

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def charlie() -> Person:
    return new_owner("charlie@example.com")


def form_of(page: Any, action: str) -> dict[str, str]:
    """What a browser would send for the form with this action, as it stands."""
    html = page.content.decode()
    form = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', html, re.DOTALL)
    assert form is not None, f"no form for {action}"
    sent = {}
    for tag in re.findall(r"<(?:input|textarea)[^>]*>(?:[^<]*</textarea>)?", form[1]):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name is None or ('type="checkbox"' in tag and "checked" not in tag):
            continue
        text = re.search(r">\s*([^<]*)</textarea>", tag)
        sent[name[1]] = text[1] if text else (value[1] if value else "on" if "checkbox" in tag else "")
    return sent


def secret_in(page: Any) -> str:
    found = set(re.findall(r"ck_[0-9A-Za-z]{38}", page.content.decode()))
    assert len(found) == 1
    return found.pop()


class TestList:
    def test_it_teaches_where_there_is_nothing(self, alice: Person):
        page = alice.browser.get("/dashboard/keys")
        assert page.status_code == 200
        assert "No key yet" in page.content.decode()
        assert "/dashboard/keys/new" in page.content.decode()

    def test_a_viewer_is_told_whom_to_ask(self, alice: Person):
        bob = new_member("bob@example.com", alice.organization_id, "viewer")
        page = bob.browser.get("/dashboard/keys").content.decode()
        assert "An owner or a developer" in page
        assert "/dashboard/keys/new" not in page

    def test_it_shows_each_key_with_its_state_and_caps_and_no_secret(self, alice: Person):
        from accounts.actions.keys import do_revoke_key

        live = alice.key("live <b>key</b>", caps={"day": DOLLAR})
        do_revoke_key(alice.key("dead key").row, actor="test")
        page = alice.browser.get("/dashboard/keys").content.decode()
        assert "live &lt;b&gt;key&lt;/b&gt;" in page
        assert live.row.hint in page
        assert live.secret not in page
        assert "active" in page
        assert "revoked" in page
        assert "$1.00" in page

    def test_it_takes_few_queries_however_many_keys(self, alice: Person, django_assert_max_num_queries):
        for number in range(60):
            alice.key(f"key {number}", caps={"day": DOLLAR})
        with django_assert_max_num_queries(12):
            page = alice.browser.get("/dashboard/keys").content.decode()
        assert "key 59" in page
        assert "key 9<" not in page
        older = re.search(r'href="(\?before=\d+)"', page)
        assert older is not None
        assert "key 9<" in alice.browser.get(f"/dashboard/keys{older[1]}").content.decode()

    def test_an_odd_page_is_the_first(self, alice: Person):
        assert alice.browser.get("/dashboard/keys?before=x").status_code == 200

    def test_a_cap_that_leaves_too_little_for_the_last_call_says_so_until_it_is_raised(
        self, alice: Person, valkey_url: str
    ):
        from billing.actions.caps import do_set_caps
        from komilion.common.refusals import Refusal, of_cap, remember

        key = alice.key("batch", caps={"day": DOLLAR}).row
        refusal = Refusal(1_800_000_000.0, "key_cap_reached", "It leaves too little.", 2 * DOLLAR)
        remember({of_cap(key.pk, "day"): refusal}, valkey_url)
        for page in ("/dashboard/keys", f"/dashboard/keys/{key.pk}"):
            assert "too little left" in alice.browser.get(page).content.decode()
        do_set_caps(alice.organization_id, key.pk, {"day": 2 * DOLLAR})
        assert "too little left" not in alice.browser.get("/dashboard/keys").content.decode()


class TestMaking:
    def test_a_name_is_all_it_takes(self, alice: Person):
        sent = form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new")
        shown = alice.browser.post("/dashboard/keys/new", {**sent, "name": "checkout"})
        assert shown.status_code == 200
        assert "no-store" in shown["cache-control"]
        assert Api(secret_in(shown))("GET", "/api/v1/key").json()["data"]["limit"] is None
        key = ApiKey.objects.get()
        assert (key.name, key.models_allowed, key.limits, key.can_manage) == ("checkout", None, {}, False)
        assert key.membership_id == alice.membership_id

    def test_the_secret_is_kept_nowhere(self, alice: Person):
        sent = form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new")
        secret = secret_in(alice.browser.post("/dashboard/keys/new", {**sent, "name": "checkout"}))
        assert secret not in str(dict(alice.browser.session))
        for path in ("/dashboard/keys", f"/dashboard/keys/{ApiKey.objects.get().pk}"):
            assert secret not in alice.browser.get(path).content.decode()

    def test_a_reload_shows_nothing_and_makes_nothing(self, alice: Person):
        sent = {**form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new"), "name": "checkout"}
        alice.browser.post("/dashboard/keys/new", sent)
        again = alice.browser.post("/dashboard/keys/new", sent)
        assert (again.status_code, again["location"]) == (302, "/dashboard/keys")
        assert "ck_" not in again.content.decode()
        assert ApiKey.objects.count() == 1
        assert "sent already" in alice.browser.get("/dashboard/keys").content.decode()

    def test_a_form_that_is_none_of_ours(self, alice: Person):
        page = alice.browser.post("/dashboard/keys/new", {"name": "x", "form_token": "short"})
        assert page.status_code == 422
        assert not ApiKey.objects.exists()

    @pytest.mark.parametrize("name", ["\u200b", "live\u202eyek"])
    def test_a_name_that_is_not_seen_is_refused_beside_its_field(self, alice: Person, name: str):
        sent = form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new")
        page = alice.browser.post("/dashboard/keys/new", {**sent, "name": name})
        assert page.status_code == 422
        assert re.search(r'id="id_name_error"[^>]*><li>The name has characters that nobody sees', page.content.decode())
        assert not ApiKey.objects.exists()

    def test_everything_that_can_be_said_of_a_key(self, alice: Person):
        from routing.catalog.models import Model

        Model.objects.create(id="acme/one", name="One")
        sent = form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new")
        more = {"cap_day": "$1.50", "cap_total": "1,000", "models": "acme/one", "parallel": "2", "manage": "on"}
        shown = alice.browser.post("/dashboard/keys/new", {**sent, **more, "name": "x", "expires_on": "2999-01-01"})
        assert shown.status_code == 422
        assert "ten years" in shown.content.decode()
        from django.utils import timezone

        today = timezone.localdate()
        shown = alice.browser.post("/dashboard/keys/new", {**sent, **more, "name": "x", "expires_on": str(today)})
        assert shown.status_code == 200, shown.content.decode()
        key = Api(secret_in(shown))("GET", "/api/auth").json()["data"][0]
        assert key["caps"] == {"day": "1.50", "total": "1000.00"}
        assert (key["models"], key["limits"], key["manage"]) == (["acme/one"], {"parallel": 2}, True)
        assert key["expires_at"] > str(today)

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("name", "", "required"),
            ("cap_day", "much", "such as 10.00"),
            ("cap_day", "-1", "such as 10.00"),
            ("cap_day", "0,50", "such as 10.00"),  # half a dollar in many countries, and no fifty
            ("cap_day", "1,5", "such as 10.00"),
            ("cap_day", "1,0000", "such as 10.00"),
            ("models", "acme/nothing", "There is no model"),
            ("parallel", "33", "from 0 to 32"),
            ("parallel", "x", "whole number"),
            ("expires_on", "2020-01-01", "later day"),
            ("expires_on", "9999-12-31", "ten years"),
            ("expires_on", "tomorrow", "valid date"),
        ],
    )
    def test_what_is_wrong_stands_at_its_field(self, alice: Person, field: str, value: str, words: str):
        sent = form_of(alice.browser.get("/dashboard/keys/new"), "/dashboard/keys/new")
        page = alice.browser.post("/dashboard/keys/new", {**sent, "name": "x", field: value})
        assert page.status_code == 422
        html = page.content.decode()
        at_field = re.search(rf'id="id_{field}_error"[^>]*>(.*?)</ul>', html, re.DOTALL)
        assert at_field is not None
        assert words in at_field[1]
        assert not ApiKey.objects.exists()


class TestChanging:
    def test_the_form_shows_what_holds_and_saves_what_is_changed(self, alice: Person):
        key = alice.key("before", limits={"parallel": 2}, caps={"day": DOLLAR, "month": 9 * DOLLAR}).row
        path = f"/dashboard/keys/{key.pk}"
        sent = form_of(alice.browser.get(path), path)
        assert (sent["name"], sent["cap_day"], sent["parallel"]) == ("before", "1.00", "2")
        answer = alice.browser.post(path, {**sent, "name": "after", "cap_day": "2.00", "cap_month": ""})
        assert (answer.status_code, answer["location"]) == (302, path)
        key.refresh_from_db()
        assert (key.name, key.limits, key.auth_epoch > 0) == ("after", {"parallel": 2}, True)
        assert Api(browser=alice.browser)("GET", f"/api/auth/{key.pk}").json()["caps"] == {"day": "2.00"}

    def test_an_end_that_is_not_touched_keeps_its_moment(self, alice: Person):
        from datetime import timedelta

        from django.utils import timezone

        ends = timezone.now() + timedelta(days=3, seconds=17)
        key = alice.key(expires_at=ends).row
        path = f"/dashboard/keys/{key.pk}"
        alice.browser.post(path, {**form_of(alice.browser.get(path), path), "name": "after"})
        key.refresh_from_db()
        assert (key.name, key.expires_at) == ("after", ends)

    def test_a_child_goes_no_further_than_its_parent(self, alice: Person):
        parent = alice.key("parent", can_manage=True, limits={"parallel": 3})
        child_id = Api(parent.secret)("POST", "/api/auth", {"name": "child"}).json()["id"]
        path = f"/dashboard/keys/{child_id}"
        page = alice.browser.get(path)
        assert f'href="/dashboard/keys/{parent.row.pk}"' in page.content.decode()
        refused = alice.browser.post(path, {**form_of(page, path), "parallel": "4"})
        assert refused.status_code == 422
        assert "no more can be given" in refused.content.decode()
        assert "child" in alice.browser.get(f"/dashboard/keys/{parent.row.pk}").content.decode()

    def test_a_key_that_was_revoked_meanwhile_is_not_changed(self, alice: Person):
        from accounts.actions.keys import do_revoke_key

        key = alice.key("before").row
        path = f"/dashboard/keys/{key.pk}"
        sent = form_of(alice.browser.get(path), path)
        do_revoke_key(key, actor="test")
        refused = alice.browser.post(path, {**sent, "name": "after"}, follow=True)
        assert "is revoked; it cannot be changed" in refused.content.decode()
        key.refresh_from_db()
        assert key.name == "before"

    def test_rotating_shows_the_new_secret_once(self, alice: Person):
        key = alice.key()
        page = alice.browser.get(f"/dashboard/keys/{key.row.pk}").content.decode()
        action = re.search(r'action="([^"]+rotate\?epoch=\d+)"', page)
        assert action is not None
        shown = alice.browser.post(action[1])
        assert "no-store" in shown["cache-control"]
        assert Api(key.secret)("GET", "/api/usage").status_code == 401
        assert Api(secret_in(shown))("GET", "/api/usage").status_code == 200
        again = alice.browser.post(action[1])
        assert again.status_code == 302
        assert Api(secret_in(shown))("GET", "/api/usage").status_code == 200
        assert alice.browser.post(f"/dashboard/keys/{key.row.pk}/rotate").status_code == 409

    def test_revoking(self, alice: Person):
        key = alice.key("old one")
        path = f"/dashboard/keys/{key.row.pk}"
        assert f'action="{path}/revoke"' in alice.browser.get(path).content.decode()
        assert alice.browser.post(f"{path}/revoke").status_code == 302
        assert Api(key.secret)("GET", "/api/usage").status_code == 401
        page = alice.browser.get(path).content.decode()
        assert "revoked" in page
        assert "<form" not in page.partition("<main")[2].partition("</main>")[0]

    def test_a_form_that_was_opened_before_another_change_reverts_nothing(self, alice: Person):
        key = alice.key("checkout", caps={"day": DOLLAR}).row
        address = f"/dashboard/keys/{key.pk}"
        first, second = (form_of(alice.browser.get(address), address) for _ in range(2))
        alice.browser.post(address, {**first, "cap_day": "2.00"})
        page = alice.browser.post(address, {**second, "name": "renamed"}, follow=True)
        assert "This key was changed meanwhile" in page.content.decode()
        now = form_of(alice.browser.get(address), address)
        assert (now["name"], now["cap_day"]) == ("checkout", "2.00")
        alice.browser.post(address, {**now, "name": "renamed"})
        assert form_of(alice.browser.get(address), address)["name"] == "renamed"

    def test_a_form_that_names_no_state_changes_nothing(self, alice: Person):
        key = alice.key("checkout").row
        page = alice.browser.post(f"/dashboard/keys/{key.pk}", {"name": "renamed"})
        assert page.status_code == 422
        assert ApiKey.objects.get(pk=key.pk).name == "checkout"


class TestWhoMay:
    PATHS = ("/dashboard/keys", "/dashboard/keys/new", "/dashboard/keys/{}")
    ACTIONS = ("/dashboard/keys/{}", "/dashboard/keys/{}/rotate?epoch=0", "/dashboard/keys/{}/revoke")

    def test_nobody_is_sent_to_log_in(self, client, alice: Person):
        key = alice.key().row
        for path in self.PATHS:
            answer = client.get(path.format(key.pk))
            assert answer.status_code == 302
            assert answer["location"].startswith("/auth/login/")

    @pytest.mark.parametrize("role", ["owner", "developer", "billing", "viewer"])
    def test_two_roles_change_keys_and_all_see_them(self, alice: Person, role: str):
        bob = new_member("bob@example.com", alice.organization_id, role)
        key = alice.key().row
        may = role in {"owner", "developer"}
        assert bob.browser.get("/dashboard/keys").status_code == 200
        page = bob.browser.get(f"/dashboard/keys/{key.pk}")
        assert page.status_code == 200
        assert ("Change it" in page.content.decode()) is may
        assert bob.browser.get("/dashboard/keys/new").status_code == (200 if may else 403)
        for path in self.ACTIONS:
            assert (bob.browser.post(path.format(key.pk), {"name": "x"}).status_code == 403) is not may

    def test_a_stranger_finds_nothing(self, alice: Person, charlie: Person):
        key = alice.key("alices own").row
        assert charlie.browser.get(f"/dashboard/keys/{key.pk}").status_code == 404
        for path in self.ACTIONS:
            assert charlie.browser.post(path.format(key.pk), {"name": "x"}).status_code == 404
        assert "alices own" not in charlie.browser.get("/dashboard/keys").content.decode()
        key.refresh_from_db()
        assert (key.revoked_at, key.auth_epoch) == (None, 0)
