"""What the advisor knows of an organization ends with it, and of a person with her account."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from accounts.models import User
from advisor import tasks
from advisor.models import (
    Advice,
    Alert,
    ClosedAddress,
    DayEvidence,
    Digest,
    EvaluationCase,
    Letter,
    PromptSample,
    SampleChoice,
    Upgrade,
    UsedLink,
)
from komilion.web.tenants import do_close_account
from tests.people import Person, new_member, new_owner

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 2, tzinfo=UTC)
KEPT = (DayEvidence, Digest, Alert, Letter, Advice, SampleChoice, PromptSample, EvaluationCase, Upgrade)


def fill(person: Person) -> None:
    """A row of everything, by this person."""
    mine: dict[str, Any] = {"organization_id": person.organization_id}
    names = [field.name for field in DayEvidence._meta.concrete_fields]
    nothing = dict.fromkeys(names[names.index("requests") :], 0)
    DayEvidence.objects.create(**mine, day=date(2026, 11, 1), task="", model="a/b", way="named", policy="", **nothing)
    digest = Digest.objects.create(**mine, week="2026-W45", is_silent=False, figures={}, created_at=NOW)
    user = User.objects.get(email=person.email)
    Letter.objects.create(digest=digest, user=user, message_id=f"<{person.email}>")
    Alert.objects.create(**mine, kind="failing", model="a/b", figures={}, expires_at=NOW, created_at=NOW)
    savings = {"saving_low_nano": 1, "saving_mid_nano": 2, "saving_high_nano": 3, "confidence": 0.9}
    Advice.objects.create(
        **mine,
        **savings,
        week="2026-W45",
        rank=1,
        kind="cheaper",
        subject="a/b",
        evidence={},
        risks=[],
        expires_on=date(2026, 12, 1),
        state_at=NOW,
        state_by=person.email,
        created_at=NOW,
    )
    SampleChoice.objects.create(**mine, is_allowed=True, chosen_by=person.email, chosen_at=NOW)
    PromptSample.objects.create(**mine, task="math", request_id="gen-1", text="2 + 2?", created_at=NOW)
    EvaluationCase.objects.create(
        **mine, task="math", name="sum", prompt="2 + 2?", expected="4", created_by=person.email, created_at=NOW
    )
    Upgrade.objects.create(**mine, task="math", old_model="a/b", new_model="a/c", step_at=NOW, created_at=NOW)
    ClosedAddress.objects.create(address=person.email, why="bounce", closed_at=NOW)


def test_all_that_is_kept_of_an_organization_goes_when_its_last_member_does():
    alice, charlie = new_owner("alice@example.com"), new_owner("charlie@example.com")
    fill(alice)
    fill(charlie)
    do_close_account(User.objects.get(email=alice.email))
    assert [model._default_manager.count() for model in KEPT] == [1] * len(KEPT)
    assert DayEvidence.objects.get().organization_id == charlie.organization_id
    assert [row.address for row in ClosedAddress.objects.all()] == [charlie.email]


def test_digests_and_alerts_go_with_the_evidence_and_used_links_with_their_day(time_machine: Any):
    alice, charlie = new_owner("alice@example.com"), new_owner("charlie@example.com")
    fill(alice)
    fill(charlie)
    alert = Alert.objects.get(organization_id=charlie.organization_id)
    Advice.objects.filter(organization_id=charlie.organization_id).update(alert=alert, state="accepted")
    for day in (date(2026, 11, 20), date(2026, 11, 21)):
        UsedLink.objects.create(nonce=f"{day}", used_at=NOW, last_day=day)
    time_machine.move_to("2026-11-21T12:00:00+00:00", tick=False)
    tasks.forget_old()
    assert [row.nonce for row in UsedLink.objects.all()] == ["2026-11-21"]
    time_machine.move_to("2027-12-06T00:00:00+00:00", tick=False)
    tasks.forget_old()
    assert (Digest.objects.count(), Letter.objects.count(), Alert.objects.count()) == (2, 2, 2)
    time_machine.move_to("2027-12-14T00:00:00+00:00", tick=False)
    tasks.forget_old()
    assert (Digest.objects.count(), Letter.objects.count()) == (0, 0)
    assert list(Alert.objects.all()) == [alert], "what its advice brought is shown"
    assert (Advice.objects.count(), UsedLink.objects.count()) == (2, 0)


def test_of_a_member_who_leaves_others_behind_only_her_name_and_her_letters_go():
    alice = new_owner("alice@example.com")
    bob = new_member("bob@example.com", alice.organization_id, "owner")
    fill(bob)
    user = User.objects.get(email=bob.email)
    do_close_account(user)
    left = {model.__name__ for model in KEPT if model._default_manager.exists()}
    assert left == {model.__name__ for model in KEPT} - {"Letter"}
    anonymous = f"deleted-{user.pk}@deleted.invalid"
    assert Advice.objects.get().state_by == SampleChoice.objects.get().chosen_by == anonymous
    assert EvaluationCase.objects.get().created_by == anonymous
    assert not ClosedAddress.objects.exists()
