"""The secret that signs webhooks, and their delivery."""

import asyncio
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
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
from voice.queries import secret_state
from voice.webhooks.payload import payload_of
from voice.webhooks.schedule import CLAIMED_FOR_S, TRY_TIMEOUT_S, is_delivered, is_unwanted, next_try_at
from voice.webhooks.signing import new_secret, signed_headers

log = logging.getLogger(__name__)

BOTH_SIGN_FOR = timedelta(days=1)
ANSWER_KEPT_BYTES = 1_024
AT_ONCE = 32  # messages that a process has on their way
OF_EACH_AT_ONCE = 4  # organization: receivers that hang hold up its own messages alone
ROUNDS_FOR_S = 10

_on_their_way = Counter[int]()  # by organization
_counting = threading.Lock()


def do_make_webhook_secret(viewer: Viewer, seen: str) -> str:
    """A new secret, returned this once. The one before signs beside it for a day. Raises `Forbidden`, `Suspended`.

    `seen` is the `secret_state` that whoever asks has before her. `Conflict` where it is another one by now: else what
    is sent twice would push a secret out that a receiver still checks with.
    """
    viewer.must(Right.KEYS)
    secret, now = new_secret(), utc_now()
    with transaction.atomic():
        lock_organization(viewer.organization_id)
        before = WebhookSecret.objects.filter(pk=viewer.organization_id).first()
        if secret_state(None if before is None else before.made_at) != seen:
            raise Conflict("A secret was made meanwhile, and is shown to nobody again. Make a new one if you miss it.")
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
    """Try the messages whose time has come, some of each organization side by side; returns how many were tried.

    What is due beyond that is tried by the next call, which need not wait for the end of this one.
    """
    tried, started_s = 0, monotonic_s()
    while monotonic_s() - started_s < ROUNDS_FOR_S and (due := _begin_due()):
        with ThreadPoolExecutor(len(due), thread_name_prefix="webhooks") as threads:
            tried += sum(threads.map(_deliver_in_thread, due))
    return tried


@dataclass(frozen=True, slots=True)
class _Due:
    delivery_id: str
    organization_id: int


def _begin_due() -> list[_Due]:
    """What is to be tried now: first of those organizations that have least on its way."""
    due = WebhookDelivery.objects.filter(state=DeliveryState.PENDING, next_try_at__lte=utc_now())
    ranked = list[tuple[int, int, _Due]]()
    with _counting:
        counts = Counter(_on_their_way)
        for row in due.order_by("next_try_at").values_list("pk", "organization_id").iterator():
            found = _Due(*row)
            if counts[found.organization_id] < OF_EACH_AT_ONCE:
                ranked.append((counts[found.organization_id], len(ranked), found))
                counts[found.organization_id] += 1
        chosen = [found for _, _, found in sorted(ranked, key=itemgetter(0, 1))[: AT_ONCE - _on_their_way.total()]]
        _on_their_way.update(found.organization_id for found in chosen)
    return chosen


def _deliver_in_thread(due: _Due) -> bool:
    try:
        return do_deliver(due.delivery_id)
    finally:
        connection.close()
        with _counting:
            _on_their_way.subtract({due.organization_id: 1})
            if not _on_their_way[due.organization_id]:
                del _on_their_way[due.organization_id]


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
    do_queue_again(viewer.organization_id, delivery_id)


def do_queue_again(organization_id: int, delivery_id: str, *, operator: str = "") -> None:
    """The same for who asks for her, whose right is another; an operator's act is audited. Raises `Conflict`."""
    given_up = WebhookDelivery.objects.filter(
        pk=delivery_id[:40], organization_id=organization_id, state=DeliveryState.FAILED
    )
    with transaction.atomic():
        if not given_up.update(state=DeliveryState.PENDING, next_try_at=utc_now(), finished_at=None):
            raise Conflict("Only a message that was given up can be sent again.")
        if operator:
            audit(organization_id, operator, "webhook.send_again", delivery_id)


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
