"""What is found for an organization, from its rows in the database to a letter."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from django.core.mail import EmailMultiAlternatives

from advisor import tasks
from advisor.advice import Kind
from advisor.findings import find
from advisor.kinds import pins
from advisor.landscape import forget_landscape
from advisor.models import Advice
from advisor.words import NOTES, RISKS
from tests.advisor.letters.delivering import DOLLAR, MONDAY, WEEK, built, made, old_key
from tests.people import Person

LONG_AGO = MONDAY - timedelta(days=200)


@pytest.fixture(autouse=True)
def _on_monday(alice: Person):
    """Alice has called."""
    forget_landscape()
    built(WEEK, alice)
    with time_machine.travel(MONDAY, tick=False):
        yield
    forget_landscape()


def test_who_has_nothing_to_hear_has_figures_all_the_same(alice: Person):
    found = find(alice.organization_id, WEEK)
    assert found.recommendations == []
    assert (found.figures.nano, found.figures.before_nano) == (2 * DOLLAR, 0)
    assert [(line.name, line.nano) for line in found.figures.models] == [("acme/large", 2 * DOLLAR)]


def test_what_the_rows_say_comes_into_the_letter(alice: Person, mailoutbox: list[EmailMultiAlternatives]):
    key_id = old_key(alice, LONG_AGO)
    tasks.make_digest(alice.organization_id, WEEK)
    tasks.send_letters()
    (message,) = mailoutbox
    assert "Nobody uses the key “staging, old”" in message.body
    assert f"/dashboard/keys/{key_id}?organization={alice.organization_id}" in message.body
    assert "$2.00 for chats last week" in message.body


def test_what_was_said_and_dismissed_is_not_said_again(alice: Person):
    old_key(alice, LONG_AGO)
    (said,) = find(alice.organization_id, WEEK).recommendations
    assert said.kind == Kind.UNUSED_KEY
    made(alice, "2026-W48", said=(said,))
    assert find(alice.organization_id, WEEK).recommendations == []
    Advice.objects.update(state="dismissed")
    assert find(alice.organization_id, WEEK).recommendations == []


def test_nobody_hears_of_anothers_keys(alice: Person, charlie: Person):
    old_key(charlie, LONG_AGO)
    assert find(alice.organization_id, WEEK).recommendations == []


def test_each_risk_that_advice_can_have_has_its_words():
    """Codes are written as keys of a table, or alone in a tuple."""
    sources = "".join(path.read_text() for path in (Path(pins.__file__).parent).glob("*.py"))
    table = sources.partition("def risks(")[2].partition("return")[0]
    codes = {*re.findall(r'^        "(\w+)":', table, re.MULTILINE), *re.findall(r'\("([a-z_]+)",\)', sources)}
    assert {"quality", "named", "key_in_reserve", "less_said"} <= codes
    assert codes - RISKS.keys() - NOTES.keys() == set()
