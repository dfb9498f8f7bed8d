"""What operators do to jobs, uploads and webhooks: after a question, with a line in the audit log."""

from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from accounts.actions import changes
from tests.komilion.web.voice.meetings import new_meeting, new_message, new_recording
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


def actions(person: Person) -> list[str]:
    from accounts.models import AuditEntry

    entries = AuditEntry.objects.filter(organization_id=person.organization_id, actor__startswith="operator ")
    return [entry.action for entry in entries.order_by("pk")]


def act(admin_client: Client, kind: str, row: Any) -> str:
    address = f"/operator/voice/{kind}/{row.pk}/act/"
    assert address in admin_client.get(f"/operator/voice/{kind}/{row.pk}/change/").content.decode()
    assert admin_client.get(address).status_code == 200
    return admin_client.post(address, follow=True).content.decode()


def test_a_job_is_canceled_and_one_that_ended_is_deleted(admin_client: Client, alice: Person):
    from voice.models import TranscriptionJob

    upload = new_recording(alice)
    ended = new_meeting(alice, upload=upload)
    waits = new_meeting(alice, state="queued")
    act(admin_client, "transcriptionjob", waits)
    act(admin_client, "transcriptionjob", ended)
    assert TranscriptionJob.objects.get().state == "canceled"
    assert not type(upload).objects.exists()
    assert actions(alice) == ["transcription.cancel", "transcription.delete"]


def test_an_upload_is_deleted(admin_client: Client, alice: Person):
    upload = new_recording(alice)
    act(admin_client, "upload", upload)
    assert not type(upload).objects.exists()
    assert actions(alice) == ["upload.delete"]


def test_a_message_that_was_given_up_is_sent_again_once(admin_client: Client, alice: Person):
    message = new_message(alice, new_meeting(alice), state="failed")
    assert "hooks.example.com" in admin_client.get("/operator/voice/webhookdelivery/").content.decode()
    act(admin_client, "webhookdelivery", message)
    message.refresh_from_db()
    assert message.state == "pending"
    assert "Nothing was done" in act(admin_client, "webhookdelivery", message)
    assert actions(alice) == ["webhook.send_again"]


def test_nothing_is_done_that_is_not_in_the_audit_log(
    admin_client: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
):
    """One transaction has both."""
    upload = new_recording(alice)
    ended, waits = new_meeting(alice), new_meeting(alice, state="queued")
    message = new_message(alice, ended, state="failed")

    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(changes, "do_audit", fail)
    rows = {"transcriptionjob": (ended, waits), "upload": (upload,), "webhookdelivery": (message,)}
    for kind, row in ((kind, row) for kind, of_kind in rows.items() for row in of_kind):
        row.refresh_from_db()
        state = row.state
        with pytest.raises(DatabaseError):
            act(admin_client, kind, row)
        row.refresh_from_db()
        assert row.state == state


def test_who_is_no_operator_does_nothing(alice: Person):
    upload = new_recording(alice)
    alice.browser.post(f"/operator/voice/upload/{upload.pk}/act/")
    assert type(upload).objects.exists()
