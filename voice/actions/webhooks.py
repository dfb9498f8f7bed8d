"""The secret that signs webhooks, and their delivery."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import orjson
from django.db import connection, transaction

from accounts.access import Right, Viewer
from accounts.actions.changes import audit, lock_organization
from komilion.common.clock import monotonic_s, utc_now
from komilion.common.egress import Egress
from komilion.common.errors import Conflict, KomilionError
from komilion.common.ids import new_id
from routing.catalog.credentials import encrypt, unseal
from voice.models import DeliveryState, TranscriptionJob, WebhookDelivery, WebhookSecret
from voice.webhooks.payload import payload_of
from voice.webhooks.schedule import CLAIMED_FOR_S, TRY_TIMEOUT_S, is_delivered, is_unwanted, next_try_at
from voice.webhooks.signing import new_secret, signed_headers

log = logging.getLogger(__name__)

BOTH_SIGN_FOR = timedelta(days=1)
ANSWER_KEPT_BYTES = 1_024
DUE_AT_ONCE = 100
AT_ONCE = 8


def do_make_webhook_secret(viewer: Viewer) -> str:
    """A new secret, returned this once. The one before signs beside it for a day. Raises `Forbidden`, `Suspended`."""
    viewer.must(Right.KEYS)
    secret, now = new_secret(), utc_now()
    with transaction.atomic():
        lock_organization(viewer.organization_id)
        before = WebhookSecret.objects.filter(pk=viewer.organization_id).first()
        WebhookSecret.objects.update_or_create(
            organization_id=viewer.organization_id,
            defaults={
                "secret_sealed": encrypt(secret),
                "previous_sealed": b"" if before is None else before.secret_sealed,
                "previous_ends_at": None if before is None else now + BOTH_SIGN_FOR,
                "made_at": now,
            },
        )
        audit(viewer.organization_id, viewer.email, "webhook_secret.make", str(viewer.organization_id))
    return secret


def do_queue_delivery(job: TranscriptionJob) -> WebhookDelivery | None:
    """Tell the job's webhook that it ended, if it has one: to be called in the transaction that ends it."""
    if not job.webhook_url_sealed:
        return None
    event, payload = payload_of(job)
    now = utc_now()
    return WebhookDelivery.objects.create(
        id=new_id("msg"),
        organization_id=job.organization_id,
        job=job,
        event=event,
        url_sealed=job.webhook_url_sealed,
        payload=orjson.dumps(payload).decode(),
        next_try_at=now,
        created_at=now,
    )


def do_deliver_due() -> int:
    """Try every message whose time has come; returns how many were tried."""
    due = WebhookDelivery.objects.filter(state=DeliveryState.PENDING, next_try_at__lte=utc_now())
    ids = list(due.order_by("next_try_at").values_list("pk", flat=True)[:DUE_AT_ONCE])
    with ThreadPoolExecutor(
        AT_ONCE, thread_name_prefix="webhooks"
    ) as threads:  # a receiver that hangs holds up no other
        return sum(threads.map(_deliver_in_thread, ids))


def _deliver_in_thread(delivery_id: str) -> bool:
    try:
        return do_deliver(delivery_id)
    finally:
        connection.close()


def do_deliver(delivery_id: str) -> bool:
    """Try one message, unless somebody else does; whether it was tried. No transaction is open while it goes out.

    At least once: a worker that dies after the receiver took it tries again, by the same `webhook-id`.
    """
    delivery = _claim(delivery_id)
    if delivery is None:
        return False
    started_s = monotonic_s()
    status, trouble, answer = _send(delivery)
    _note(delivery, status, trouble, answer, round((monotonic_s() - started_s) * 1000))
    return True


def do_send_again(viewer: Viewer, delivery_id: str) -> None:
    """Have a message that was given up tried once more. Raises `Forbidden`, `Suspended`, `Conflict`."""
    viewer.must(Right.KEYS)
    given_up = WebhookDelivery.objects.filter(
        pk=delivery_id[:40], organization_id=viewer.organization_id, state=DeliveryState.FAILED
    )
    if not given_up.update(state=DeliveryState.PENDING, next_try_at=utc_now(), finished_at=None):
        raise Conflict("Only a message that was given up can be sent again.")


def _claim(delivery_id: str) -> WebhookDelivery | None:
    now = utc_now()
    due = WebhookDelivery.objects.filter(pk=delivery_id, state=DeliveryState.PENDING, next_try_at__lte=now)
    if not due.update(next_try_at=now + timedelta(seconds=CLAIMED_FOR_S)):
        return None
    return WebhookDelivery.objects.get(pk=delivery_id)


def _send(delivery: WebhookDelivery) -> tuple[int | None, str, str]:
    """Status, what went wrong, the answer's beginning."""
    signers = _signers(delivery.organization_id)
    if not signers:
        return None, "The organization has no webhook secret.", ""
    headers = signed_headers(delivery.pk, utc_now(), delivery.payload, signers)
    url, body = unseal(bytes(delivery.url_sealed)).decode(), delivery.payload.encode()
    try:
        answer = asyncio.run(Egress().post(url, headers, body, timeout_s=TRY_TIMEOUT_S, keep_bytes=ANSWER_KEPT_BYTES))
    except KomilionError as error:
        return None, error.message, ""
    return answer.status, "", answer.body.decode("utf-8", "replace").replace("\x00", "")


def _signers(organization_id: int) -> list[str]:
    row = WebhookSecret.objects.filter(pk=organization_id).first()
    if row is None:
        return []
    sealed = [bytes(row.secret_sealed)]
    if row.previous_ends_at is not None and row.previous_ends_at > utc_now():
        sealed.append(bytes(row.previous_sealed))
    return [unseal(each).decode() for each in sealed]


def _note(delivery: WebhookDelivery, status: int | None, trouble: str, answer: str, took_ms: int) -> None:
    now = utc_now()
    attempt: dict[str, Any] = {"at": now.isoformat(), "status": status, "error": trouble, "answer": answer}
    delivery.tries = [*delivery.tries, {**attempt, "ms": took_ms}]
    if status is not None and is_delivered(status):
        delivery.state, delivery.next_try_at = DeliveryState.DELIVERED, None
    else:
        is_over = status is not None and is_unwanted(status)
        delivery.next_try_at = None if is_over else next_try_at(len(delivery.tries), now)
        if delivery.next_try_at is None:
            delivery.state = DeliveryState.FAILED
            log.warning("webhook given up", extra={"delivery": delivery.pk, "tries": len(delivery.tries)})
    delivery.finished_at = None if delivery.state == DeliveryState.PENDING else now
    delivery.save(update_fields=["tries", "state", "next_try_at", "finished_at"])
