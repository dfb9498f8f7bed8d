"""Webhooks: signed as Standard Webhooks has it, delivered through the egress, tried again for a day, logged."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from komilion.common.clock import utc_now
from tests.people import Person, new_member, new_owner
from tests.voice.webhooks.receiver import Receiver
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(settings) -> Person:
    settings.EGRESS_ALLOW = ("127.0.0.1",)
    return new_owner("alice@example.com")


@pytest.fixture
def secret(alice: Person) -> str:
    return make_secret(alice)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with closing(Receiver()) as running:
        yield running


def viewer(person: Person):
    from accounts.access import access_viewer
    from accounts.models import User

    found = access_viewer(User.objects.get(email=person.email).pk, person.organization_id)
    assert found is not None
    return found


def make_secret(person: Person) -> str:
    from voice.actions.webhooks import do_make_webhook_secret
    from voice.queries import secret_state, webhook_secret_made_at

    return do_make_webhook_secret(viewer(person), secret_state(webhook_secret_made_at(person.organization_id)))


def queue(person: Person, url: str, **facts: Any):
    from komilion.common.ids import new_id
    from routing.catalog.credentials import seal
    from voice.actions.webhooks import do_queue_delivery
    from voice.models import TranscriptionJob

    now = utc_now()
    job = TranscriptionJob.objects.create(
        id=new_id("job"),
        organization_id=person.organization_id,
        webhook_url_sealed=seal(url.encode()) if url else b"",
        created_at=now,
        finished_at=now,
        expires_at=now + timedelta(days=1),
        **{"state": "completed", "cost_nano": 1_250_000, "duration_ms": 61_500, **facts},
    )
    return do_queue_delivery(job)


def deliver() -> int:
    from voice.actions.webhooks import do_deliver_due

    return do_deliver_due()


def deliver_again(delivery) -> None:
    """Its time has come, whenever that would be."""
    type(delivery).objects.filter(pk=delivery.pk).update(next_try_at=utc_now())
    assert deliver() == 1
    delivery.refresh_from_db()


def test_the_receiver_verifies_it_by_the_secret(alice: Person, secret: str, receiver: Receiver):
    delivery = queue(alice, receiver.url)
    assert deliver() == 1
    headers, body = receiver.received[0]
    event = Webhook(secret).verify(body, headers)
    assert event["type"] == "voice.transcription.completed"
    assert event["data"] == {
        "object": "transcription.job",
        "id": delivery.job_id,
        "status": "completed",
        "duration": 61.5,
        "cost_usd": 0.00125,
        "cost_nano_usd": 1_250_000,
        "createdAt": event["data"]["createdAt"],
        "finishedAt": event["timestamp"],
        "url": f"http://127.0.0.1:8000/api/voice/jobs/{delivery.job_id}",
    }
    assert headers["Content-Type"] == "application/json"
    delivery.refresh_from_db()
    assert (delivery.state, delivery.next_try_at) == ("delivered", None)
    assert deliver() == 0
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret(new_owner("charlie@example.com"))).verify(body, headers)


def test_a_failed_job_says_why(alice: Person, secret: str, receiver: Receiver):
    queue(alice, receiver.url, state="failed", error_reason="insufficient_balance", error_message="No credit.")
    deliver()
    event = Webhook(secret).verify(receiver.received[0][1], receiver.received[0][0])
    assert event["type"] == "voice.transcription.failed"
    assert event["data"]["error"] == {"reason": "insufficient_balance", "message": "No credit."}


def test_a_job_without_a_webhook_tells_nobody(alice: Person, secret: str):
    assert queue(alice, "") is None


def test_a_new_secret_and_the_one_before_sign_for_a_day(alice: Person, secret: str, receiver: Receiver):
    from voice.models import WebhookSecret
    from voice.queries import webhook_secret_made_at

    assert webhook_secret_made_at(alice.organization_id) is not None
    newer = make_secret(alice)
    queue(alice, receiver.url)
    deliver()
    headers, body = receiver.received[0]
    assert Webhook(newer).verify(body, headers) == Webhook(secret).verify(body, headers)
    WebhookSecret.objects.update(previous_ends_at=utc_now())
    queue(alice, receiver.url)
    deliver()
    headers, body = receiver.received[1]
    Webhook(newer).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


def test_the_secret_is_sealed(alice: Person, secret: str):
    from voice.models import WebhookSecret

    assert secret.encode() not in bytes(WebhookSecret.objects.get().secret_sealed)


def test_who_may_only_look_makes_no_secret(alice: Person):
    from komilion.common.errors import Forbidden

    bob = new_member("bob@example.com", alice.organization_id, "viewer")
    with pytest.raises(Forbidden):
        make_secret(bob)


def test_what_fails_is_tried_again_and_again_by_the_same_id_and_given_up_after_a_day(alice: Person, secret: str):
    from voice.webhooks.schedule import PAUSES_S

    with closing(Receiver((500, {}, b"x" * 5_000))) as receiver:
        delivery = queue(alice, receiver.url)
        assert deliver() == 1
        for pause_s in PAUSES_S:
            delivery.refresh_from_db()
            wait = delivery.next_try_at - utc_now()
            assert timedelta(seconds=pause_s - 3) < wait <= timedelta(seconds=pause_s)
            assert deliver() == 0
            deliver_again(delivery)
        assert delivery.state == "failed"
        assert 0.9 * 86_400 < sum(PAUSES_S) <= 86_400
        assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
        assert len({body for _, body in receiver.received}) == 1
        assert [each["status"] for each in delivery.tries] == [500] * 9
        assert len(delivery.tries[0]["answer"]) == 1_024
        Webhook(secret).verify(receiver.received[-1][1], receiver.received[-1][0])


def test_one_that_was_given_up_can_be_sent_again(alice: Person, secret: str, receiver: Receiver):
    from komilion.common.errors import Conflict
    from voice.actions.webhooks import do_send_again
    from voice.models import WebhookDelivery

    delivery = queue(alice, receiver.url)
    with pytest.raises(Conflict):
        do_send_again(viewer(alice), delivery.pk)
    WebhookDelivery.objects.update(state="failed", next_try_at=None)
    charlie = new_owner("charlie@example.com")
    with pytest.raises(Conflict):
        do_send_again(viewer(charlie), delivery.pk)
    do_send_again(viewer(alice), delivery.pk)
    assert deliver() == 1
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_gone_ends_it_at_once(alice: Person, secret: str):
    with closing(Receiver((410, {}, b""))) as receiver:
        delivery = queue(alice, receiver.url)
        deliver()
        delivery.refresh_from_db()
        assert (delivery.state, len(receiver.received)) == ("failed", 1)


def test_a_redirect_is_not_followed(alice: Person, secret: str, receiver: Receiver):
    with closing(Receiver((307, {"Location": receiver.url}, b""))) as redirecting:
        delivery = queue(alice, redirecting.url)
        deliver()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.tries[0]["status"]) == ("pending", 307)
        assert receiver.received == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "https://10.0.0.1/", "https://169.254.169.254/latest"])
def test_nobody_inside_is_asked(alice: Person, secret: str, url: str, settings):
    settings.EGRESS_ALLOW = ("localhost",)
    delivery = queue(alice, url)
    deliver()
    delivery.refresh_from_db()
    assert delivery.tries[0]["status"] is None
    assert delivery.tries[0]["error"]


def test_without_a_secret_nothing_is_sent_unsigned(alice: Person, receiver: Receiver):
    delivery = queue(alice, receiver.url)
    deliver()
    delivery.refresh_from_db()
    assert "no webhook secret" in delivery.tries[0]["error"]
    assert receiver.received == []


def test_two_workers_do_not_send_it_twice(alice: Person, secret: str, receiver: Receiver):
    from voice.actions.webhooks import do_deliver
    from voice.models import WebhookDelivery
    from voice.tasks import deliver_webhooks

    delivery = queue(alice, receiver.url)
    WebhookDelivery.objects.update(next_try_at=utc_now() + timedelta(seconds=100))  # another worker has it
    assert do_deliver(delivery.pk) is False
    WebhookDelivery.objects.update(next_try_at=utc_now())
    deliver_webhooks()
    deliver_webhooks()
    assert len(receiver.received) == 1


def test_receivers_of_one_that_hang_hold_up_nobody_else(alice: Person, secret: str, receiver: Receiver):
    from voice.actions.webhooks import OF_EACH_AT_ONCE
    from voice.models import WebhookDelivery

    charlie = new_owner("charlie@example.com")
    make_secret(charlie)
    with closing(Receiver()) as hanging, ThreadPoolExecutor(1) as worker:
        hanging.hang()
        for _ in range(OF_EACH_AT_ONCE + 2):
            queue(alice, hanging.url)
        queue(charlie, receiver.url)
        first = worker.submit(deliver_in_thread)
        wait_until(lambda: len(hanging.received) == OF_EACH_AT_ONCE)
        wait_until(lambda: len(receiver.received) == 1)
        queue(charlie, receiver.url)
        assert deliver() == 1
        assert len(receiver.received) == 2
        assert len(hanging.received) == OF_EACH_AT_ONCE
        hanging.go_on()
        assert first.result() == OF_EACH_AT_ONCE + 3
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}


def deliver_in_thread() -> int:
    from django.db import connection

    try:
        return deliver()
    finally:
        connection.close()


def test_the_log_is_of_one_organization(alice: Person, secret: str, receiver: Receiver):
    from voice.queries import deliveries_of

    delivery = queue(alice, receiver.url)
    charlie = new_owner("charlie@example.com")
    assert [row.pk for row in deliveries_of(alice.organization_id)] == [delivery.pk]
    assert [row.pk for row in deliveries_of(alice.organization_id, delivery.job_id)] == [delivery.pk]
    assert deliveries_of(alice.organization_id, "another") == []
    assert deliveries_of(charlie.organization_id) == []
    assert json.loads(delivery.payload)["data"]["id"] == delivery.job_id
