"""A file of audio that somebody sends before it is transcribed, and that does not stay."""

from typing import override

from django.db import models
from django.db.models import Q


class UploadState(models.TextChoices):
    """`waiting` until every byte is there and synced. `deleted` while the address in a bucket may still be written to:
    nobody sees it any more, and what comes there is deleted again.
    """

    WAITING = "waiting"
    RECEIVED = "received"
    DELETED = "deleted"


class Upload(models.Model):
    """One ticket and the file that came for it; the row goes with the file.

    `key` is what callers name it by: 192 random bits, so that nobody guesses one, and looked up within an organization
    all the same. `name` is shown and nothing else; no path is ever made of it.
    """

    key = models.CharField(max_length=40, primary_key=True)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey("accounts.Membership", on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey("accounts.ApiKey", on_delete=models.SET_NULL, null=True, related_name="+")
    came_with_job = models.BooleanField(default=False)  # in the form that asked for one: no ticket was asked for
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    size_bytes = models.BigIntegerField(null=True)  # reserved of the organization's room; null: none is yet
    received_bytes = models.BigIntegerField(default=0)  # as of the end of the last request; the file knows better
    state = models.CharField(max_length=8, choices=UploadState.choices, default=UploadState.WAITING)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(received_bytes__gte=0), name="upload_not_negative")]
        indexes = [models.Index(fields=["expires_at"], name="uploads_by_end")]

    @override
    def __str__(self) -> str:
        return f"upload {self.key} ({self.state})"
