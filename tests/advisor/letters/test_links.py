"""Pages behind the links of a letter: looking changes nothing, acting works once, and for whom it is."""

import logging
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
import time_machine
from django.db import OperationalError
from django.test import Client

from accounts.models import AuditEntry, Membership, Organization
from advisor.actions.wishes import do_set_wishes
from advisor.letter import write
from advisor.links import Act, Link
from advisor.models import Advice, MailWishes, SampleChoice, Upgrade, UsedLink
from komilion.common.clock import utc_now
from komilion.common.logging import JsonFormatter
from routing.selection.models import Pin
from tests.advisor.letters.delivering import CHEAPER, MONDAY, asked, letter_to, links_in, made
from tests.advisor.letters.pressing import press, says
from tests.people import Person, new_member

log = logging.getLogger(__name__)

pytestmark = pytest.mark.usefixtures("models")

ACTS = ("accept", "dismiss", "agree", "decline", "samples")
FORMS = {"samples": {"keep": "yes"}}  # of the others the button says all


@pytest.fixture
def links(alice: Person) -> dict[str, str]:
    """Of the first letter that Alice got, on Monday at nine, with an advice and a question; it is Tuesday."""
    with time_machine.travel(MONDAY + timedelta(days=1), tick=False):
        asked(alice)
        made(alice)
        yield links_in(write(letter_to(alice)))


def act(links: dict[str, str], name: str) -> Any:
    """Press its button, without a look at the page and its token: the form is one of ours."""
    return Client().post(links[name], FORMS.get(name, {}))


def state() -> tuple[Any, ...]:
    return (
        list(Advice.objects.values_list("state", flat=True)),
        list(Upgrade.objects.values_list("state", flat=True)),
        *(model.objects.count() for model in (Pin, UsedLink, MailWishes, SampleChoice)),
        AuditEntry.objects.filter(action__regex="^(advice|upgrade|samples|pin)").count(),
    )


def test_a_scanner_that_follows_every_link_changes_nothing(links: dict[str, str], anybody: Client):
    before = state()
    assert links.keys() == {*ACTS, "compare", "off"}
    for path in links.values():
        for look in (anybody.get, anybody.head, anybody.get):
            assert look(path).status_code in {200, 302}, path
    assert state() == before
    assert press(anybody, links["accept"]).status_code == 200


def test_accepting_pins_the_model_for_the_task_type(links: dict[str, str], alice: Person, anybody: Client):
    page = says(anybody.get(links["accept"]))
    assert "Let acme/mini answer summarization" in page
    assert "Less a month, about $34" in page
    assert "acme/mini answers from now on" in says(press(anybody, links["accept"]))
    pin = Pin.objects.get()
    assert (pin.organization_id, pin.task, pin.model) == (alice.organization_id, "summarization", "acme/mini")
    assert (pin.source, pin.set_by) == ("advisor", alice.email)
    advice = Advice.objects.get()
    assert (advice.state, advice.state_by, advice.state_at) == ("accepted", alice.email, utc_now())
    assert AuditEntry.objects.filter(action="advice.accept", actor=alice.email).exists()


def test_dismissing_pins_nothing(links: dict[str, str], anybody: Client):
    assert press(anybody, links["dismiss"]).status_code == 200
    assert (Advice.objects.get().state, Pin.objects.count()) == ("dismissed", 0)


@pytest.mark.parametrize("name", ACTS)
def test_a_link_works_once(links: dict[str, str], anybody: Client, name: str):
    assert press(anybody, links[name], **FORMS.get(name, {})).status_code == 200
    Pin.objects.all().delete()
    SampleChoice.objects.all().delete()
    Upgrade.objects.update(state="asked", ended_at=None)
    before = state()
    for answer in (anybody.get(links[name]), act(links, name)):
        assert answer.status_code == 409
        assert "was used before" in says(answer)
    assert state() == before


def test_two_presses_at_once_act_once(links: dict[str, str], anybody: Client):
    """The second has passed the look at used links when the first is done."""
    Client().post(links["accept"])
    Advice.objects.update(state="open")
    UsedLink.objects.all().delete()
    from advisor.access import access_advice
    from advisor.actions.links import do_follow
    from advisor.errors import LinkUsed

    opened = access_advice(links["accept"].rpartition("/")[2], utc_now())
    do_follow(opened, utc_now())
    with pytest.raises(LinkUsed):
        do_follow(opened, utc_now())


def test_what_one_member_answered_another_cannot_answer_again(links: dict[str, str], alice: Person, anybody: Client):
    press(anybody, links["dismiss"])
    for answer in (anybody.get(links["accept"]), Client().post(links["accept"])):
        assert answer.status_code == 409
        assert "dismissed already" in says(answer)
    assert UsedLink.objects.count() == 1, "what was refused was not used"


