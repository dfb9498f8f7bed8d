"""`/dashboard/voice`: what it offers, to whom, and what a browser may do on it."""

import re
from pathlib import Path

import pytest

from komilion.web.permissions import MICROPHONE, NOTHING
from komilion.web.voice.rows import SCRIPTS as OF_MEETINGS
from komilion.web.voice.talk import SCRIPTS, VOICES, WORKLETS
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db

STATIC = Path(__file__).parents[4] / "static"
OURS = sorted((STATIC / "web/voice").iterdir())


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def page(person: Person) -> str:
    answer = person.browser.get("/dashboard/voice")
    assert answer.status_code == 200
    return answer.content.decode()


class TestPage:
    def test_offers_policies_and_voices(self, alice: Person):
        html = page(alice)
        for policy in ("premium", "balanced", "frugal"):
            assert f'value="{policy}"' in html
        for voice in VOICES:
            assert f"<option>{voice}</option>" in html

    def test_who_may_only_look_cannot_start(self, alice: Person):
        for role, may in (("developer", True), ("billing", False), ("viewer", False)):
            html = page(new_member(f"{role}@example.com", alice.organization_id, role))
            assert ("You can look, not talk" in html) is not may
            assert bool(re.search(r'id="start" disabled|id="start"[^>]* disabled', html)) is not may

    def test_no_cache_keeps_it(self, alice: Person):
        assert "no-store" in alice.browser.get("/dashboard/voice")["Cache-Control"]


class TestPolicies:
    def test_only_where_one_speaks_may_a_page_hear(self, alice: Person):
        assert alice.browser.get("/dashboard/voice")["Permissions-Policy"] == MICROPHONE
        assert "microphone=(self)" in MICROPHONE
        for path in ("/", "/dashboard", "/dashboard/voice/meetings", "/nothing"):
            assert alice.browser.get(path)["Permissions-Policy"] == NOTHING
        assert "microphone=()" in NOTHING

    def test_sockets_and_files_of_ones_own_are_let_in(self, alice: Person, settings):
        policy = alice.browser.get("/dashboard/voice")["Content-Security-Policy"]
        rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
        assert rules["connect-src"] == f"'self' {settings.PUBLIC_URL.replace('http', 'ws', 1)}"
        assert rules["media-src"] == "'self' blob:"


class TestScripts:
    """Captions and transcripts are strangers' texts."""

    @pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
    def test_no_text_becomes_markup(self, script: Path):
        ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
        assert re.findall(rf"{ways}|\beval\b|new Function|setTimeout\(['\"]", script.read_text()) == []

    @pytest.mark.parametrize("script", OURS, ids=lambda path: path.name)
    def test_no_script_is_longer_than_a_module_may_be(self, script: Path):
        assert len(script.read_text().splitlines()) <= 400

    def test_each_of_them_is_on_a_page(self):
        named = {*SCRIPTS, *WORKLETS.values(), *OF_MEETINGS["list"], *OF_MEETINGS["one"]}
        assert {f"web/voice/{path.name}" for path in OURS} == {name for name in named if name.startswith("web/voice/")}
