"""Webhooks that go out: the secret that signs an organization's, and what became of each."""

from typing import override

from django.db import models
from django.db.models import Q


class WebhookSecret(models.Model):
    """One of each organization, shown when it is made and never again. After a change both sign for a while."""

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    secret_sealed = models.BinaryField()
    previous_sealed = models.BinaryField(default=b"")
    previous_ends_at = models.DateTimeField(null=True)
    made_at = models.DateTimeField()

    @override
    def __str__(self) -> str:
        return f"webhook secret of {self.organization_id}"


class DeliveryState(models.TextChoices):
    """`pending` until exactly one of the others."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(models.Model):
    """One message, and every try to deliver it: the same id and the same bytes each time."""

    id = models.CharField(max_length=40, primary_key=True)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    job = models.ForeignKey("voice.TranscriptionJob", on_delete=models.CASCADE, related_name="+")
    event = models.CharField(max_length=60)
    url_sealed = models.BinaryField()
    payload = models.TextField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    # [{"at": moment, "status": code or null, "error": words, "answer": its beginning, "ms": milliseconds}, ...]
    tries = models.JSONField(default=list)
    next_try_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "event"], name="one_message_of_an_event")]
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state="pending"), name="deliveries_by_next_try"),
            models.Index(fields=["organization", "-created_at"], name="deliveries_of_an_org"),
        ]

    @override
    def __str__(self) -> str:
        return f"delivery {self.id} ({self.state})"