@pytest.mark.parametrize("where", [0, 2, 6, -1, -20])
def test_a_link_that_was_changed_is_refused(links: dict[str, str], anybody: Client, where: int):
    before = state()
    for name in (*ACTS, "off"):
        start, _, token = links[name].rpartition("/")
        changed = list(token)
        changed[where] = "0" if changed[where] != "0" else "1"
        for path in (f"{start}/{''.join(changed)}", f"{start}/{token[:where]}" if where else f"{start}/x"):
            answer = anybody.get(path)
            assert answer.status_code == 404
            assert "not whole" in says(answer)
            assert Client().post(path, FORMS.get(name, {})).status_code == 404
    assert state() == before


def test_a_link_is_for_nothing_but_its_own_act(links: dict[str, str], anybody: Client):
    before = state()
    pages = {name: links[name].rpartition("/")[0] for name in (*ACTS, "off")}
    for name, own in pages.items():
        token = links[name].rpartition("/")[2]
        for page in set(pages.values()) - {own}:
            assert anybody.get(f"{page}/{token}").status_code == 404
            assert Client().post(f"{page}/{token}", {"keep": "yes"}).status_code == 404
    assert state() == before


def test_a_link_ends_with_its_advice(links: dict[str, str], anybody: Client):
    last_day = Advice.objects.get().expires_on
    with time_machine.travel(f"{last_day}T23:59:59Z", tick=False):
        assert anybody.get(links["accept"]).status_code == 200
    with time_machine.travel(f"{last_day + timedelta(days=1)}T00:00:00Z", tick=False):
        answer = anybody.get(links["accept"])
        assert (answer.status_code, "too old" in says(answer)) == (410, True)
        assert Client().post(links["accept"]).status_code == 410
    assert Pin.objects.count() == 0


@pytest.mark.parametrize("name", ["agree", "decline", "samples"])
def test_what_a_letter_asks_can_be_answered_for_four_weeks(links: dict[str, str], anybody: Client, name: str):
    with time_machine.travel("2026-12-27T23:59:59Z", tick=False):
        assert anybody.get(links[name]).status_code == 200
    with time_machine.travel("2026-12-28T00:00:00Z", tick=False):
        before = state()
        assert (anybody.get(links[name]).status_code, act(links, name).status_code) == (410, 410)
        assert state() == before


def test_advice_that_was_said_again_meanwhile_is_answered_by_the_older_link_too(
    links: dict[str, str], alice: Person, anybody: Client
):
    made(alice, "2026-W50")
    assert anybody.get(links["accept"]).status_code == 200
    assert Client().post(links["accept"]).status_code == 200
    assert [row.state for row in Advice.objects.order_by("pk")] == ["over", "accepted"]


def test_advice_that_was_followed_by_another_one_is_closed(links: dict[str, str], anybody: Client):
    Advice.objects.update(state="over")
    assert anybody.get(links["accept"]).status_code == 409
    assert Client().post(links["accept"]).status_code == 409


def test_no_link_reaches_the_advice_of_another_organization(links: dict[str, str], charlie: Person, anybody: Client):
    """Such a token was never made; were it, the door would still look whose advice it is."""
    advice, before = Advice.objects.get(), state()
    user_id = Membership.objects.get(pk=charlie.membership_id).user_id
    for organization_id in (charlie.organization_id, advice.organization_id):
        for act, row_id, page in (
            (Act.ACCEPT, advice.pk, "/advice"),
            (Act.AGREE, Upgrade.objects.get().pk, "/advice/upgrades"),
        ):
            link = Link(act, organization_id, user_id, row_id, advice.expires_on)
            assert Client().get(f"{page}/{link.token}").status_code == 404
            assert Client().post(f"{page}/{link.token}").status_code == 404
    others = Link(Act.SAMPLES, advice.organization_id, user_id, 0, advice.expires_on)
    assert Client().post(f"/advice/prompts/{others.token}", {"keep": "yes"}).status_code == 404
    assert state() == before


def test_who_is_no_member_any_more_does_nothing_by_old_links(links: dict[str, str], alice: Person, anybody: Client):
    Membership.objects.filter(pk=alice.membership_id).delete()
    for name in (*ACTS, "off"):
        answer = act(links, name)
        assert answer.status_code == 404
        assert "none any more" in says(answer)


@pytest.mark.parametrize("name", ACTS)
def test_rights_are_those_that_the_member_has_now(links: dict[str, str], alice: Person, anybody: Client, name: str):
    before = state()
    Membership.objects.filter(pk=alice.membership_id).update(role="viewer")
    assert "Somebody else has to do it" in says(anybody.get(links[name]))
    assert act(links, name).status_code == 403
    assert state() == before


