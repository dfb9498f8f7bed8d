"""Calls with an Idempotency-Key: who runs, and the answer of who ran, for 24 hours."""

from typing import override

from django.db import models


class IdempotentCall(models.Model):
    """Inserted with the hold; gets its answer with the settlement; gone with a call that brought none.

    `answer` is status, headers and body (or the very bytes of the stream), encrypted, as text; empty while the call
    runs, and for good where the answer is too large to be kept.
    """

    key_id = models.BigIntegerField()  # of the API key; below zero: of the organization, for calls of our own
    path = models.CharField(max_length=64)  # as it was asked for: the prefix decides in which dialect is answered
    idempotency_key = models.CharField(max_length=255)
    body_hmac = models.CharField(max_length=64)  # hexadecimal
    request_id = models.CharField(max_length=40, unique=True)
    answer = models.TextField(blank=True, default="")
    is_finished = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key_id", "path", "idempotency_key"], name="one_call_per_idempotency_key"),
        ]

    @override
    def __str__(self) -> str:
        return f"call {self.request_id} of key {self.key_id}"
