"""The audit log is read by people: every action has words, and its detail no code."""

import re
from pathlib import Path
from typing import Any

import pytest

from komilion.web.templatetags.people import ACTIONS, action_in_words, detail_in_words

ROOT = Path(__file__).parents[3]
WRITTEN = re.compile(r"""(?:action=|_?audit\((?:[^()"]|\([^)]*\))*)"([a-z]+\.[a-z_]+)\"""")


def test_every_action_has_words():
    folders = [ROOT / app / "actions" for app in ("accounts", "advisor", "billing", "routing")]
    sources = [path.read_text() for folder in folders for path in folder.glob("*.py")]
    written = {action for source in sources for action in WRITTEN.findall(source)}
    assert {"key.create", "member.role", "topup.order", "pin.set", "share.delete", "advice.accept"} <= written
    assert written - set(ACTIONS) == set()


def test_an_action_without_words_is_readable():
    assert action_in_words("dispute.charge_back") == "Dispute: charge back"


@pytest.mark.parametrize(
    ("action", "detail", "said"),
    [
        ("key.caps", {"name": "batch", "day": [None, "0.00005"]}, "name: batch, a day: $0.00005 instead of none"),
        ("key.caps", {"total": ["2.00", None]}, "ever: none instead of $2.00"),
        ("key.change", {"limits": [{}, {"parallel": 3}]}, "limits: parallel 3 instead of none"),
        ("key.create", {"models_allowed": ["a/b", "a/c"]}, "models allowed: a/b and a/c"),
        ("trial.grant", {"usd": "5.00"}, "amount: $5.00"),
        ("invitation.accept", {"role": "viewer", "new": True}, "role: viewer, new: yes"),
        ("member.remove", {"revoked_keys": 2, "kept_keys": 0}, "revoked keys: 2, kept keys: 0"),
        ("organization.create", {}, ""),
    ],
)
def test_details_are_in_words(action: str, detail: dict[str, Any], said: str):
    assert detail_in_words(detail, action) == said
