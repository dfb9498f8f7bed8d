"""One row per call that was admitted: what was used, what it cost, and enough to explain it.

On PostgreSQL the table is partitioned by month of `created_at` (see the first migration and `billing.partitions`).
"""

from typing import override

from django.db import models


class UsageRow(models.Model):
    """Written by a settlement, in its transaction. Holds no prompt and no answer."""

    pk = models.CompositePrimaryKey("created_at", "request_id")
    created_at = models.DateTimeField()  # when the request came in
    request_id = models.CharField(max_length=40)
    client_request_id = models.CharField(max_length=128)

    organization_id = models.BigIntegerField()
    key_id = models.BigIntegerField(null=True)
    member_id = models.BigIntegerField(null=True)
    end_user = models.CharField(max_length=512)
    tags = models.JSONField()
    app_url = models.CharField(max_length=512)
    app_title = models.CharField(max_length=200)

    endpoint = models.CharField(max_length=40)
    requested_model = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
    streamed = models.BooleanField()

    outcome = models.CharField(max_length=24)  # the row of docs/charging-policy.md
    usage_source = models.CharField(max_length=10)  # provider | estimated | absent
    usage = models.JSONField()  # buckets of komilion.common.usage
    price_id = models.BigIntegerField()
    cost_nano = models.BigIntegerField()
    fee_nano = models.BigIntegerField()
    charge_nano = models.BigIntegerField()
    savings_nano = models.BigIntegerField()
    attempt_loss_nano = models.BigIntegerField(db_default=0)  # what failed attempts cost the house, the caller nothing

    first_content_ms = models.IntegerField(null=True)
    duration_ms = models.IntegerField()
    detail = models.JSONField()  # attempts, timings, receipt: routing's, opaque here

    class Meta:
        indexes = [
            models.Index(fields=["organization_id", "created_at"], name="usage_by_organization"),
            models.Index(fields=["request_id"], name="usage_by_request"),
        ]

    @override
    def __str__(self) -> str:
        return f"usage of {self.request_id}"