def test_nothing_of_a_suspended_organization_is_changed(links: dict[str, str], anybody: Client):
    Organization.objects.update(suspended_at=utc_now())
    before = state()
    for name in ACTS:
        assert act(links, name).status_code == 403
    assert state() == before
    assert Client().post(links["off"]).status_code == 200, "letters are the member's own"


def test_a_model_that_is_gone_is_not_pinned(links: dict[str, str], anybody: Client):
    Advice.objects.update(model="acme/gone")
    assert Client().post(links["accept"]).status_code == 400
    assert (Advice.objects.get().state, UsedLink.objects.count()) == ("open", 0)


@pytest.mark.parametrize("name", ACTS)
def test_a_form_of_another_site_does_nothing(links: dict[str, str], anybody: Client, name: str):
    before = state()
    assert anybody.post(links[name], FORMS.get(name, {})).status_code == 403
    assert state() == before


def test_a_page_that_is_refused_leaves_no_link_in_the_log_that_works(
    links: dict[str, str], anybody: Client, caplog: pytest.LogCaptureFixture
):
    assert anybody.post(links["accept"]).status_code == 403
    with patch("komilion.web.advice.views.access_advice", side_effect=OperationalError("away")):
        assert anybody.get(links["accept"]).status_code == 503
    Advice.objects.update(state="dismissed")
    assert anybody.get(links["accept"]).status_code == 409
    said, signature, token = *links["accept"].split(":"), links["accept"].rpartition("/")[2]
    log.warning("elsewhere", extra={"path": quote(token)})
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert len([line for line in lines if said in line or quote(said) in line]) >= 4
    assert [line for line in lines if signature in line] == []


def test_one_click_stops_the_letters_without_login_or_page(links: dict[str, str], alice: Person, anybody: Client):
    """RFC 8058, section 3.2; and again, as mail programs repeat it."""
    for _ in range(2):
        assert anybody.post(links["off"], {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert MailWishes.objects.get().often == "off"
    assert MailWishes.objects.get().membership_id == alice.membership_id


def test_who_looks_may_also_have_fewer(links: dict[str, str], anybody: Client):
    assert "Stop the letters" in says(anybody.get(links["off"]))
    assert "One letter a month" in says(anybody.post(links["off"], {"often": "monthly"}))
    assert MailWishes.objects.get().often == "monthly"


@pytest.mark.parametrize("set_by_her", ["off", "monthly"])
def test_a_link_never_has_more_letters_sent_than_the_member_wishes(
    links: dict[str, str], alice: Person, anybody: Client, set_by_her: str
):
    do_set_wishes(alice.membership_id, MailWishes.Often(set_by_her))
    for page in (anybody.get(links["off"]), anybody.post(links["off"], {"often": "monthly"})):
        assert ("No more letters" if set_by_her == "off" else "One letter a month") in says(page)
        assert "One a month" not in says(page)
    assert MailWishes.objects.get().often == set_by_her


def test_stopping_works_for_a_year(links: dict[str, str], anybody: Client):
    with time_machine.travel(MONDAY + timedelta(days=365), tick=False):
        assert anybody.post(links["off"]).status_code == 200


def test_no_cache_and_no_search_engine_keeps_such_a_page(links: dict[str, str], anybody: Client):
    for name in (*ACTS, "off"):
        answer = anybody.get(links[name])
        assert "no-store" in answer["Cache-Control"]
        assert answer["X-Robots-Tag"] == "noindex"
        assert answer["Referrer-Policy"] == "same-origin"


def test_side_by_side_opens_the_playground_filled(links: dict[str, str], alice: Person):
    page = alice.browser.get(links["compare"])
    run = page.context["run"]
    assert (run.models, run.task) == (["acme/large", "acme/mini"], "summarization")
    assert run.prompt.startswith("Sum this up in one sentence")


def test_a_member_who_may_change_nothing_gets_no_buttons_for_it(alice: Person):
    from dataclasses import replace

    viewer = new_member("vera@example.com", alice.organization_id, "viewer")
    made(alice, said=(CHEAPER, replace(CHEAPER, task="writing")))
    written = write(letter_to(viewer))
    assert [(item.accept, item.dismiss, bool(item.compare)) for item in written.context["items"]] == [
        ("", "", False)
    ] * 2


def test_a_link_signed_before_the_secret_was_changed_still_works(links: dict[str, str], anybody: Client, settings: Any):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret of at least thirty-two characters"
    assert Client().post(links["off"]).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert Client().post(links["off"]).status_code == 404
